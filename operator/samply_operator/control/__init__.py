"""The unix socket between the two containers: messages, server (operator side), client (api side)."""
