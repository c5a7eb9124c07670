"""Properties are checked for what they say, not for how long an example takes: a busy machine is no defect."""

from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.load_profile("here")
