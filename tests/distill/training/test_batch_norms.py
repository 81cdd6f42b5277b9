"""Batch norms over processes: the same names and weights, and refused where torch cannot."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from distill.training.batch_norms import synchronise_batch_norms
from distill.training.train import train
from tests.distill.conftest import assert_same_bits, weights_of
from xkd_eval.classifiers.architectures import build
from xkd_eval.errors import XkdError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    "make", [lambda: build("resnet8", 10), lambda: timm.create_model("efficientnet_b0", num_classes=10)]
)
def test_names_weights_and_answers_stay(make):
    network = make().eval()
    before, images = {name: value.clone() for name, value in network.state_dict().items()}, torch.rand(2, 3, 32, 32)
    logits = network(images)
    synchronise_batch_norms(network, GPU, processes=2)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert_same_bits(before, network.state_dict())
    assert torch.equal(network(images), logits)


class OwnNorm(nn.BatchNorm2d):
    """Another forward might be here."""


@pytest.mark.parametrize(
    ("network", "device", "processes", "message"),
    [
        (nn.Linear(2, 2), GPU, 2, "^sync_batch_norm: the student has no batch norm; leave it out$"),
        (nn.Sequential(OwnNorm(2)), GPU, 2, "^sync_batch_norm: the student's OwnNorm is a batch norm of its own"),
        (nn.Sequential(nn.BatchNorm2d(2)), CPU, 2, r"^sync_batch_norm: 2 processes on 'cpu' found; torch synchronises"),
    ],
)
def test_what_cannot_be_synchronised_is_refused(network, device, processes, message):
    with pytest.raises(XkdError, match=message):
        synchronise_batch_norms(network, device, processes)


def test_one_process_trains_as_without(recipe_of, tmp_path):
    small = {"architecture": "resnet8", "arguments": {"widths": [2, 2, 4, 4]}, "preprocess": {"size": [16, 16]}}
    for name in (False, True):
        train(recipe_of(student=small, sync_batch_norm=name, epochs=1), tmp_path / str(name), device="cpu")
    assert_same_bits(weights_of(tmp_path / "True"), weights_of(tmp_path / "False"))
