"""Everything that evaluates runs on an accelerator, mixes no devices there, and comes to what the CPU comes to.

The accelerator is pretended (tests/pretended.py), so that this holds where there is none. What a card alone can tell is
left to tests that wait for one.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import timm
import torch

from xkd_eval import RunOptions, evaluate, load_classifier
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.devices import process_state, resolve_device
from xkd_eval.engines.network import Network
from xkd_eval.evaluations import TESTS
from xkd_eval.evaluations.ranks import removal_order
from xkd_eval.evaluations.removal import _masked
from xkd_eval.explainers.base import EXPLAINERS, Context
from xkd_eval.testing.networks import small_classifier

pretended = pytest.importorskip("tests.pretended", reason="this torch has no backends in Python", exc_type=ImportError)

OF_TOKENS = ("attention_rollout", "transformer_attribution")


@pytest.fixture(autouse=True)
def device():
    with pretended.accelerator() as device:
        yield device


def test_it_is_there_only_where_it_is_used(device):
    assert torch.accelerator.is_available()
    pretended._used = False
    assert not torch.accelerator.is_available() and torch.accelerator.device_count() == 0


def test_waits_are_told(device):
    values = torch.arange(3.0, device=device)
    with pretended.unawaited():
        assert (2 * values[1:]).sum().device == device
        values.copy_(torch.ones(3), non_blocking=True)
        for waits in (
            lambda: values.sum().item(),
            lambda: values.tolist(),
            lambda: values.cpu(),
            lambda: values[values > 1],
            lambda: values[torch.tensor([0, 1])],
            lambda: torch.tensor([1.0, 2.0], device=device),
        ):
            with pytest.raises(RuntimeError, match="is waited for"):
                waits()


def test_a_call_has_the_device_that_it_asks_for(device):
    for asked, expected in (("auto", device), ("cpu", torch.device("cpu")), ("auto", device), ("pretended", device)):
        assert process_state(asked).device.type == expected.type
        assert resolve_device(asked) == expected


def elsewhere(classifier: Classifier) -> Classifier:
    model = pretended.moved(copy.deepcopy(classifier.model))
    return Classifier(
        model,
        classifier.preprocess,
        name="there",
        num_classes=classifier.num_classes,
        head=classifier.head,
        head_refusal=classifier.head_refusal,
    )


def test_devices_that_are_mixed_are_refused(device):
    there, here = torch.ones(2, 3, device=device), torch.ones(2, 3)
    assert there.device == device and (2 * there).device == device
    assert torch.equal((there + here.to(device)).cpu(), 2 * here)
    for mixed in (
        lambda: there + here,
        lambda: here[there[0].long()],
        lambda: there.index_select(0, torch.tensor([1])),
        lambda: torch.stack([there.sum(), here.sum()]),
    ):
        with pytest.raises(RuntimeError, match="are mixed"):
            mixed()
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    weight = torch.ones(3, device=device, requires_grad=True)
    (weight * there).sum().backward()
    assert weight.grad.device == device and weight.grad.tolist() == [2.0, 2.0, 2.0]


def tokens() -> Classifier:
    torch.manual_seed(0)
    return load_classifier(timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=32, depth=2), size=32)


@pytest.mark.parametrize(
    ("free", "expected"), [(2**34, 256), (6 * 64 * 12_288, 64), (6 * 64 * 12_288 - 1, 32), (0, 256)]
)
def test_images_a_forward_by_the_free_memory(free, expected, device, monkeypatch, caplog):
    """256 by the network, whose largest activation is its input, of 12 KiB; a device that does not say has 0."""
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (free, 2**34), raising=False)
    classifier = small_classifier()
    network = Network(elsewhere(classifier), classifier.preprocess, device)
    assert network.chunk == expected and network.plan.chunk == 256
    assert network.chunks == (None if expected == 256 else {"chunk": expected, "clean_chunk": min(64, expected)})
    assert ("of memory free" in caplog.text) == (expected < 256)


def test_masked_images_are_made_without_waiting_for_the_device(device):
    classifier = small_classifier()
    network, images = Network(elsewhere(classifier), classifier.preprocess, device), torch.rand(40, 3, 32, 32)
    ranks, _ = removal_order((32, 32), 0, device).descending(torch.rand(40, 32, 32).to(device))
    black = torch.zeros(1, 3, 1, 1).to(device)
    passes = _masked(images.to(device), black, ranks, [100 * step for step in range(1, 10)], network)
    next(passes)
    with pretended.unawaited():
        assert len(list(passes)) == 1, "360 images in forwards of 256"


def test_an_accelerator_is_given_more_photographs_at_a_time(device):
    assert [RunOptions().batch_size_on(torch.device(kind)) for kind in ("cpu", "cuda")] == [32, 256]
    assert RunOptions(batch_size=7).batch_size_on(device) == 7


@pytest.mark.parametrize("name", EXPLAINERS.names())
def test_explainers(name, device):
    classifier = tokens() if name in OF_TOKENS else small_classifier()
    images, classes, masks = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 2]), torch.ones(3, 32, 32, dtype=torch.int8)
    ids = ("a", "b", "c")
    expected = EXPLAINERS[name]()(classifier, images, classes, Context(ids=ids, masks=masks))
    found = EXPLAINERS[name]()(
        elsewhere(classifier), images.to(device), classes.to(device), Context(ids=ids, masks=masks.to(device))
    )
    assert found.device == device
    torch.testing.assert_close(found.cpu(), expected)


@pytest.mark.parametrize("name", TESTS.names())
def test_tests(name, device):
    models = ["embedded/teacher", "embedded/kd"] if TESTS[name].needs_reference else ["embedded/kd"]
    # A grid takes photographs that are classified with certainty.
    options = {"tests": [f"{name}:confidence=0,grids=2" if name == "grid_pointing" else name]}
    options["limit"] = 40 if name == "grid_pointing" else 6
    before = pretended.operations
    here = evaluate(models, "embedded", **options, device="cpu").results
    assert pretended.operations == before
    there = evaluate(models, "embedded", **options, device=str(device)).results
    assert pretended.operations > before
    for ours, theirs in zip(there, here, strict=True):
        assert ours.rows.column_names == theirs.rows.column_names
        for column in ours.rows.column_names:
            values, expected = ours.rows[column].to_pylist(), theirs.rows[column].to_pylist()
            if values != expected:
                np.testing.assert_allclose(np.array(values, float), np.array(expected, float), atol=2e-5)
