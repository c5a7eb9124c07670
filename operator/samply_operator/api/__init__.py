"""The aiohttp shell: app, routes, one file per resource, problems. No way to the cluster from here."""
