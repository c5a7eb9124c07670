"""The OpenAPI document: a description of every route, which tests compare with the server's responses."""
