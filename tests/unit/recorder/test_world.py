"""What was last seen in the cluster: observations in, pipelines out; and the settings' selectors checked at start."""

from __future__ import annotations

from typing import Any

import pytest

from samply_operator.errors import SettingsError
from samply_operator.recorder.world import World, check_targets
from samply_operator.settings import Targets
from support.samples import LABELS, OTHER_UID, UID


def make_pod(name: str = "pipeline-a-0", **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "prod", "name": name, "uid": f"uid-of-{name}", "labels": LABELS,
            "ownerReferences": [{"kind": "StatefulSet", "name": "pipeline-a", "controller": True}],
        } | meta,
        "spec": {"containers": [{"name": "pipeline"}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "pipeline", "state": {"running": {}}}]},
    }  # fmt: skip


def make_set(replicas: int = 1) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "prod", "name": "pipeline-a", "uid": "u"},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": LABELS}}},
    }


def make_profile(uid: str = UID) -> dict[str, Any]:
    return {"metadata": {"namespace": "prod", "name": "p", "uid": uid}, "spec": {"pipeline": "a"}}


@pytest.fixture
def world() -> World:
    return World(Targets())


def test_nothing_is_known_before_the_first_complete_lists(world: World) -> None:
    """An unknown name isn't absent yet."""
    assert not world.is_synced
    assert world.pipelines == {}
    world.replace([], [], [])
    assert world.is_synced


def test_pipelines_follow_what_is_seen(world: World) -> None:
    """Each observation counts at once."""
    assert world.see_set(make_set(2))
    assert world.pipelines["prod", "a"].ordinals == (0, 1)
    assert world.see_pod(make_pod())
    assert world.pipelines["prod", "a"].is_running
    assert world.see_pod(make_pod(), is_gone=True)
    assert not world.pipelines["prod", "a"].is_running
    assert world.see_set(make_set(2), is_gone=True)
    assert world.pipelines == {}


def test_an_observation_that_changes_nothing_says_so(world: World) -> None:
    """Pods are touched every few seconds; nobody is woken for it, and nothing is worked out anew."""
    world.see_pod(make_pod())
    pipelines = world.pipelines
    assert not world.see_pod(make_pod(resourceVersion="2"))
    assert not world.see_pod(make_pod("other-0"), is_gone=True)
    assert world.pipelines is pipelines


def test_complete_lists_replace_everything(world: World) -> None:
    """What isn't in them is gone, though no watch said so."""
    world.replace([make_pod()], [make_set()], [make_profile()])
    world.replace([], [], [])
    assert (world.pods, world.sets, world.profiles, world.pipelines) == ({}, {}, {}, {})


def test_the_end_of_a_predecessor_does_not_remove_its_successor(world: World) -> None:
    """Same name, another uid: events may come late."""
    world.see_profile(make_profile(UID))
    world.see_profile(make_profile(OTHER_UID), is_gone=True)
    assert world.profiles["prod", "p"].uid == UID
    world.see_profile(make_profile(UID), is_gone=True)
    assert world.profiles == {}


def test_what_is_observed_after_the_lists_were_begun_outlasts_them(world: World) -> None:
    """They may have been answered before it; no watch will say it again."""
    world.see_pod(make_pod("old-0"))
    world.begin_lists()
    world.see_pod(make_pod("new-0"))
    world.see_pod(make_pod("gone-0"), is_gone=True)
    world.see_set(make_set(2))
    world.see_profile(make_profile())
    world.see_profile(make_profile(OTHER_UID), is_gone=True)
    world.replace([make_pod("listed-0"), make_pod("gone-0")], [], [])
    assert sorted(name for _, name in world.pods) == ["listed-0", "new-0"]
    assert list(world.sets) == [("prod", "pipeline-a")]
    assert world.profiles["prod", "p"].uid == UID
    world.begin_lists()
    world.replace([], [], [])
    assert (world.pods, world.sets, world.profiles) == ({}, {}, {})


def test_what_was_deleted_is_not_brought_back_by_an_older_picture(world: World) -> None:
    """Neither by a watch that lags behind nor by lists; lists that were begun after it are believed."""
    world.see_profile(make_profile())
    world.forget(("prod", "p"), UID)
    assert world.profiles == {}
    world.see_profile(make_profile())
    world.replace([], [], [make_profile()])
    assert world.profiles == {}
    assert world.is_gone(UID)
    assert world.see_profile(make_profile(OTHER_UID)).uid == OTHER_UID
    assert world.profiles["prod", "p"].uid == OTHER_UID
    world.begin_lists()
    world.replace([], [], [make_profile()])
    assert world.profiles["prod", "p"].uid == UID
    assert world.is_gone(UID)
    world.begin_lists()
    assert not world.is_gone(UID)


def test_what_was_read_counts_unless_a_watch_was_faster(world: World) -> None:
    known = world.see_profile(make_profile())
    read = make_profile() | {"status": {"phase": "Failed"}}
    assert world.see_read(known, read).phase == "Failed"
    assert world.profiles["prod", "p"].phase == "Failed"
    world.see_profile(make_profile() | {"status": {"phase": "Pending"}})
    assert world.see_read(known, read).phase == "Failed"
    assert world.profiles["prod", "p"].phase == "Pending"


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (Targets(name_pattern="(x"), "unterminated"),
        (Targets(name_pattern=".*"), "no such group"),
        (Targets(name_pattern="never-(.*)"), "no such group"),
        (Targets(name_pattern="(?P<name>.*)"), "no such group"),
        (Targets(pod_selector="a=b=c"), "label selector"),
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
