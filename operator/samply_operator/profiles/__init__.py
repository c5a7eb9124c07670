"""samply's profiles: read, give names, summarise, convert, compare. Pure but for the files whose paths it is given.

Files come from pods and may be hostile: a service runs this through `bounded.py`, in a child process with limits. The
names below are imported when they are first used: all together take a process longer than a small profile does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samply_operator.profiles.analysis.fact_sheet import ProfileFacts
    from samply_operator.profiles.analysis.fact_sheet import gather as facts
    from samply_operator.profiles.analysis.summary import Summary, top
    from samply_operator.profiles.analysis.tally import TimeRange
    from samply_operator.profiles.format.profile import Profile
    from samply_operator.profiles.format.reading import read
    from samply_operator.profiles.output.text import render_summary
    from samply_operator.profiles.symbols.baking import BakeResult, bake
    from samply_operator.profiles.symbols.label import Label
else:
    PLACES = {
        "BakeResult": "symbols.baking.BakeResult",
        "Label": "symbols.label.Label",
        "Profile": "format.profile.Profile",
        "ProfileFacts": "analysis.fact_sheet.ProfileFacts",
        "Summary": "analysis.summary.Summary",
        "TimeRange": "analysis.tally.TimeRange",
        "bake": "symbols.baking.bake",
        "facts": "analysis.fact_sheet.gather",
        "read": "format.reading.read",
        "render_summary": "output.text.render_summary",
        "top": "analysis.summary.top",
    }

    def __getattr__(name):
        if name not in PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, attribute = PLACES[name].rpartition(".")
        found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), attribute)
        return found


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
