"""What comes from outside becomes a typed value or one line."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.foreign import is_writable_name, json_schema, parsed, read_json, reading, reason, short


@dataclass(frozen=True)
class Thing:
    """Something with typed fields."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    size: int
    name: str = "thing"


@dataclass(frozen=True)
class Opaque:
    """Something that pydantic knows by its class alone."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "arbitrary_types_allowed": True}

    path: object
    reader: type[zipfile.ZipFile] | zipfile.ZipFile | None = None


def endless() -> list:
    values: list = []
    values.append(values)
    return values


@pytest.mark.parametrize("value", ["x" * 10_000, b"x" * 10_000, {"a": {"b": {"c": {"d": [1] * 1000}}}}, endless()])
def test_values_are_shown_short(value):
    assert len(short(value)) < 200


@pytest.mark.parametrize(
    "error", [KeyError("weight"), AssertionError(), RecursionError("deep"), ValueError("a\nb"), ValueError("x" * 9999)]
)
def test_a_library_s_failure_is_one_line(error):
    with (
        pytest.raises(UnreadableImageError) as caught,
        reading("data: 'a' is damaged", "copy it again", UnreadableImageError),
    ):
        raise error
    message = str(caught.value)
    assert message.startswith("data: 'a' is damaged (") and message.endswith("); copy it again")
    assert "\n" not in message and len(message) < 300
    assert reason(error) in message and reason(error)


def test_an_error_of_this_project_passes_as_it_is():
    with pytest.raises(XkdError, match=r"^mine$"), reading("data: damaged", "copy it again"):
        raise XkdError("mine")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": "large"}, "size: 'large' found; input should be a valid integer"),
        ({}, "size: missing; add it"),
        ({"size": 1, "naem": "x"}, "naem: nothing reads it; nearest: name"),
        ({"size": np.eye(9)}, "size: array([[1., 0., "),
        (None, "None found; "),
        (3, "3 found; "),
        ({"size": 1, 1: 2}, "1: "),
        (endless(), "found; "),
        ({"size": 1, "x\n\x1b" * 100: 2}, r"x\n\x1bx\n\x1b"),
    ],
)
def test_plain_values_become_typed_ones_or_a_line(values, message):
    with pytest.raises(XkdError) as caught:
        parsed(Thing, values, "summary 'a.json'")
    assert str(caught.value).startswith("summary 'a.json': ") and message in str(caught.value)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_a_panic_is_a_failure_and_an_interrupt_is_none():
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(XkdError, match=r"damaged \(index out of bounds\)"), reading("data: damaged", "copy it again"):
        raise panic("index out of bounds")
    with pytest.raises(KeyboardInterrupt), reading("data: damaged", "copy it again"):
        raise KeyboardInterrupt


def test_an_unknown_key_is_told_where_a_type_has_no_json_schema():
    with pytest.raises(XkdError, match=r"^a: pat: nothing reads it; nearest: path"):
        parsed(Opaque, {"path": object(), "pat": 1}, "a")


def test_what_is_parsed_has_a_json_schema():
    assert parsed(Thing, {"size": 3}, "thing") == Thing(3)
    assert json_schema(Thing)["required"] == ["size"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b'{"a": 1, "a": 2}', b"NaN", b"[" * 100_000, b'{"a": Infinity}'], ids=range(7)
)
def test_json_that_cannot_be_read_is_one_line(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(XkdError, match=r"^output: .*a\.json' is no JSON \(.*\); restore it") as caught:
        read_json(path, "output")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path / "none", tmp_path, loop, tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(XkdError, match=r"^output: .* cannot be read \("):
            read_json(path, "output")


def test_json_is_read_as_it_was_written(tmp_path):
    values = {"a": [1, 2.5, None, "é"], "b": {"c": True}}
    (tmp_path / "a.json").write_text(json.dumps(values), encoding="utf-8")
    assert read_json(tmp_path / "a.json", "output") == values


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0b", "x" * 300, "é" * 120])
def test_names_that_are_no_file_s(name):
    assert not is_writable_name(name)


@pytest.mark.parametrize("name", ["resnet18", "...", "a b", "é" * 20, "x" * 100])
def test_names_that_are(name):
    assert is_writable_name(name)


def test_a_file_from_outside_is_regular_and_of_a_sensible_size(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 2**40)
    for path, why in ((tmp_path / "pipe", "a pipe"), ("/dev/zero", "a pipe or a dev"), (tmp_path / "sparse", "more")):
        with pytest.raises(XkdError, match=f"^class_map: .* cannot be read .*{why}"):
            read_json(Path(path), "class_map")
    (tmp_path / "link").symlink_to(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("3")
    assert read_json(tmp_path / "link", "class_map") == 3
