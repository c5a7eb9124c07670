"""Who may do what over HTTP: permissions, credentials, signed links, request rates."""
