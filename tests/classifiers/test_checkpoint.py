"""Checkpoints come back as they were written, and nothing half-written is ever found under their name."""

import os
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from xkd_eval.classifiers.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.files import replacing


@pytest.fixture
def checkpoint() -> Checkpoint:
    return Checkpoint(
        architecture="resnet8",
        arguments={"num_classes": 3},
        state_dict={"fc.weight": torch.arange(6.0).reshape(3, 2), "fc.bias": torch.zeros(3)},
        preprocess=Preprocess(size=(64, 32), mean=(0.1, 0.2, 0.3), value_range=255.0, channel_order="BGR"),
        class_names=("a", "b", "c"),
        wordnet_ids=("n00000001", "n00000002", "n00000003"),
        recipe={"method": "exp_kd", "steps": [1, 2], "nested": {"weight": 0.5}},
        metrics={"top1": 0.875},
        versions={"torch": "2.11"},
    )


def test_a_checkpoint_comes_back_as_it_was_written(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "new" / "student.pt")
    back = read_checkpoint(tmp_path / "new" / "student.pt")
    assert replace(back, state_dict={}) == replace(checkpoint, state_dict={})
    assert all(torch.equal(back.state_dict[name], tensor) for name, tensor in checkpoint.state_dict.items())
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["student.pt"]


def test_what_is_known_of_the_training_is_kept_and_may_be_missing(checkpoint, tmp_path):
    told = {"train_images": 8000, "teachers": {"teacher": {"test_top1": 0.9}}}
    save_checkpoint(replace(checkpoint, training=told), tmp_path / "told.pt")
    save_checkpoint(checkpoint, tmp_path / "untold.pt")  # as a file of before it was kept
    assert read_checkpoint(tmp_path / "told.pt").training == told
    assert "training" not in torch.load(tmp_path / "untold.pt", weights_only=True)
    assert read_checkpoint(tmp_path / "untold.pt").training == {}


def test_the_file_is_plain_enough_for_torch_itself(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "student.pt")
    content = torch.load(tmp_path / "student.pt", weights_only=True)
    assert (content["format"], content["version"]) == ("xkd-checkpoint", 1)


def test_a_view_does_not_drag_its_storage_along(checkpoint, tmp_path):
    save_checkpoint(replace(checkpoint, state_dict={"w": torch.zeros(1_000_000)[:2]}), tmp_path / "student.pt")
    assert (tmp_path / "student.pt").stat().st_size < 10_000


