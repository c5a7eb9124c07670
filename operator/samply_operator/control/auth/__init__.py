"""Who calls: API keys, JWTs, Feldera's keys, and Kubernetes through reviews."""
