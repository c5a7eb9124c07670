"""Whether a profile is removed because its object is gone: only if the deletion is certain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.model.manifest import ObjectOrigin
from samply_operator.rules.storage import deletion
from samply_operator.rules.storage.deletion import AskLater, Keep, OriginState, Remove, ResourceState

ORIGIN = ObjectOrigin(namespace_uid="n", definition_uid="d")
STANDS = OriginState(ResourceState("Stands", "n"), ResourceState("Stands", "d"))
GRACE = 300.0


def namespace(presence: deletion.Presence, uid: str = "n") -> OriginState:
    return replace(STANDS, namespace=ResourceState(presence, uid))


def definition(presence: deletion.Presence, uid: str = "d") -> OriginState:
    return replace(STANDS, definition=ResourceState(presence, uid))


UNCERTAIN = [
    pytest.param(namespace("Leaving"), Keep, id="the namespace is being deleted"),
    pytest.param(namespace("Absent", ""), Keep, id="the namespace is gone"),
    pytest.param(namespace("Stands", "other"), Keep, id="the namespace was made again, or is another cluster's"),
    pytest.param(definition("Leaving"), Keep, id="the CRD is being deleted"),
    pytest.param(definition("Leaving", ""), Keep, id="the CRD is being deleted, says discovery"),
    pytest.param(definition("Absent", ""), Keep, id="the CRD is gone"),
    pytest.param(definition("Stands", "other"), Keep, id="the CRD was made again"),
    pytest.param(namespace("Unknown", ""), AskLater, id="the namespace can't be asked for"),
    pytest.param(definition("Unknown", ""), AskLater, id="the CRD can't be asked for"),
]


@pytest.mark.parametrize(("state", "verdict"), UNCERTAIN)
def test_an_observed_deletion_counts_only_if_crd_and_namespace_exist(
    state: OriginState, verdict: type[deletion.Verdict]
) -> None:
    """Deleting a CRD or a namespace deletes every object, without the intention to delete profiles."""
    assert isinstance(deletion.decide_seen(ORIGIN, state, seen_secs=0), verdict)
    assert isinstance(deletion.decide_seen(ORIGIN, state, seen_secs=10**5), verdict)
    # A namespace whose Role is gone is never told of again: the tombstone goes, the profile stays.
    assert isinstance(deletion.decide_seen(ORIGIN, state, seen_secs=deletion.MAX_DOUBT_SECS + 1), Keep)


@pytest.mark.parametrize(("state", "verdict"), UNCERTAIN)
def test_absence_counts_only_if_crd_and_namespace_exist(state: OriginState, verdict: type[deletion.Verdict]) -> None:
    """However long it lasts, and whatever else is there."""
    found = deletion.decide_absent(ORIGIN, state, absent_secs=10**6, grace_secs=GRACE, has_older_object=True)
    assert isinstance(found, verdict)


@pytest.mark.parametrize(
    ("origin", "seen_secs", "verdict"),
    [
        pytest.param(ORIGIN, 0, Remove(), id="at once"),
        pytest.param(ORIGIN, 10**6, Remove(), id="after the operator was away"),
        pytest.param(ObjectOrigin(), 59, Remove(), id="of unknown origin, just now"),
        pytest.param(ObjectOrigin(), 61, Keep("it isn't known which cluster its object lived in"), id="and long ago"),
    ],
)
def test_a_deletion_that_was_seen(origin: ObjectOrigin, seen_secs: float, verdict: deletion.Verdict) -> None:
    """The namespace and the CRD still exist, so their deletion did not cause it."""
    assert deletion.decide_seen(origin, STANDS, seen_secs=seen_secs) == verdict


def test_discovery_is_asked_again_since_it_is_late() -> None:
    """Where the CRD itself can't be read."""
    unreadable = definition("Stands", "")
    first = deletion.decide_seen(ORIGIN, unreadable, seen_secs=1)
    assert isinstance(first, AskLater)
    assert first.after_secs == deletion.CONFIRM_SECS - 1
    assert deletion.decide_seen(ORIGIN, unreadable, seen_secs=deletion.CONFIRM_SECS) == Remove()


@pytest.mark.parametrize(
    ("origin", "state", "absent_secs", "has_older_object", "verdict"),
    [
        pytest.param(ORIGIN, STANDS, GRACE, False, Remove, id="past the grace period"),
        pytest.param(ORIGIN, STANDS, GRACE - 1, True, AskLater, id="not for long"),
        pytest.param(ObjectOrigin(), STANDS, 10**6, True, Keep, id="a volume from elsewhere, or an old manifest"),
        pytest.param(ORIGIN, definition("Stands", ""), 10**6, False, Keep, id="the CRD can't be read"),
        pytest.param(ORIGIN, definition("Stands", ""), GRACE, True, Remove, id="but an older object is still there"),
        pytest.param(ObjectOrigin(namespace_uid="n"), STANDS, 10**6, False, Keep, id="the CRD couldn't be read then"),
        pytest.param(
            ObjectOrigin(namespace_uid="n"), STANDS, GRACE, True, Remove, id="but an older object outlived it"
        ),
    ],
)
def test_an_absence(
    origin: ObjectOrigin,
    state: OriginState,
    absent_secs: float,
    has_older_object: bool,
    verdict: type[deletion.Verdict],
) -> None:
    """A uid of this namespace and this CRD, missing in complete lists for long enough."""
    found = deletion.decide_absent(
        origin, state, absent_secs=absent_secs, grace_secs=GRACE, has_older_object=has_older_object
    )
    assert isinstance(found, verdict), found


presences = st.sampled_from(["Stands", "Leaving", "Absent", "Unknown"])
resource_states = st.builds(ResourceState, presences, st.sampled_from(["", "n", "d", "x"]))
origins = st.builds(
    ObjectOrigin, namespace_uid=st.sampled_from(["", "n", "x"]), definition_uid=st.sampled_from(["", "d"])
)


@given(origins, st.builds(OriginState, resource_states, resource_states), st.floats(0, 10**6), st.booleans())
def test_nothing_is_removed_unless_crd_and_namespace_exist(
    origin: ObjectOrigin, state: OriginState, secs: float, witness: bool
) -> None:
    """Whatever else is known."""
    for verdict in (
        deletion.decide_seen(origin, state, seen_secs=secs),
        deletion.decide_absent(origin, state, absent_secs=secs, grace_secs=GRACE, has_older_object=witness),
    ):
        if isinstance(verdict, Remove):
            assert state.namespace.presence == state.definition.presence == "Stands"
            assert {origin.namespace_uid, state.namespace.uid} - {""} != {"n", "x"}


@pytest.mark.parametrize(
    ("created", "is_one"),
    [
        (["2027-01-15T07:59:58Z"], True),
        (["2027-01-15T08:00:00Z", "2026-01-01T00:00:00Z"], True),
        (["2027-01-15T07:59:59Z"], False),
        (["2027-01-15T08:00:00Z"], False),
        ([""], False),
        (["long ago"], False),
        ([], False),
    ],
)
def test_an_older_object_proves_that_the_crd_was_kept(created: list[str], is_one: bool) -> None:
    """It existed before and still exists: the CRD was not deleted in between."""
    assert deletion.has_older_object("2027-01-15T07:59:59.000Z", created) is is_one


def test_the_origin_is_made_of_existing_objects() -> None:
    """One that is being deleted does not count."""
    assert STANDS.origin == ORIGIN
    assert namespace("Leaving").origin == ObjectOrigin(definition_uid="d")
    assert definition("Unknown", "").origin == ObjectOrigin(namespace_uid="n")
