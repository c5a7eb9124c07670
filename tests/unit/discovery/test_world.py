"""The last known state of the cluster: observations in, pipelines out; and the selectors are checked at startup."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from samply_operator.discovery.changes import Changes
from samply_operator.discovery.world import World, check_targets
from samply_operator.errors import SettingsError
from samply_operator.model.pipeline import Pod
from samply_operator.model.profile import SamplyProfile
from samply_operator.settings import Targets
from support import samples
from support.samples import OTHER_UID, UID, make_set

SCOPE = ("prod", "")
KEY = ("prod", "p-1")


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def world(changes: Changes) -> World:
    return World(Targets(), changes)


def make_pod(name: str = "pipeline-a-0", **wanted: Any) -> Pod:
    return samples.make_pod(name, **{"owner": "pipeline-a"} | wanted)


def make_profile(uid: str = UID, **wanted: Any) -> SamplyProfile:
    return samples.make_profile(uid=uid, **wanted)


def test_nothing_is_certain_before_each_scope_was_listed_or_given_up(world: World) -> None:
    """An unknown name isn't absent yet."""
    world.await_scopes(["prod", "gone"])
    assert not world.is_synced
    world.cover("prod")
    assert not world.is_synced
    world.uncover("gone")
    assert world.is_synced
    assert (world.covers("prod"), world.covers("gone")) == (True, False)
    world.uncover("prod")
    assert not world.is_synced


def test_pipelines_follow_what_is_seen(world: World) -> None:
    """Each observation counts at once."""
    world.see_set(make_set(replicas=2))
    assert world.pipelines["prod", "a"].ordinals == (0, 1)
    world.see_pod(make_pod())
    assert world.pipelines["prod", "a"].is_running
    world.see_pod(make_pod(), is_gone=True)
    assert not world.pipelines["prod", "a"].is_running
    world.see_set(make_set(replicas=2), is_gone=True)
    assert world.pipelines == {}


def test_an_unchanged_object_causes_no_notification(world: World, changes: Changes) -> None:
    """Pods are updated every few seconds, and nothing is recomputed."""
    world.see_pod(make_pod())
    pipeline, count = world.pipelines["prod", "a"], changes.count
    world.see_pod(make_pod())
    world.see_pod(make_pod("other-0"), is_gone=True)
    assert world.pipelines["prod", "a"] is pipeline
    assert changes.count == count


def test_a_change_is_of_its_own_pipeline_alone(world: World, changes: Changes) -> None:
    """Readers of the state are told which pipeline has changed."""
    for name in ("a", "b", "c"):
        world.see_pod(make_pod(f"pipeline-{name}-0", owner=f"pipeline-{name}"))
    with changes.feed() as feed:
        world.see_pod(make_pod("pipeline-b-0", owner="pipeline-b", phase="Failed"))
        assert feed.take() == ({("prod", "b")}, set())
        assert feed.take() == (set(), set())


def test_a_name_on_the_set_alone_is_the_name_of_its_pods(world: World) -> None:
    """Whichever is seen first, and when it changes."""
    world.see_pod(make_pod())
    named = make_set(annotations={"samply.feldera.com/pipeline": "orders"})
    world.see_set(named)
    assert list(world.pipelines) == [("prod", "orders")]
    assert set(world.pipelines["prod", "orders"].pods) == {0}
    world.see_set(replace(named, annotations={}))
    assert list(world.pipelines) == [("prod", "a")]


def test_complete_lists_replace_what_they_cover(world: World) -> None:
    """An object missing in them is gone, even without an event; objects of other scopes are kept."""
    world.replace_pods([make_pod()], source=SCOPE)
    world.replace_sets([make_set()], source=SCOPE)
    world.replace_pods([make_pod(namespace="other")], source=("other", ""))
    world.replace_profiles("prod", [make_profile()])
    world.replace_pods([], source=SCOPE)
    world.replace_sets([], source=SCOPE)
    world.begin_profiles("prod")
    world.replace_profiles("prod", [])
    assert (list(world.pods), dict(world.sets), world.profiles) == ([("other", "pipeline-a-0")], {}, {})
    assert list(world.pipelines) == [("other", "a")]


def test_an_object_is_there_while_one_selector_shows_it(world: World) -> None:
    """Two selectors may match the same pod."""
    for selector in ("a=1", "b=2"):
        world.see_pod(make_pod(), source=("prod", selector))
    world.see_pod(make_pod(), source=("prod", "a=1"), is_gone=True)
    assert world.pods
    world.see_pod(make_pod(), source=("prod", "b=2"), is_gone=True)
    assert not world.pods


def test_the_end_of_a_predecessor_does_not_remove_its_successor(world: World) -> None:
    """Same name, another uid: events may come late. Pods too."""
    world.see_pod(make_pod(uid="new"))
    world.see_pod(make_pod(uid="old"), is_gone=True)
    assert world.pods["prod", "pipeline-a-0"].uid == "new"
    world.see_profile(make_profile(UID))
    world.see_profile(make_profile(OTHER_UID), is_gone=True)
    assert world.profiles[KEY].uid == UID
    world.see_profile(make_profile(UID), is_gone=True)
    assert world.profiles == {}


