"""The attribution that `--by` and `?by=` select. Reads the operators' names that are stored with the profile."""

from __future__ import annotations

from dataclasses import dataclass

from samply_operator.profiles.attribution import naming, rules
from samply_operator.profiles.attribution.groups import Groups
from samply_operator.profiles.attribution.labels import Attribution, By
from samply_operator.profiles.attribution.naming import NodeNames
from samply_operator.profiles.attribution.operators import Operators
from samply_operator.profiles.format.profile import Profile


@dataclass(frozen=True, slots=True)
class Choice:
    """`rules`: the user's own, as TOML text; they come before those that are shipped. `names`: Feldera's names of
    the circuit's nodes; None: those stored with the profile, if any."""

    by: By = "function"
    rules: str = ""
    names: NodeNames | None = None

    def build(self, profile: Profile) -> Attribution | None:
        """None: by function, which needs none. Raises NoMarkers, InvalidRules."""
        match self.by:
            case "function":
                return None
            case "operator":
                names = naming.find_stored_names(profile.path) if self.names is None else self.names
                return Operators(profile, Groups(rules.load(self.rules)), names)
            case "group":
                return Groups(rules.load(self.rules))


BY_FUNCTION = Choice()
