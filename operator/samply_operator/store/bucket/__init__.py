"""Object storage: names (pure), the connection, objects, and the store built on them."""
