"""The proxy for the API server from HTTPS_PROXY, HTTP_PROXY and NO_PROXY, interpreted as by Go's clients. In a pod the
API server is an address, and NO_PROXY often has a range (172.30.0.0/16), which Python's own parser ignores.
"""

from __future__ import annotations

import ipaddress
import urllib.request
from urllib.parse import urlsplit


def find_proxy(url: str) -> str:
    """The proxy's URL; empty: none."""
    proxies = urllib.request.getproxies_environment()
    parts = urlsplit(url)
    proxy = proxies.get(parts.scheme, "")
    host = parts.hostname or ""
    if not proxy or urllib.request.proxy_bypass(parts.netloc) or _is_in_range(host, proxies):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_in_range(host: str, proxies: dict[str, str]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in map(_parse_range, proxies.get("no", "").split(",")) if network)


def _parse_range(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip().strip("[]"), strict=False)
    except ValueError:
        return None
