"""Names on the volume: only ids made by the server, never text from users."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.errors import StoreError
from samply_operator.model.attachment import NAMES
from samply_operator.store import layout

ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "../../etc",
        ID.upper(),
        ID + "\n",
        ID + "/",
        f"{ID}/..",
        ID[:-1],
        "a" * 36,
        "٣" + ID[1:],
        "\0" + ID[1:],
    ],
    ids=repr,
)
def test_what_is_no_uid_never_becomes_a_path(text: str) -> None:
    for build in (layout.build_folder, layout.build_journal, lambda t: layout.build_tmp(t, "profile")):
        with pytest.raises(StoreError):
            build(text)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a..b", "A", "a\n", "-a", "x" * 65, "é"], ids=repr)
def test_what_is_no_plain_name_is_refused(name: str) -> None:
    with pytest.raises(StoreError):
        layout.build_tmp(ID, name)


@pytest.mark.parametrize(
    "name", ["profile.json.gz", "manifest.json", "raw/..", "raw/x", "Raw", "attachment-/x"], ids=repr
)
def test_a_further_file_never_takes_the_place_of_the_profile(name: str) -> None:
    with pytest.raises(StoreError):
        layout.check_extra(name)


@pytest.mark.parametrize("name", ["raw.json.gz", layout.OPERATORS_FILE, *NAMES.values(), "later.bin"])
def test_what_may_be_stored_beside_a_profile(name: str) -> None:
    """Also what only a later version knows."""
    assert layout.check_extra(name) == name


def test_names_are_as_documented() -> None:
    assert layout.build_folder(ID) == f"profiles/{ID}"
    assert layout.build_journal(ID) == f"journal/{ID}.json"
    assert layout.build_tmp(ID, "raw.json.gz") == f"tmp/{ID}-raw.json.gz"


@given(st.from_regex(layout._NAME, fullmatch=True).filter(lambda name: ".." not in name))
def test_a_temporary_name_is_read_back_as_it_was_built(name: str) -> None:
    assert layout.parse_tmp(layout.build_tmp(ID, name).removeprefix("tmp/")) == (ID, name)


@given(st.text())
def test_foreign_names_are_not_recognized(name: str) -> None:
    assert layout.parse_journal(name) is None or layout.is_id(name[:-5])
    parsed = layout.parse_tmp(name)
    assert parsed is None or layout.is_id(parsed[0])
