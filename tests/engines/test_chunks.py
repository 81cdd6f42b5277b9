"""Images a forward: by the network and the size of its input, and by an accelerator's free memory."""

import pytest
import timm
import torch
from torch import nn

from xkd_eval import load_classifier
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.engines import chunks
from xkd_eval.engines.chunks import chunk_size, clean_chunk, within_memory
from xkd_eval.engines.network import Network

CPU = torch.device("cpu")


def chunk_of(classifier: Classifier, side: int = 1) -> int:
    return chunk_size(classifier, classifier.preprocess, CPU, side)


class _Wide(nn.Module):
    """Its largest output has 4 x `channels` bytes a pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, channels, 1), nn.Linear(channels, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(images).mean((2, 3)))


@pytest.mark.parametrize(
    ("size", "channels", "expected"),
    [
        (32, 16, 64),  # 64 KiB: 256 would fit, and 64 are the most
        (64, 32, 32),  # 512 KiB: 32 fit
        (64, 33, 16),  # 31 fit: a power of two
        (64, 64, 16),
        (224, 64, 8),  # 12 MiB: one fits, and 8 are the least
        (40, 2, 64),  # the input itself is the largest
    ],
)
def test_as_many_as_fit_by_the_largest_activation(size, channels, expected):
    assert chunk_of(load_classifier(_Wide(channels), size=size)) == expected


def test_published_networks():
    resnet = timm.create_model("resnet18")
    found = {size: chunk_of(load_classifier(resnet, size=size)) for size in (64, 224, 384)}
    assert found == {64: 64, 224: 8, 384: 8}
    assert chunk_of(load_classifier("embedded/kd")) == 64


def test_grids_hold_as_many_photographs_at_least():
    classifier = load_classifier(_Wide(64), size=224)
    assert [chunk_of(classifier, side) for side in (1, 2, 3)] == [8, 2, 1]
    assert [clean_chunk(CPU, side) for side in (1, 2, 3)] == [8, 2, 1]
    # In the bytes of 64 x 64 grids 32 fit, whatever they are of.
    assert chunk_of(load_classifier(_Wide(32), size=64), side=2) == 32


@pytest.mark.parametrize(
    ("size", "channels", "side", "expected"),
    [
        (32, 16, 1, 256),  # 64 KiB: 16,384 would fit, and 256 are the most
        (64, 256, 1, 256),  # 4 MiB: 256 fit
        (64, 257, 1, 128),
        (224, 64, 1, 64),  # 12 MiB: 83 fit
        (224, 128, 1, 64),  # 24 MiB: 41 fit, and 64 are the least
        (224, 128, 2, 32),  # 16 grids are the least
    ],
)
def test_an_accelerator_takes_more(size, channels, side, expected):
    classifier = load_classifier(_Wide(channels), size=size)
    assert chunk_size(classifier, classifier.preprocess, torch.device("cuda"), side) == expected


@pytest.mark.parametrize(("free", "expected"), [(60 * 2**18, 10), (60 * 2**18 - 1, 5), (30 * 2**18 - 1, 2), (1, 1)])
def test_it_is_halved_until_it_fits_into_the_free_memory(free, expected, monkeypatch):
    """What a forward takes is six times its largest activation, 256 KiB an image here."""
    classifier = load_classifier(_Wide(16), size=64)
    monkeypatch.setattr(chunks, "free_memory", lambda device: free)
    assert within_memory(10, classifier, classifier.preprocess, torch.device("cuda")) == expected
    assert within_memory(10, classifier, classifier.preprocess, CPU) == 10


def test_it_is_found_once_and_leaves_the_network_alone(monkeypatch):
    classifier = load_classifier(_Wide(32), size=64)
    before = classifier.digest()
    assert chunk_of(classifier) == 32
    assert classifier.digest() == before and not any(module._forward_hooks for module in classifier.modules())
    monkeypatch.setattr(chunks, "_measured", lambda *given: pytest.fail("the network was run again"))
    assert chunk_of(classifier) == 32


@pytest.mark.parametrize(("size", "expected"), [(32, 64), (128, 16), (224, 8)])
def test_of_a_network_that_cannot_be_looked_into_16_channels_are_assumed(size, expected):
    traced = torch.jit.trace(_Wide(2).eval(), torch.rand(2, 3, size, size))
    classifier = Classifier(traced, Preprocess(size=(size, size)), name="traced", num_classes=4)
    assert chunk_of(classifier) == expected


def test_only_images_that_a_test_makes_go_by_it():
    """A batch of photographs has few, and a chunk that they do not fill would be padded."""
    classifier = load_classifier("embedded/kd")
    seen: list[int] = []
    network = Network(classifier, classifier.preprocess, CPU)
    for module in (network._exact.model, network.classifier.model):
        module.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    images = torch.rand(3, 3, 40, 40)
    network.clean(images, ["a", "b", "c"])
    assert seen == [8]
    network.classify(images)
    assert seen == [8, 64]
