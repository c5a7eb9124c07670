"""samply's profiles: read, give names, summarise, convert, compare. Pure but for the files whose paths it is given.

Files come from pods and may be hostile: a service runs this through `bounded.py`, in a child process with limits.
"""

from samply_operator.profiles.analysis.fact_sheet import ProfileFacts
from samply_operator.profiles.analysis.fact_sheet import gather as facts
from samply_operator.profiles.analysis.summary import Summary, top
from samply_operator.profiles.analysis.tally import TimeRange
from samply_operator.profiles.format.profile import Profile
from samply_operator.profiles.format.reading import read
from samply_operator.profiles.output.text import render_summary
from samply_operator.profiles.symbols.baking import BakeResult, Label, bake

__all__ = [
    "BakeResult",
    "Label",
    "Profile",
    "ProfileFacts",
    "Summary",
    "TimeRange",
    "bake",
    "facts",
    "read",
    "render_summary",
    "top",
]
