"""Property tests have no deadline for an example: a busy machine is not a failure."""

from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.load_profile("here")
