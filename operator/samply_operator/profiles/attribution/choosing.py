"""Which attribution a profile gets: what `--by` and `?by=` mean. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from samply_operator.profiles.attribution import rules
from samply_operator.profiles.attribution.groups import Groups
from samply_operator.profiles.attribution.labels import Attribution, By
from samply_operator.profiles.attribution.operators import Operators
from samply_operator.profiles.format.profile import Profile


@dataclass(frozen=True, slots=True)
class Choice:
    """`rules`: the user's own, as TOML text; they come before those that are shipped."""

    by: By = "function"
    rules: str = ""

    def build(self, profile: Profile) -> Attribution | None:
        """None: by function, which needs none. Raises NoMarkers, InvalidRules."""
        match self.by:
            case "function":
                return None
            case "operator":
                return Operators(profile, Groups(rules.load(self.rules)))
            case "group":
                return Groups(rules.load(self.rules))


BY_FUNCTION = Choice()
