"""A bucket that is unavailable, refuses requests, loses objects, or has two writers; and kills after each step."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from contract.stores.bucket_place import BucketPlace, lock
from contract.stores.store_contract import make_entry, make_id, make_manifest, put
from samply_operator.errors import CorruptManifest, StoreError, StoreFenced, StoreFull, StoreUnavailable
from samply_operator.settings import Identity, Settings, Storage
from samply_operator.store import layout, opening
from samply_operator.store.bucket import connection, fence, names, objects, reader, store, uploads
from samply_operator.store.bucket.mirror import Mirror, Wrapped
from samply_operator.store.bucket.store import BucketStore
from samply_operator.store.documents import Reading
from samply_operator.store.space import measure
from samply_operator.store.store import Store
from samply_operator.store.volume import Volume
from support import buckets
from support.buckets import Server


@pytest.fixture
def place(moto: Server, tmp_path: Path) -> Iterator[BucketPlace]:
    place = BucketPlace(moto, tmp_path)
    yield place
    place.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """One that may be ended."""
    with buckets.run_moto(tmp_path / "server") as server:
        yield server


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread looks often."""
    monkeypatch.setattr(store, "PAUSE_SECS", 0.2)


def wait_until(is_met: Callable[[], bool], secs: float = 30) -> None:
    until = time.monotonic() + secs
    while not is_met():
        assert time.monotonic() < until
        time.sleep(0.05)


# ------------------------------------------------------------------------------------------------------- away


@pytest.mark.usefixtures("quick")
def test_while_the_bucket_is_away_the_spool_keeps_all(own_server: Server, tmp_path: Path) -> None:
    place = BucketPlace(own_server, tmp_path)
    before = put(place.store, 1, b"before")
    own_server.process.kill()
    own_server.process.wait()
    place.store.write_entry(make_entry(2))
    during = put(place.store, 2, b"during")
    assert place.store.read_manifest(during.id) == during
    assert place.store.read_manifest(make_id(3)) is None
    with place.store.open_profile(during.id, size_bytes=6) as file:
        assert file.read() == b"during"
    assert place.store.list_ids() == {before.id, during.id}
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="cannot remove profile"):
        place.store.remove(before.id)
    assert time.monotonic() - began < 1, "it isn't asked again"
    backlog = place.bucket_store.measure_backlog()
    assert backlog.attempts == 1
    assert backlog.used_bytes >= measure(tmp_path / "pod-1" / "profiles") > 0
    assert backlog.oldest_at is not None
    assert abs(time.time() - backlog.oldest_at) < 60
    place.bucket_store.unlock()


@pytest.mark.usefixtures("quick")
def test_a_bucket_that_hangs_holds_nothing_up_for_long(
    own_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.CLIENT, "read_timeout", timedelta(seconds=1))
    monkeypatch.setitem(connection.RETRIES, "max_retries", 0)
    place = BucketPlace(own_server, tmp_path)
    own_server.pause()
    began = time.monotonic()
    place.store.write_entry(make_entry(1))
    assert 0.9 < time.monotonic() - began < 10
    began = time.monotonic()
    for number in range(2, 8):
        place.store.write_entry(make_entry(number))
        place.store.remove_entry(make_id(number))
    during = put(place.store, 1, b"during")
    assert time.monotonic() - began < 5, "only the first one waited"
    own_server.resume()
    wait_until(lambda: place.bucket_store.measure_backlog().attempts == 0)
    assert place.read_file(during) == b"during"
    assert place.objects.read(names.build_manifest(during.id)) is not None
    assert place.reopen().read_entries().items == (make_entry(1),)
    place.close()


def test_a_spool_that_is_full_says_so(moto: Server, tmp_path: Path) -> None:
    settings = Settings(storage=Storage(kind="Bucket", bucket=moto.build_settings(), spool_bytes=1 << 20))
    settings = _replace_data(settings, tmp_path / "data", moto.folder)
    opened = opening.open_store(settings, Identity("ns", "pod", "release"))
    opened.prepare()
    assert opened.room_bytes() < 0
    with pytest.raises(StoreFull, match="the spool has too little space") as raised:
        opened.reserve(2 << 20)
    assert "spoolBytes" in raised.value.remedy
    assert opened.free_bytes() > 1 << 50


