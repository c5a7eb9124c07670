"""Names: objects, annotations and paths accept the same ones; none of them escapes its context."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import pytest
import yaml

from samply_operator.api.content import zip_layout
from samply_operator.logs import JsonFormatter
from samply_operator.model import names
from support.fake_operator import make_pipeline

from .conftest import Service

CRD = Path(__file__).parents[3] / "manifests" / "crd.yaml"
GOOD = ("orders", "a", "A_1-b.c", "_x", "-x", "x" * 100, "a..b", "a.")
BAD = (
    *("", ".", "..", ".hidden", "../x", "a/b", "a\\b", "a b", "a\nb", "a\tb", "a\x00", "\x7f", "Ü", "a;b", 'a"b'),
    *("x" * 101, "a%2fb", "a:b", "\u2028", "a\r\nSet-Cookie: x"),
)


def test_the_crd_says_the_same() -> None:
    schema = next(iter(yaml.safe_load_all(CRD.read_text())))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["properties"]["spec"]["properties"]["pipeline"]["pattern"] == f"^{names.PIPELINE_NAME}$"


@pytest.mark.parametrize("name", GOOD)
async def test_a_valid_name_is_valid_everywhere(service: Service, name: str) -> None:
    assert names.is_pipeline_name(name)
    service.operator.pipelines = (make_pipeline(name),)
    service.put(1, pipeline=name)
    await service.settle()
    path = f"/v0/pipelines/{quote(name, safe='')}"
    assert (await service.get(f"{path}/samply_profile")).status == 200
    for target in (f"{path}/export", f"{path}/samply_profile?ordinal=all"):
        members = zipfile.ZipFile(io.BytesIO((await service.get(target)).body)).namelist()
        assert all(is_inside(member) for member in members), members


@pytest.mark.parametrize("name", BAD)
async def test_an_invalid_name_is_invalid_everywhere(service: Service, name: str) -> None:
    """Whatever an older release has stored."""
    assert not names.is_pipeline_name(name)
    service.put(1, pipeline=name)
    await service.settle()
    for target in ("samply_profile", "samply_profile?ordinal=all", "export", "summary", "samply_profiles"):
        answer = await service.get(f"/v0/pipelines/{quote(name, safe='')}/{target}")
        assert answer.status == 404
        assert answer.read_json()["error_code"] in {"UnknownPipelineName", "UnknownRoute"}


def is_inside(member: str) -> bool:
    path = PurePosixPath(member)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in member and ":" not in member


@pytest.mark.parametrize(
    "member",
    [
        "../x",
        "/etc/passwd",
        "a/../../x",
        "a/./b",
        "a//b",
        "..\\x",
        "C:\\x",
        "C:x",
        "a\x00b",
        "a\nb",
        "\ud800",
        "..",
        ".",
        "",
    ],
)
def test_no_member_of_a_zip_leaves_its_folder(member: str) -> None:
    cleaned = zip_layout.clean_name(member)
    assert is_inside(cleaned)
    assert all(part.strip(".") for part in cleaned.split("/"))
    cleaned.encode()


@pytest.mark.parametrize("name", BAD)
def test_no_name_breaks_a_line_of_the_log(name: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "pipeline %s", (name,), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == f"pipeline {name}"
