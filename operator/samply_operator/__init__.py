"""CPU profiles of running Feldera pipelines in Kubernetes."""

__version__ = "0.1.0"