@pytest.mark.parametrize("foreign", [np.float64(0.5), torch.zeros(1), object()])
def test_other_than_plain_values_are_refused_and_the_old_file_stays(checkpoint, tmp_path, foreign):
    path = tmp_path / "student.pt"
    save_checkpoint(checkpoint, path)
    before = path.read_bytes()
    with pytest.raises(XkdError, match=r"checkpoint\['metrics'\]\['top1'\] is a"):
        save_checkpoint(replace(checkpoint, metrics={"top1": foreign}), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(checkpoint, tmp_path, monkeypatch):
    path = tmp_path / "student.pt"
    save_checkpoint(checkpoint, path)
    before = path.read_bytes()

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(XkdError, match=r"cannot be written \(No space left on device\); make room"):
        save_checkpoint(replace(checkpoint, metrics={"top1": 0.1}), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_another_kind_or_a_newer_version_is_refused(checkpoint, tmp_path):
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(XkdError, match="is not a checkpoint"):
        read_checkpoint(tmp_path / "weights.pt")
    torch.save({"format": "xkd-checkpoint", "version": 2}, tmp_path / "newer.pt")
    with pytest.raises(XkdError, match="checkpoint version 2; this release reads 1"):
        read_checkpoint(tmp_path / "newer.pt")
    torch.save({"format": "xkd-checkpoint", "version": 1}, tmp_path / "half.pt")
    with pytest.raises(XkdError, match=r"no whole checkpoint: architecture: missing"):
        read_checkpoint(tmp_path / "half.pt")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"architecture": None}, "architecture: None found; input should be a valid string"),
        ({"architecture": b"resnet8"}, "architecture: b'resnet8' found"),
        ({"arguments": {1: 2}}, "arguments.1.[key]: 1 found"),
        ({"arguments": {"num_classes": True}}, "arguments: num_classes is True; expected a whole number from 1"),
        ({"arguments": {"num_classes": "3"}}, "arguments: num_classes is '3'"),
        ({"class_names": "abc"}, "class_names: 'abc' found"),
        ({"class_names": {"a", "b", "c"}}, "class_names: {'a', 'b', 'c'} found"),
        ({"class_names": ["a", "b", 3]}, "class_names.2: 3 found"),
        ({"class_names": ["a", "b"]}, "class_names: 2 found, and `num_classes` is 3"),
        ({"wordnet_ids": ["n1"]}, "wordnet_ids: 1 found, and `num_classes` is 3"),
        ({"recipe": [1]}, "recipe: [1] found; input should be a valid dictionary"),
        ({"metrics": {"top1": np.float64(0.5)}}, "it['metrics']['top1'] is a float64"),
        ({"versions": {"torch": 2}}, "versions.torch: 2 found"),
        ({"versions": None}, "versions: None found"),
        ({"state_dict": {"w": [1.0]}}, "state_dict.w: [1.0] found; input should be an instance of Tensor"),
        ({"state_dict": {3: torch.zeros(1)}}, "state_dict.3.[key]: 3 found"),
        ({"state_dict": {"w": torch.zeros(1).expand(10**6, 10**6)}}, "of which fewer numbers are stored in 'w'"),
        ({"preprocess": None}, "preprocess: None found; expected size, resize"),
        ({"preprocess": {"size": [32, 32]}}, "preprocess: resize: missing; add it"),
        ({"preprocess.std": [0, 1, 1]}, "preprocess: std: [0, 1, 1] found; expected numbers above 0"),
        ({"preprocess.sise": 3}, "preprocess: 'sise': nothing reads it; nearest: size"),
        ({"reciep": {}}, "reciep: nothing reads it; nearest: recipe"),
        ({1: 2}, "1: 1 found; keys should be strings"),
    ],
)
def test_parts_of_another_type_are_one_line(checkpoint, tmp_path, changed, reason):
    path = tmp_path / "student.pt"
    save_checkpoint(checkpoint, path)
    content = torch.load(path, weights_only=True)
    for name, value in changed.items():
        if str(name).startswith("preprocess."):
            content["preprocess"][name.partition(".")[2]] = value
        else:
            content[name] = value
    torch.save(content, path)
    with pytest.raises(XkdError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"model: {str(path)!r} ") and reason in message and "\n" not in message


def test_what_is_nested_without_end_is_one_line(checkpoint, tmp_path):
    endless: dict = {}
    endless["a"] = endless
    save_checkpoint(checkpoint, tmp_path / "student.pt")
    torch.save(torch.load(tmp_path / "student.pt") | {"metrics": endless}, tmp_path / "student.pt")
    with pytest.raises(XkdError, match="nested too deeply") as caught:
        read_checkpoint(tmp_path / "student.pt")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("version", [None, 2, 1.0, "1", True, torch.ones(1), np.ones(2)])
def test_a_version_is_a_whole_number(checkpoint, tmp_path, version):
    save_checkpoint(checkpoint, tmp_path / "student.pt")
    torch.save(torch.load(tmp_path / "student.pt") | {"version": version}, tmp_path / "student.pt")
    with pytest.raises(XkdError, match=r"has checkpoint version .*; this release reads 1"):
        read_checkpoint(tmp_path / "student.pt")


@pytest.mark.parametrize(
    ("name", "advice"),
    [("a" * 300 + ".pt", "choose a shorter name"), ("file/s.pt", "a part of that path is a file"), ("a\0.pt", "name")],
)
def test_places_where_no_checkpoint_can_be(checkpoint, tmp_path, name, advice):
    (tmp_path / "file").touch()
    with pytest.raises(XkdError, match=rf"^checkpoint: .* cannot be written \(.*\); .*{advice}"):
        save_checkpoint(checkpoint, tmp_path / name)


@pytest.mark.parametrize("number", [28, 122, 30])
def test_a_disk_that_takes_half_of_it(checkpoint, tmp_path, monkeypatch, number):
    """torch says "unexpected pos" where it writes to a full disk itself."""

    class Full:
        def __init__(self, file):
            self.file, self.name = file, file.name

        def write(self, content):
            self.file.write(bytes(content)[:100])
            raise OSError(number, os.strerror(number))

    @contextmanager
    def full(path, durable):
        with replacing(path, durable=durable) as file:
            yield Full(file)

    monkeypatch.setattr("xkd_eval.classifiers.checkpoint.replacing", full)
    expected = "make room" if number in (28, 122) else "choose a directory on a disk that can be written"
    with pytest.raises(XkdError, match=rf"cannot be written \({os.strerror(number)}\); {expected}"):
        save_checkpoint(checkpoint, tmp_path / "student.pt")
    assert not list(tmp_path.iterdir())
