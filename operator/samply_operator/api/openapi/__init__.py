"""The OpenAPI document: one typed description of every route, which tests hold against what the server answers."""
