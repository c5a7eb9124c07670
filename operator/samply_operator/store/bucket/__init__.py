"""The door to object storage: names (pure), the connection, objects, and what a store makes of them."""
