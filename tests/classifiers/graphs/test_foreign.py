"""Files from anywhere: one line that says what is wrong, never a traceback, never a crash."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.classifiers.graphs.files import numbers, write_graph, write_openvino
from tests.classifiers.graphs.test_written import ALL, GEMM, POOL
from xkd_eval import Preprocess, load_classifier
from xkd_eval.errors import XkdError


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """net.onnx, and net.xml with net.bin, of one small network."""
    folder = tmp_path_factory.mktemp("whole")
    write_openvino(write_graph(folder / "net.onnx", [*POOL, GEMM], ALL), folder / "net.xml")
    return folder


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """The same, to be damaged."""
    return shutil.copytree(whole, tmp_path / "folder")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def written(content: bytes):
    return lambda path: path.write_bytes(content)


def changed(change):
    """A model as onnx reads it, changed and written again."""

    def apply(path: Path) -> None:
        model = onnx.load(str(path))
        change(model)
        path.write_bytes(model.SerializeToString())

    return apply


def fed(shape, kind=TensorProto.FLOAT):
    def change(model) -> None:
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, shape))

    return changed(change)


def told(**texts):
    known = {"format": '"xkd-checkpoint"', "version": "1"}
    return changed(lambda model: helper.set_model_props(model, known | texts))


def kernel(value):
    def change(model) -> None:
        values = ALL["k"].copy()
        values.flat[0] = value
        (stored,) = (tensor for tensor in model.graph.initializer if tensor.name == "k")
        stored.CopyFrom(numpy_helper.from_array(values, "k"))

    return changed(change)


def elsewhere(location: str, **facts: str):
    """The kernel kept in another file."""

    def change(model) -> None:
        (stored,) = (tensor for tensor in model.graph.initializer if tensor.name == "k")
        stored.raw_data, stored.data_location = b"", TensorProto.EXTERNAL
        for key, value in {"location": location, **facts}.items():
            stored.external_data.add(key=key, value=value)

    return changed(change)


def another_input(model) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))


def circular(model) -> None:
    model.graph.node[0].input[0] = "maps"


def operation(kind: str):
    return changed(lambda model: setattr(model.graph.node[0], "op_type", kind))


def opset(version: int):
    return changed(lambda model: setattr(model.opset_import[0], "version", version))


SMALL = json.dumps(Preprocess(size=(8, 8)).to_dict())

ONNX = {
    "missing": (Path.unlink, r"cannot be read \(No such file or directory\)$"),
    "empty": (written(b""), r"is no ONNX file, or a truncated or damaged one \(empty\); copy or export it again$"),
    "cut": (cut, "is no ONNX file, or a truncated or damaged one"),
    "text": (written(b"hello"), "is no ONNX file, or a truncated or damaged one"),
    "a pointer": (written(b"version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer, not a model"),
    "an operation that nobody knows": (operation("Frobnicate"), r"is not run by ONNX Runtime \(No Op registered"),
    "an opset to come": (opset(999), "is not run by ONNX Runtime .* for this release of onnxruntime$"),
    "a tensor computed from itself": (changed(circular), r"is no valid ONNX model \(a tensor is computed from itself"),
    "NaN": (kernel(np.nan), "has NaN in 'k'; its training diverged, or the file is damaged$"),
    "infinity": (kernel(np.inf), "gives logits that are not finite on noise; check its weights$"),
    "two inputs": (changed(another_input), r"has 2 inputs \('x', 'mask'\); expected one, of normalised images"),
    "no output": (changed(lambda model: model.graph.ClearField("output")), "has no output; export it again$"),
    "integers": (fed(["n", 3, 8, 8], TensorProto.UINT8), r"takes uint8 \(\?, 3, 8, 8\); expected normalised images"),
    "rank 2": (fed(["n", 192]), r"takes \(\?, 192\); expected images \(N, 3, H, W\) or \(N, H, W, 3\)$"),
    "another channel": (fed(["n", 1, 8, 8]), r"does not run on \(2, 1, 8, 8\) "),
    "too many channels": (fed(["n", 99, 99, 99]), r"takes \(\?, 99, 99, 99\); expected images"),
    "a huge size": (fed(["n", 3, 10**6, 10**6]), "which no batch of photographs is; export it for any number of them$"),
    "a huge batch": (fed([10**9, 3, 8, 8]), "which no batch of photographs is; export it for any number of them$"),
    "weights at an absolute path": (elsewhere("/etc/passwd"), "keeps weights in '/etc/passwd', outside of its folder"),
    "weights above": (elsewhere("../k.bin"), r"keeps weights in '\.\./k\.bin', outside of its folder"),
    "weights behind a link": (elsewhere("link.bin"), r"keeps weights in 'link\.bin', outside of its folder"),
    "weights that are gone": (elsewhere("k.bin"), r"keeps weights in 'k\.bin', which cannot be read \(No such file"),
    "weights of a pipe": (elsewhere("pipe"), r"keeps weights in 'pipe', which cannot be read \(a pipe or a device"),
    "weights of no name": (elsewhere("a\0b"), r"which is no file's name \(embedded null byte\)"),
    "more weights than there are": (elsewhere("net.xml", length="999999999"), "cannot be read .*999,999,999 bytes"),
    "weights before a file": (elsewhere("net.xml", offset="-8", length="648"), "cannot be read .*648 bytes from -8"),
    "metadata of no JSON": (told(preprocess="{"), "has metadata that is no JSON"),
    "half a convention": (told(preprocess='{"size": [8, 8]}'), "preprocess: resize: missing; add it$"),
    "no convention": (told(), "preprocess: None found; expected size, resize"),
    "names that are a number": (told(preprocess=SMALL, class_names="5"), "its metadata: class_names: 5 found"),
    "too few names": (told(preprocess=SMALL, class_names='["a"]'), "net has 4 logits and 1 class names"),
    "another version": (told(preprocess=SMALL, version="7"), "has version 7; this release reads 1$"),
    "another size": (
        told(preprocess=SMALL.replace("[8, 8]", "[16, 16]")),
        r"^size: 16x16 found, and .* takes 8x8 alone; leave it out, or export the network for that size$",
    ),
}

BOMB = (
    b'<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "/etc/passwd">]>'
)


def replaced(before: bytes, after: bytes):
    def apply(path: Path) -> None:
        content = path.read_bytes()
        assert before in content
        path.write_bytes(content.replace(before, after, 1))

    return apply


def not_a_number(path: Path) -> None:
    weights = path.with_suffix(".bin")
    weights.write_bytes(b"\xff" * 4 + weights.read_bytes()[4:])


def without_weights(path: Path) -> None:
    path.with_suffix(".bin").unlink()


OPENVINO = {
    "missing": (Path.unlink, r"cannot be read \(No such file or directory\)$"),
    "no weights": (without_weights, r"has no 'net\.bin' beside it, which holds its weights; put it there$"),
    "weights cut": (lambda path: cut(path.with_suffix(".bin")), r"\(Incorrect weights in bin file!\)"),
    "empty": (written(b""), r"is no OpenVINO model, or a truncated or damaged one \(it has no <net>\)"),
    "cut": (cut, "is no OpenVINO model, or a truncated or damaged one"),
    "a web page": (written(b"<html><body>sorry</body></html>"), r"\(it has no <net>\)"),
    "an operation that nobody knows": (replaced(b'type="ReLU"', b'type="Frob"'), "operation with type: Frob"),
    "entities": (replaced(b'<?xml version="1.0"?>', BOMB), None),
    "an entity as a size": (replaced(b'shape="?,3,8,8"', b'shape="&b;"'), 'Cannot parse dimension: "&b;"'),
    "a constant beyond the file": (replaced(b'offset="0"', b'offset="99999999"'), "Incorrect weights in bin file"),
    "a huge constant": (replaced(b'shape="6, 3, 3, 3"', b'shape="60000, 30000, 3, 3"'), "damaged one"),
    "NaN": (not_a_number, "has NaN in"),
}


def prepared(folder: Path) -> None:
    (folder.parent / "outside.bin").write_bytes(ALL["k"].tobytes())
    (folder / "link.bin").symlink_to(folder.parent / "outside.bin")
    os.mkfifo(folder / "pipe")


@pytest.mark.parametrize("what", ONNX)
def test_onnx(what, folder):
    damage, expected = ONNX[what]
    prepared(folder)
    damage(folder / "net.onnx")
    with pytest.raises(XkdError, match=expected) as raised:
        load_classifier(folder / "net.onnx")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600


@pytest.mark.parametrize("what", OPENVINO)
def test_openvino(what, folder):
    damage, expected = OPENVINO[what]
    damage(folder / "net.xml")
    if expected is None:  # what nobody refers to is not looked at
        assert load_classifier(folder / "net.xml").num_classes == 4
        return
    with pytest.raises(XkdError, match=expected) as raised:
        load_classifier(folder / "net.xml")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600


def test_weights_in_a_file_beside_it_are_read_and_are_part_of_the_digest(folder):
    plain = load_classifier(folder / "net.onnx")
    (folder / "k.bin").write_bytes(ALL["k"].tobytes())
    elsewhere("k.bin")(folder / "net.onnx")
    beside = load_classifier(folder / "net.onnx")
    assert (beside.head.proof_error, beside.n_parameters) == (plain.head.proof_error, plain.n_parameters)
    (folder / "k.bin").write_bytes(numbers(6, 3, 3, 3, seed=9).tobytes())
    assert load_classifier(folder / "net.onnx").digest() != beside.digest()


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_damage_at_random_places_is_one_line_or_another_network(suffix, folder):
    """In this process, which goes on."""
    path = folder / f"net{suffix}"
    content = path.read_bytes()
    drawn = random.Random(0)
    for trial in range(60):
        broken = bytearray(content[: drawn.randrange(len(content))] if trial < 15 else content)
        for _ in range(0 if trial < 15 else drawn.choice((1, 1, 3))):
            broken[drawn.randrange(len(broken))] ^= drawn.randrange(1, 256)
        path.write_bytes(bytes(broken))
        try:
            load_classifier(path)
        except XkdError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_the_command_line_says_it_in_one_line(suffix, folder, monkeypatch, capsys):
    from xkd_eval.cli import main

    cut(folder / f"net{suffix}")
    monkeypatch.setattr(sys, "argv", ["xkd-eval", "inspect", str(folder / f"net{suffix}")])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("error: model: ") and err.count("\n") == 1
