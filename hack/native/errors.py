"""What can go wrong, told with its cure: `ClusterError` is printed as it is, without a traceback."""


class ClusterError(Exception):
    """The message is one or more lines for the person at the terminal."""
