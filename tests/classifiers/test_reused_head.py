"""A network that ends in a projector and another one's head: made by name, copied, and misnamed."""

from __future__ import annotations

import copy

import pytest
import torch

from xkd_eval.classifiers.architectures import build
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.head import find_cam_head
from xkd_eval.errors import XkdError

RESNET = {"backbone": "resnet8", "arguments": {"num_classes": 5, "widths": [4, 4, 4, 8]}}
REST = {"features": "layer3", "inputs": 8, "channels": 12, "hidden": 6, "linear": "linear"}


def test_its_parameters_are_those_of_its_parts():
    network = build("reused_head", 5, **RESNET, **REST)
    backbone = sum(value.numel() for value in build("resnet8", **RESNET["arguments"]).parameters()) - (8 * 5 + 5)
    projector = (8 * 6 + 2 * 6) + (9 * 6 * 6 + 2 * 6) + (6 * 12 + 2 * 12)
    assert sum(value.numel() for value in network.parameters()) == backbone + projector + 12 * 5 + 5
    assert network.stages == ("backbone.layer1", "backbone.layer2", "backbone.layer3")


def test_its_map_is_proven_at_the_size_that_it_is_averaged_to():
    network = build("reused_head", 5, **RESNET, **REST, size=[4, 4])
    head = find_cam_head(network, Preprocess(size=(32, 32)))
    assert (head.features, head.linear, head.map_size) == ("projector", "linear", (4, 4))


def test_a_copy_reads_its_own_map():
    """Hooks are copied with what they call."""
    network = build("reused_head", 5, **RESNET, **REST).eval()
    images = torch.randn(2, 3, 32, 32)
    before = network(images)
    other = copy.deepcopy(network)
    with torch.no_grad():
        for value in other.backbone.parameters():
            value.zero_()
    assert not torch.equal(other(images), before)
    assert torch.equal(network(images), before)


def test_tokens_are_read_as_places():
    arguments = {"num_classes": 5, "img_size": 32, "patch_size": 8, "depth": 1, "embed_dim": 12, "num_heads": 2}
    rest = {**REST, "features": "blocks", "inputs": 12, "linear": "head", "layout": "tokens", "prefix": 1}
    network = build("reused_head", 5, backbone="timm/vit_tiny_patch16_224", arguments=arguments, **rest).eval()
    images, seen = torch.randn(2, 3, 32, 32), []
    network.projector.register_forward_hook(lambda *call: seen.append((call[1][0], call[2])))
    logits = network(images)
    ((maps, projected),) = seen
    assert maps.shape == (2, 12, 4, 4)
    torch.testing.assert_close(logits, network.linear(projected.mean((2, 3))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": "layer9"}, r"^architecture: reused_head: ResNet has no module 'layer9'$"),
        ({"linear": "fc"}, r"^architecture: reused_head: ResNet has no module 'fc'$"),
        ({"backbone": "resnet9"}, r"unknown 'resnet9'"),
        ({"colour": 1}, r"^architecture: 'reused_head' fails"),
    ],
    ids=["features", "head", "backbone", "argument"],
)
def test_what_is_not_there_is_named(changes, message):
    with pytest.raises(XkdError, match=message):
        build("reused_head", 5, **{**RESNET, **REST, **changes})