def test_the_spool_counts_what_its_files_take(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x" * 10_000)
    assert 8192 <= measure(tmp_path) <= 65536


def test_a_list_that_hangs_hides_nothing_that_is_in_the_spool(
    own_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LIST_SECS", 0.3)
    place = BucketPlace(own_server, tmp_path)
    before = put(place.store, 1, b"before")
    service = reader.BucketReader(Volume(place.store.root), place.objects)
    assert service.list_ids() == {before.id}
    own_server.pause()
    during = put(Volume(place.store.root), 2, b"during")
    began = time.monotonic()
    assert service.list_ids() == {before.id, during.id}
    Volume(place.store.root).remove(during.id)  # as when it is moved to the bucket
    assert service.list_ids() == {before.id, during.id}
    assert time.monotonic() - began < 5
    own_server.resume()
    wait_until(lambda: service.list_ids() == {before.id})
    place.close()


def test_refused_credentials_are_reported_and_replaced_without_a_restart(
    own_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mounted Secret is read again."""
    monkeypatch.setattr(connection, "LOOK_SECS", 0.0)
    connect = own_server.connect("x")
    first = connect()
    assert connect() is first
    buckets.write_credentials(own_server.folder, {"aws_access_key_id": "another"})
    assert connect() is not first


def test_the_providers_error_is_reported_without_the_request() -> None:
    said = "Generic S3 error: <Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    assert objects.describe(Exception(said)) == "SlowDown: Please reduce your request rate"
    assert objects.describe(Exception("a\n b" + "c" * 1000)).startswith("a bc")


# ---------------------------------------------------------------------------------------------- behind our back


def test_a_term_deleted_externally_has_ended(place: BucketPlace) -> None:
    place.objects.delete([names.LEADER])
    one = put(place.store, 1)
    with pytest.raises(StoreFenced, match="nobody"):
        place.store.remove(one.id)
    assert place.fenced


def test_terms_go_on_counting_after_the_object_was_deleted(place: BucketPlace) -> None:
    """Else a writer of a term long ago would be the writer again."""
    first, second = place.bucket_store, place.open()
    second.write_entry(make_entry(1))
    place.objects.delete([names.LEADER])
    third = place.open()
    assert third.read_entries().items == (make_entry(1),)
    third.write_entry(make_entry(1, step="Recording"))
    for before in (first, second):
        with pytest.raises(StoreFenced):
            before.write_entry(make_entry(1, step="Collecting"))
        with pytest.raises(StoreFenced):
            before._fence.check()
    assert place.reopen().read_entries().items == (make_entry(1, step="Recording"),)


def test_a_term_of_the_same_number_is_another_ones(place: BucketPlace) -> None:
    first = place.bucket_store
    place.objects.delete([names.LEADER])
    place.open()  # nothing tells the number of the last term: no document, and another spool
    with pytest.raises(StoreFenced):
        first._fence.check()
    with pytest.raises(StoreFenced):
        first._fence.renew(0)


def leave_unsent(place: BucketPlace) -> None:
    """A step of entry 1 that only the spool of `pod`, which was killed, has."""
    place.close()
    doomed = place.open("pod")
    doomed.write_entry(make_entry(1, step="Recording"))
    doomed._away = StoreUnavailable("it does not answer.")
    doomed.write_entry(make_entry(1, step="Collecting"))
    kill(doomed)


def test_unsent_data_of_this_pod_is_kept_although_the_term_was_deleted(place: BucketPlace) -> None:
    leave_unsent(place)
    place.objects.delete([names.LEADER])
    assert place.open("pod").read_entries().items == (make_entry(1, step="Collecting"),)


def test_a_corrupted_manifest_hides_no_others(place: BucketPlace) -> None:
    one, two = put(place.store, 1), put(place.store, 2)
    place.objects.write(names.build_manifest(one.id), b"{")
    reading = place.reopen().read_manifests()
    assert reading.items == (two,)
    assert [fault.details["profile"] for fault in reading.faults] == [one.id]
    with pytest.raises(CorruptManifest):
        place.store.read_manifest(one.id)


def test_objects_deleted_externally_are_not_listed(place: BucketPlace) -> None:
    one, two = put(place.store, 1), put(place.store, 2)
    assert two.file is not None
    place.objects.delete([names.build_manifest(one.id), names.build_file(two.id, two.file.sha256)])
    assert place.store.read_manifest(one.id) is None
    assert place.store.list_ids() == {two.id}
    assert place.store.remove(two.id)


def test_a_profile_whose_removal_was_cut_short_is_gone(place: BucketPlace) -> None:
    one = put(place.store, 1)
    place.objects.write(names.build_removed(one.id), b"")
    place.reopen()
    opened = place.bucket_store
    assert opened.list_ids() == frozenset()
    assert opened.read_manifest(one.id) is None
    opened._finish_removals(now=time.time())
    assert [found.path for found in place.objects.list(names.FILES)] == []
    assert place.objects.find(names.build_manifest(one.id)) is None
    assert place.objects.find(names.build_removed(one.id)) is not None
    opened.list_ids()
    opened._finish_removals(now=time.time() + store.MARK_SECS + 60)
    assert place.objects.find(names.build_removed(one.id)) is None


def test_removals_are_remembered_only_until_a_list_has_them(place: BucketPlace) -> None:
    one = put(place.store, 1)
    place.store.remove(one.id)
    assert place.bucket_store._catalog.is_removed(one.id)
    place.store.list_ids()
    assert place.bucket_store._catalog._forgotten == set()
    assert place.bucket_store._catalog.is_removed(one.id)


def test_files_whose_manifest_does_not_follow_are_deleted(place: BucketPlace) -> None:
    """Of an upload that a kill interrupted, and whose spool is gone."""
    opened, kept, damaged = place.bucket_store, put(place.store, 1), put(place.store, 2)
    place.objects.write(names.build_manifest(damaged.id), b"{")
    orphans = [names.build_file(make_id(3), "0" * 64), names.build_extra(make_id(3), "1" * 64, "raw.json.gz")]
    waiting = names.build_file(make_id(4), "0" * 64)
    foreign = f"{names.FILES}/readme"
    for path in (*orphans, waiting, foreign):
        place.objects.write(path, b"data")
    opened._away = StoreUnavailable("it does not answer.")
    put(opened, 4)
    opened._delete_orphans(now=time.time())
    assert all(place.objects.find(path) for path in orphans)
    opened._delete_orphans(now=time.time() + store.MARK_SECS + 60)
    left = {found.path for found in place.objects.list(names.FILES)}
    assert left >= {waiting, foreign, *(found for each in (kept, damaged) for found in uploads.list_files(each))}
    assert left.isdisjoint(orphans)


def test_names_of_operators_are_found_after_a_move_to_the_bucket(place: BucketPlace) -> None:
    """Also by whoever knows the manifest from the spool."""
    opened, manifest = place.bucket_store, make_manifest(1)
    for name, data in (("profile", b"profile"), ("names", b"nm")):
        opened.tmp_path(manifest.id, name).write_bytes(data)
    opened._away = StoreUnavailable("it does not answer.")
    extras = {layout.OPERATORS_FILE: opened.tmp_path(manifest.id, "names")}
    opened.publish(manifest, opened.tmp_path(manifest.id, "profile"), extras=extras)
    spooled = opened.read_manifest(manifest.id)
    assert spooled is not None
    opened._away = None
    opened._drain()
    assert opened.measure_backlog().attempts == 0
    assert opened.read_operators(spooled) == b"nm"


def test_files_that_are_deleted_before_their_manifest_is_written_are_sent_again(place: BucketPlace) -> None:
    """The upload of a pod goes on that was away for longer than the files without a manifest are kept."""
    leader = place.bucket_store

    def clean(step: str) -> None:
        if step == "files-uploaded" and not deleted:
            before = sum(1 for _ in place.objects.list(names.FILES))
            leader._delete_orphans(now=time.time() + store.MARK_SECS + 60)
            deleted.append(before - sum(1 for _ in place.objects.list(names.FILES)))

    deleted: list[int] = []
    standby = place.build(spool="former", fault=clean)
    kept = put(Volume(standby.root), 1, b"the only copy")
    standby.upload_spool()
    assert deleted == [1]
    assert place.read_file(kept) == b"the only copy"
    assert standby.measure_backlog().attempts == 0
    place.bucket_store = leader


def test_the_cached_manifests_count_only_as_they_are_listed(
    place: BucketPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samply_operator.store.bucket.catalog.FEW", 2)
    stored = [put(place.store, number) for number in range(8)]
    place.store.list_ids()
    place.bucket_store._catalog.renew_cache()
    assert place.objects.find(names.CATALOG) is not None
    place.objects.delete([names.build_manifest(stored[0].id)])
    place.objects.write(names.build_manifest(stored[1].id), b"{")
    opened = place.reopen()
    reading = opened.read_manifests()
    assert {manifest.id for manifest in reading.items} == {manifest.id for manifest in stored[2:]}
    assert len(reading.faults) == 1
    place.objects.write(names.CATALOG, b"no gzip")
    assert len(place.reopen().read_manifests().items) == 6


# ------------------------------------------------------------------------------------------ removed or damaged


@pytest.mark.parametrize("step", ["file-uploaded", "files-uploaded", "manifest-written"])
@pytest.mark.usefixtures("quick")
def test_a_profile_that_is_removed_during_its_upload_is_gone(place: BucketPlace, step: str) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def pause(at: str) -> None:
        if at == step:
            reached.set()
            assert go_on.wait(60)

    place.close()
    opened = place.build("pod", fault=pause)
    lock(opened)
    manifest = put(Volume(opened.root), 1, b"data" * 1000)  # its thread uploads it
    kept = put(Volume(opened.root), 2)
    assert reached.wait(60)
    assert opened.remove(manifest.id)
    go_on.set()
    wait_until(lambda: opened.list_ids() == {kept.id} and opened.measure_backlog().attempts == 0)
    wait_until(lambda: len(list(place.objects.list(names.FILES))) == 1)
    assert place.objects.find(names.build_manifest(manifest.id)) is None
    assert opened.read_manifest(manifest.id) is None
    assert place.reopen().list_ids() == {kept.id}


def test_a_profile_takes_the_place_of_one_whose_manifest_is_damaged(place: BucketPlace) -> None:
    put(place.store, 1, b"before")
    place.objects.write(names.build_manifest(make_id(1)), b"{")
    again = put(place.store, 1, b"again")
    assert place.read_file(again) == b"again"
    assert place.store.list_ids() == {again.id}
    assert place.reopen().read_manifests().items == (again,)


def test_a_failure_takes_no_place_of_one_whose_manifest_is_damaged(place: BucketPlace) -> None:
    before = put(place.store, 1, b"before")
    place.objects.write(names.build_manifest(before.id), b"{")
    with pytest.raises(CorruptManifest):
        put(place.store, 1, None)
    assert place.read_file(before) == b"before"


def test_a_damaged_term_is_reported_and_nothing_is_taken_over(
    place: BucketPlace, caplog: pytest.LogCaptureFixture
) -> None:
    place.objects.write(names.LEADER, b"\xff{")
    assert not place.build().lock()
    assert "leader.json in the bucket is damaged" in caplog.text
    assert "Delete it" in caplog.text


@pytest.mark.usefixtures("quick")
def test_uploads_go_on_once_a_damaged_term_is_mended(
    place: BucketPlace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "RENEW_SECS", 0.0)
    found = place.objects.read(names.LEADER)
    assert found is not None
    place.objects.write(names.LEADER, b"{")
    waiting = put(Volume(place.store.root), 1)
    wait_until(lambda: f"{names.LEADER} in the bucket is damaged" in caplog.text)
    place.objects.write(names.LEADER, found[0])
    wait_until(lambda: place.bucket_store.measure_backlog().attempts == 0)
    assert place.reopen().list_ids() == {waiting.id}


@pytest.mark.parametrize("damaged", [b"\xff\xfe", b"{", b'{"term": "x"}'])
def test_a_damaged_entry_of_the_journal_is_reported_as_on_a_volume(place: BucketPlace, damaged: bytes) -> None:
    place.store.write_entry(make_entry(1))
    place.store.write_entry(make_entry(2))
    place.objects.write(layout.build_journal(make_id(1)), damaged)
    opened = place.reopen()
    reading = opened.read_entries()
    assert reading.items == (make_entry(2),)
    assert [fault.details["profile"] for fault in reading.faults] == [make_id(1)]
    opened.remove_entry(make_id(1))
    assert place.reopen().read_entries() == Reading((make_entry(2),))


def test_an_entry_damaged_in_the_bucket_is_replaced_by_the_next_step(place: BucketPlace) -> None:
    place.store.write_entry(make_entry(1))
    place.objects.write(layout.build_journal(make_id(1)), b"\xff")
    place.store.write_entry(make_entry(1, step="Recording"))
    assert place.reopen().read_entries().items == (make_entry(1, step="Recording"),)


@pytest.mark.usefixtures("quick")
def test_documents_and_profiles_that_cannot_be_sent_hold_up_no_others(
    place: BucketPlace, caplog: pytest.LogCaptureFixture
) -> None:
    opened = place.bucket_store
    opened._away = StoreUnavailable("it does not answer.")
    opened.write_entry(make_entry(1))
    opened.write_entry(make_entry(2))
    opened.write_entry(make_entry(3))
    first, second = put(opened, 1), put(opened, 2)
    (opened.root / layout.build_journal(make_id(1))).unlink()
    (opened.root / layout.build_journal(make_id(1))).mkdir()  # what cannot be read
    (opened.root / layout.build_journal(make_id(2))).write_bytes(b"\xff")
    (opened.root / layout.build_folder(first.id) / layout.PROFILE_FILE).unlink()
    wait_until(lambda: place.objects.find(names.build_manifest(second.id)) is not None)
    assert place.objects.find(layout.build_journal(make_id(2))) is not None
    assert place.objects.find(layout.build_journal(make_id(3))) is not None
    assert f"{layout.build_journal(make_id(1))} stays in the spool" in caplog.text
    assert f"{first.id} stays in the spool" in caplog.text
    assert opened._thread is not None
    assert opened._thread.is_alive()


@pytest.mark.parametrize("leads", [True, False])
@pytest.mark.usefixtures("quick")
def test_an_object_that_cannot_be_written_holds_up_no_others(
    place: BucketPlace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, leads: bool
) -> None:
    """The bucket refuses this one, or its file in the spool cannot be read."""
    leader = place.bucket_store
    opened = leader if leads else place.build(spool="former")
    upload = place.objects.upload

    def refuse_first(path: str, *more: object) -> None:
        if first.id in path:
            raise StoreUnavailable("403")
        upload(path, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(place.objects, "upload", refuse_first)
    first = make_manifest(1)
    put(Volume(opened.root), 1)
    second = put(Volume(opened.root), 2)
    opened._away = StoreUnavailable("it does not answer.")
    if not leads:
        opened.upload_spool()
    wait_until(lambda: place.objects.find(names.build_manifest(second.id)) is not None)
    wait_until(lambda: f"{first.id} stays in the spool: 403" in caplog.text)
    if leads:
        wait_until(lambda: opened._away is None)
        put(opened, 3)
        assert place.objects.find(names.build_manifest(make_id(3))) is not None
    assert opened._spool.list_ids() == {first.id}
    place.bucket_store = leader


@pytest.mark.usefixtures("quick")
def test_an_unexpected_error_does_not_end_the_uploads(
    place: BucketPlace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [ValueError("unexpected"), OSError("unexpected")]
    list_unsent = Mirror.list_unsent

    def fail(self: Mirror) -> frozenset[str]:
        if failures:
            raise failures.pop()
        return list_unsent(self)

    monkeypatch.setattr(Mirror, "list_unsent", fail)
    waiting = put(Volume(place.store.root), 1)
    wait_until(lambda: place.objects.find(names.build_manifest(waiting.id)) is not None)
    assert caplog.text.count("an unexpected error") == 2


def test_a_change_during_the_request_of_an_earlier_one_stays_unsent(
    place: BucketPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket then becomes unavailable, and the process is killed: the next one finds the change in the spool."""
    place.close()
    doomed = place.open("pod")
    write = Mirror._write

    def write_slowly(self: Mirror, name: str, wrapped: Wrapped) -> None:
        write(self, name, wrapped)
        monkeypatch.setattr(Mirror, "_write", write)
        doomed._away = StoreUnavailable("it does not answer.")
        doomed.write_entry(make_entry(1, step="Collecting"))

    monkeypatch.setattr(Mirror, "_write", write_slowly)
    doomed.write_entry(make_entry(1, step="Recording"))
    assert doomed._mirror.list_unsent() == {layout.build_journal(make_id(1))}
    kill(doomed)
    assert place.open("pod").read_entries().items == (make_entry(1, step="Collecting"),)


@pytest.mark.parametrize("arrived", [True, False])
def test_the_removal_of_a_document_whose_creation_was_not_answered_is_sent(
    place: BucketPlace, monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    create = place.objects.create

    def lose_the_answer(path: str, data: bytes) -> str:
        if arrived:
            create(path, data)
        raise StoreUnavailable("the connection was reset.")

    with monkeypatch.context() as patched:
        patched.setattr(place.objects, "create", lose_the_answer)
        place.store.write_entry(make_entry(1))
    place.store.remove_entry(make_id(1))
    assert place.reopen().read_entries().items == ()
    assert list(place.objects.list(layout.JOURNAL)) == []


def test_a_change_in_progress_stays_marked_as_unsent(place: BucketPlace) -> None:
    """The thread sends what was there before, between the mark and the change."""
    place.close()
    doomed = place.open("pod")
    doomed.write_entry(make_entry(1, step="Recording"))
    name = layout.build_journal(make_id(1))
    with doomed._mirror.changing(name):
        sending = threading.Thread(target=doomed._mirror.send, args=(name,))
        sending.start()
        sending.join(1)
        Volume(doomed.root).write_entry(make_entry(1, step="Collecting"))
    sending.join()
    assert doomed._mirror.list_unsent() == {name}
    kill(doomed)
    assert place.open("pod").read_entries().items == (make_entry(1, step="Collecting"),)


# ------------------------------------------------------------------------------------------------- two writers


def test_a_second_writer_of_the_same_installation_takes_over_and_the_first_one_is_stopped(place: BucketPlace) -> None:
    first = place.bucket_store
    first.write_entry(make_entry(1, step="Recording"))
    second = place.open()
    assert second.read_entries().items == (make_entry(1, step="Recording"),)
    for act in (
        lambda: first.write_entry(make_entry(1, step="Collecting")),
        lambda: first.write_entry(make_entry(2)),
        lambda: first.remove_entry(make_id(1)),
        lambda: first.side_files.pin(make_id(1)),
    ):
        with pytest.raises(StoreFenced):
            act()
    assert place.fenced
    second.write_entry(make_entry(1, step="Publishing"))
    assert place.reopen().read_entries().items == (make_entry(1, step="Publishing"),)


def test_a_standby_uploads_what_only_its_spool_has(place: BucketPlace) -> None:
    leader = place.bucket_store
    standby = place.build(spool="former")
    kept = put(Volume(standby.root), 7, b"not uploaded yet")
    assert leader.list_ids() == frozenset()
    standby.upload_spool()
    assert leader.list_ids() == {kept.id}
    assert standby.measure_backlog().attempts == 0
    assert leader.read_manifest(kept.id) == kept
    place.bucket_store = leader


def test_a_removed_profile_that_only_the_spool_of_another_pod_has_is_not_uploaded(place: BucketPlace) -> None:
    leader = place.bucket_store
    standby = place.build(spool="former")
    gone, kept = (put(Volume(standby.root), number) for number in (1, 2))
    assert leader.may_exist(gone.id)
    assert not leader.remove(gone.id, everywhere=True)
    assert not leader.may_exist(gone.id)
    standby.upload_spool()
    assert leader.list_ids() == standby.list_ids() == {kept.id}
    assert list(place.objects.list(names.build_folder(gone.id))) == []
    place.bucket_store = leader


@pytest.mark.parametrize("step", ["file-uploaded", "files-uploaded", "manifest-written"])
def test_a_profile_that_is_removed_while_another_pod_uploads_it_is_gone(place: BucketPlace, step: str) -> None:
    leader = place.bucket_store

    def remove(at: str) -> None:
        if at == step:
            leader.remove(gone.id, everywhere=True)

    standby = place.build(spool="former", fault=remove)
    gone = put(Volume(standby.root), 1)
    standby.upload_spool()
    assert standby.measure_backlog().attempts == 0
    assert leader.list_ids() == frozenset()
    leader._finish_removals(time.time())
    assert [found.path for folder in (names.FILES, names.MANIFESTS) for found in place.objects.list(folder)] == []
    place.bucket_store = leader


def test_a_failure_in_the_bucket_leaves_the_good_file_in_the_spool(
    place: BucketPlace, caplog: pytest.LogCaptureFixture
) -> None:
    """The former leader stored it there while the bucket was unavailable; the next one could not get the file."""
    leader = place.bucket_store
    standby = place.build(spool="former")
    kept = put(Volume(standby.root), 1, b"the only copy")
    failure = put(leader, 1, None)
    standby.upload_spool()
    assert f"the bucket has a failure as {kept.id}; the good file stays in the spool" in caplog.text
    with pytest.raises(StoreError, match="stays in the spool"):
        standby._uploads.send(kept)  # the failure appears just before the manifest
    assert put(standby, 1, None) == failure
    with standby.open_profile(kept.id) as file:
        assert file.read() == b"the only copy"
    assert leader.read_manifest(kept.id) == failure
    leader.remove(kept.id)  # as retention does
    standby.upload_spool()
    assert place.read_file(kept) == b"the only copy"
    assert leader.list_ids() == {kept.id}
    assert leader.read_manifest(kept.id) == kept
    place.bucket_store = leader


def test_a_failure_that_was_sent_twice_is_stored_once(place: BucketPlace) -> None:
    """The answer to the first request was lost."""
    failure = put(place.store, 1, None)
    assert place.bucket_store._uploads.send(failure) == failure
    assert place.store.read_manifest(failure.id) == failure


def test_an_unexpected_error_ends_no_uploads_of_a_standby(
    place: BucketPlace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leader = place.bucket_store
    standby = place.build(spool="former")
    first, second = (put(Volume(standby.root), number) for number in (1, 2))
    upload, failures = objects.Objects.upload, [ValueError("unexpected")]

    def fail_once(self: objects.Objects, *more: object) -> None:
        if failures:
            raise failures.pop()
        upload(self, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(objects.Objects, "upload", fail_once)
    standby.upload_spool()
    assert f"{first.id} stays in the spool: an unexpected error" in caplog.text
    assert leader.list_ids() == {second.id}
    monkeypatch.setattr(Volume, "list_ids", lambda _: 1 / 0)
    standby.upload_spool()
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    standby.upload_spool()
    assert leader.list_ids() == {first.id, second.id}
    place.bucket_store = leader


def test_a_writer_that_slept_neither_doubles_nor_removes(place: BucketPlace) -> None:
    first = place.bucket_store
    kept = put(first, 5)
    second = place.open()
    published = put(second, 1, b"by the second")
    late = put(first, 1, b"by the first, late")
    assert late == published
    assert place.read_file(late) == b"by the second"
    with pytest.raises(StoreFenced):
        first.remove(kept.id)
    second.remove(published.id)
    assert put(first, 1, b"once more") is not None
    assert place.reopen().list_ids() == {kept.id}


def test_another_installation_waits_until_the_term_is_not_renewed(
    place: BucketPlace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "RENEW_SECS", math.inf)  # only as below
    clock = [0.0]
    first, other = place.bucket_store, place.build(owner="elsewhere/release")
    other._fence._uptime = lambda: clock[0]
    assert not other.lock()
    assert "ns/release (pod pod-1) writes to this prefix of the bucket; this is elsewhere/release." in caplog.text
    assert "After a reinstallation, an upgrade or a restore: only wait" in caplog.text
    clock[0] = fence.TELL_SECS - 1
    assert not other.lock()
    assert caplog.text.count("this is elsewhere") == 1
    clock[0] = fence.TELL_SECS
    assert not other.lock()
    assert caplog.text.count("this is elsewhere") == 2
    first._fence.renew(0)
    clock[0] += 1
    assert not other.lock()
    assert caplog.text.count("this is elsewhere") == 3, "at once after a change"
    clock[0] += fence.PATIENCE_SECS - 1
    assert not other.lock()
    clock[0] += 1
    assert other.lock()
    other.unlock()


def test_installations_of_the_same_name_in_two_clusters_are_two(moto: Server, tmp_path: Path) -> None:
    def open_in(cluster: str) -> Store:
        data = _replace_data(Settings(storage=storage), tmp_path / cluster, moto.folder)
        opened = opening.open_store(data, Identity("ns", "pod", "release", account_uid=cluster))
        opened.prepare()
        return opened

    storage = buckets.build_storage(moto)
    one, two = open_in("one"), open_in("two")
    wait_until(one.lock)
    assert not two.lock()
    one.unlock()
    wait_until(two.lock)
    two.unlock()


def test_a_term_that_ended_in_order_is_followed_at_once(place: BucketPlace) -> None:
    place.bucket_store.unlock()
    other = place.build(owner="elsewhere/release")
    assert other.lock()
    other.unlock()


# ------------------------------------------------------------------------------------------------------ killed


class KilledError(BaseException):
    """The process ends here."""


def kill(store: BucketStore) -> None:
    """Nothing is sent any more, and the term is not ended."""
    store._fence.term = None
    store._ended.set()
    if store._thread:
        store._thread.join()
    store._spool.unlock()


STEPS = ["file-uploaded", "files-uploaded", "manifest-written", "spool-removed"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("same_pod", [True, False])
def test_publishing_survives_a_kill_after(place: BucketPlace, step: str, same_pod: bool) -> None:
    def fault(reached: str) -> None:
        if reached == step:
            raise KilledError

    place.close()
    doomed = place.build("doomed", fault=fault)
    assert doomed.lock()
    manifest = make_manifest(1, b"data" * 1000)
    doomed.write_entry(make_entry(1, step="Publishing"))
    path = doomed.tmp_path(manifest.id, "profile")
    path.write_bytes(b"data" * 1000)
    with pytest.raises(KilledError):
        doomed.publish(manifest, path)
    kill(doomed)

    heir = place.open("doomed" if same_pod else "heir")
    assert heir.read_entries().items == (make_entry(1, step="Publishing"),)
    path = heir.tmp_path(manifest.id, "profile")
    path.write_bytes(b"data" * 1000)  # as collected again from the pod
    assert heir.publish(manifest, path).id == manifest.id
    assert heir.list_ids() == {manifest.id}
    assert place.read_file(manifest) == b"data" * 1000
    assert [found.size_bytes for found in place.objects.list(names.FILES)] == [4000]
    assert heir.measure_backlog().attempts == 0


def test_unsent_data_of_this_pod_takes_precedence_over_the_bucket(place: BucketPlace) -> None:
    """Killed while the bucket was unavailable; restarted on the same spool."""
    place.close()
    doomed = place.open("pod")
    doomed.write_entry(make_entry(1, step="Recording"))
    doomed.write_entry(make_entry(2))
    doomed._away = StoreUnavailable("it does not answer.")
    doomed.write_entry(make_entry(1, step="Collecting"))
    doomed.remove_entry(make_id(2))
    doomed.write_entry(make_entry(3))
    doomed._fence.release()
    doomed.unlock()
    again = place.open("pod")
    assert {entry.id: entry.step for entry in again.read_entries().items} == {
        make_id(1): "Collecting", make_id(3): "Admitted",
    }  # fmt: skip
    assert {entry.id for entry in place.reopen().read_entries().items} == {make_id(1), make_id(3)}


@pytest.mark.parametrize("same_pod", [True, False])
def test_a_start_of_a_term_that_fails_changes_no_precedence(
    place: BucketPlace, monkeypatch: pytest.MonkeyPatch, same_pod: bool
) -> None:
    leave_unsent(place)
    if not same_pod:
        place.open("other").unlock()
    again = place.build("pod")
    with monkeypatch.context() as patched:
        patched.setattr(place.objects, "list", fail)
        assert not again.lock()
    lock(again)
    assert again.read_entries().items == (make_entry(1, step="Collecting" if same_pod else "Recording"),)


def test_a_term_whose_check_is_refused_changes_no_precedence(
    place: BucketPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some providers refuse two writes of an object within a second."""
    leave_unsent(place)
    again, replace, written = place.build("pod"), place.objects.replace, []

    def refuse_second(path: str, data: bytes, e_tag: str) -> str:
        written.append(path)
        if written.count(names.LEADER) == 2:
            raise StoreUnavailable("SlowDown")
        return replace(path, data, e_tag)

    monkeypatch.setattr(place.objects, "replace", refuse_second)
    lock(again)
    assert again.read_entries().items == (make_entry(1, step="Collecting"),)


def fail(*_: object) -> NoReturn:
    raise StoreUnavailable("it does not answer.")


def test_later_changes_by_another_pod_take_precedence_over_an_old_spool(place: BucketPlace) -> None:
    place.close()
    old = place.open("old")
    old.write_entry(make_entry(1, step="Recording"))
    old.write_entry(make_entry(2, step="Recording"))
    old.unlock()
    new = place.open("new")
    new.write_entry(make_entry(1, step="Publishing"))
    new.remove_entry(make_id(2))
    new.unlock()
    again = place.open("old")
    assert again.read_entries().items == (make_entry(1, step="Publishing"),)


def _replace_data(settings: Settings, data: Path, storage: Path) -> Settings:
    paths = msgspec.structs.replace(settings.paths, data=str(data), storage=str(storage))
    return msgspec.structs.replace(settings, paths=paths)
