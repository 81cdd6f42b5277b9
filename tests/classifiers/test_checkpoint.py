"""Checkpoints come back as they were written, and nothing half-written is ever found under their name."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from xkd_eval.classifiers.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError


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
    with pytest.raises(XkdError, match="cannot be written \(No space left on device\); make room"):
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