def test_observations_after_the_start_of_a_list_outlast_it(world: World) -> None:
    """The list may be older than them, and no watch will repeat them."""
    world.begin_profiles("prod")
    world.see_profile(make_profile(name="new"))
    world.see_profile(make_profile(OTHER_UID, name="gone"), is_gone=True)
    world.replace_profiles("prod", [make_profile(OTHER_UID, name="gone")])
    assert list(world.profiles) == [("prod", "new")]
    world.begin_profiles("prod")
    world.replace_profiles("prod", [])
    assert world.profiles == {}


def test_what_was_deleted_is_not_brought_back_by_an_older_picture(world: World) -> None:
    """Neither by a delayed watch nor by a list; lists begun afterwards are trusted."""
    world.begin_profiles("prod")
    world.see_profile(make_profile())
    world.forget(KEY, UID)
    assert world.profiles == {}
    world.see_profile(make_profile())
    world.replace_profiles("prod", [make_profile()])
    assert world.profiles == {}
    assert world.is_gone(UID)
    world.see_profile(make_profile(OTHER_UID))
    assert world.profiles[KEY].uid == OTHER_UID
    world.begin_profiles("prod")
    world.replace_profiles("prod", [make_profile()])
    assert world.profiles[KEY].uid == UID
    assert world.is_gone(UID)
    world.begin_profiles("prod")
    assert not world.is_gone(UID)


def test_a_read_object_is_used_unless_the_watch_is_newer(world: World) -> None:
    known, read = make_profile(), make_profile(phase="Failed")
    world.see_profile(known)
    world.see_read(known, read)
    assert world.profiles[KEY].phase == "Failed"
    world.see_profile(make_profile(phase="Pending"))
    world.see_read(known, read)
    assert world.profiles[KEY].phase == "Pending"


def test_unfinished_profiles_are_found_by_uid(world: World) -> None:
    world.see_profile(make_profile())
    assert list(world.unended) == [UID]
    assert world.find_profile(UID) is not None
    world.see_profile(make_profile(phase="Succeeded"))
    assert not world.unended
    world.see_profile(make_profile(phase="Succeeded"), is_gone=True)
    assert world.find_profile(UID) is None


def test_of_a_scope_that_may_not_be_listed_nothing_is_known(world: World) -> None:
    """That isn't an empty picture: nothing there counts as deleted, and other scopes are untouched."""
    for scope in ("prod", "other"):
        world.replace_pods([make_pod(namespace=scope)], source=(scope, ""))
        world.replace_profiles(scope, [make_profile(f"uid-{scope}", namespace=scope)])
        world.cover(scope)
    world.uncover("prod")
    assert list(world.pods) == [("other", "pipeline-a-0")]
    assert list(world.profiles) == [("other", "p-1")]
    assert not world.is_gone("uid-prod")
    assert (world.covers("prod"), world.covers("other"), world.is_synced) == (False, True, True)


def test_namespaces_that_are_selected_are_served_and_no_others(world: World) -> None:
    """Objects of other namespaces are known all the same, so that a label change needs no list."""
    world.cover("")
    world.select(())
    world.see_pod(make_pod())
    world.see_set(make_set())
    world.see_profile(make_profile())
    assert (dict(world.pipelines), world.profiles, world.covers("prod")) == ({}, {}, False)
    assert [profile.uid for profile in world.select(["prod"])] == [UID]
    assert list(world.pipelines) == [("prod", "a")]
    assert (list(world.profiles), list(world.unended), world.covers("prod")) == ([KEY], [UID], True)
    assert world.select(["prod", "more"]) == ()
    world.select(["more"])
    assert (dict(world.pipelines), world.profiles, world.unended, world.covers("prod")) == ({}, {}, {}, False)
    assert not world.is_gone(UID)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (Targets(name_pattern="(x"), "unterminated"),
        (Targets(name_pattern=".*"), "no such group"),
        (Targets(name_pattern="never-(.*)"), "no such group"),
        (Targets(name_pattern="(?P<name>.*)"), "no such group"),
        (Targets(pod_selector="a=b=c"), "label selector"),
        (Targets(cluster_wide=True, namespace_selector="a=b=c"), "label selector"),
    ],
)
def test_settings_that_cannot_be_read_are_refused_at_start(targets: Targets, said: str) -> None:
    """Not at the first pod, and not as a traceback."""
    with pytest.raises(SettingsError, match=said):
        check_targets(targets)


@pytest.mark.parametrize("targets", [Targets(), Targets(name_pattern="never-(?P<pipeline>.*)", pod_selector="")])
def test_settings_that_can_be_read_pass(targets: Targets) -> None:
    """Whether or not anything matches."""
    check_targets(targets)
