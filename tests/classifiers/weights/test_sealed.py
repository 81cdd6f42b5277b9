"""Our safetensors are what was written, or refused; those of others are read as they come."""

from __future__ import annotations

import json
import struct

import pytest
import safetensors.torch
import torch

from xkd_eval.classifiers.weights.sealed import sealed, unsealed
from xkd_eval.errors import XkdError

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(3, 2), "steps": torch.tensor(3), "half": torch.ones(2).half()}
TEXTS = {"preprocess": json.dumps({"mean": [0.1, 0.2, 0.3]})}


def written(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(start: int, end: int) -> dict:
    return {"dtype": "F32", "shape": [(end - start) // 4], "data_offsets": [start, end]}


def test_what_was_sealed_comes_back():
    found = unsealed(sealed(WEIGHTS, TEXTS), "weights: 'a'")
    assert found.is_sealed and found.texts["preprocess"] == TEXTS["preprocess"]
    assert found.tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in WEIGHTS.items())
    assert all(found.tensors[name].dtype == tensor.dtype for name, tensor in WEIGHTS.items())


def test_every_flipped_bit_is_found():
    """In tensors, names, shapes, the mean in the metadata, the digest itself and its name."""
    content = sealed(WEIGHTS, TEXTS)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        with pytest.raises(XkdError, match=r"^weights: 'a' (is damaged|is no safetensors file|holds)") as caught:
            unsealed(bytes(changed), "weights: 'a'")
        assert "\n" not in str(caught.value)


def test_the_digest_does_not_depend_on_where_tensors_lie():
    content = sealed(WEIGHTS, TEXTS)
    found = unsealed(content, "a")
    again = safetensors.torch.save(dict(reversed(found.tensors.items())), found.texts)
    assert unsealed(again, "a").is_sealed
    other = safetensors.torch.save({**found.tensors, "steps": torch.tensor(4)}, found.texts)
    with pytest.raises(XkdError, match="is damaged: its content is not what its digest was taken of"):
        unsealed(other, "a")


def test_tensors_that_share_memory_are_written_each_for_itself():
    shared = torch.arange(4.0)
    found = unsealed(sealed({"a": shared, "b": shared[1:], "c": shared.expand(2, 4)}, {}), "a").tensors
    assert found["b"].tolist() == [1, 2, 3] and found["c"].shape == (2, 4)


@pytest.mark.parametrize("texts", [None, {"format": "pt"}, {"preprocess": "{}"}])
def test_those_of_others_need_no_digest(texts):
    found = unsealed(safetensors.torch.save(WEIGHTS, texts), "a")
    assert not found.is_sealed and torch.equal(found.tensors["fc.weight"], WEIGHTS["fc.weight"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"abc", "its header is"),
        (struct.pack("<Q", 2**60) + b"{}", "its header is 1152921504606846976 bytes long"),
        (written(b'{"a": %s, "a": %s}' % ((json.dumps(entry(0, 4)).encode(),) * 2), bytes(4)), "'a' stands twice"),
        (written({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4)), "offset"),
        (written({"a": entry(4, 8)}, bytes(8)), "offset"),
        (written({"a": {**entry(0, 4), "shape": [2**62, 4]}}, bytes(4)), "overflow"),
        (written({"a": {**entry(0, 4), "dtype": "F4", "shape": [8]}}, bytes(4)), "KeyError 'F4'"),
        (written({"a": entry(2**70, 2**70 + 4)}, bytes(4)), "invalid"),
        (written([1]), "its header is no object"),
        (written(b"[" * 200_000), "recursion"),
        (written({"__metadata__": ["a"]}), "dictionary"),
        (written({"__metadata__": {"xkd.format": "1"}}), "is damaged"),
    ],
)
def test_hostile_headers_are_one_line(content, reason):
    with pytest.raises(XkdError, match=reason) as caught:
        unsealed(content, "weights: 'a'")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_library_that_panics_is_one_line(monkeypatch):
    """Rust's panics reach Python as exceptions that are no Exception."""
    panic = type("PanicException", (BaseException,), {})

    def load(content):
        raise panic("index out of bounds")

    monkeypatch.setattr("safetensors.torch.load", load)
    with pytest.raises(XkdError, match=r"truncated or damaged one \(index out of bounds\)"):
        unsealed(safetensors.torch.save(WEIGHTS), "weights: 'a'")
