"""kopf reaches the API server as this project's own client does: by the same address, token, certificates and proxy.

kopf's own login takes the name kubernetes.default.svc, which a pod without DNS can't look up, and no proxy.
"""

from __future__ import annotations

import kopf

from samply_operator.kube.connection import load_configuration


async def log_in() -> kopf.ConnectionInfo:
    """Asked for again by kopf when the API server takes the token no more. Raises SettingsError."""
    configuration = await load_configuration()
    token = await configuration.get_api_key_with_prefix("BearerToken")
    scheme, _found, rest = (token or "").strip().partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme if rest else None,
        token=(rest or scheme) or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
        trust_env=False,
    )
