"""What only a card can tell. These wait for an NVIDIA GPU; `pytest -m gpu -n 0` runs them and the captured step's.

What a pretended accelerator can tell is in test_accelerator.py.
"""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
from torch import nn

import distill
from tests.engines.test_chunks import _Wide
from xkd_eval import evaluate, load_classifier, perturbation_test
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.devices import free_memory
from xkd_eval.engines.bfloat16 import bf16_is_native
from xkd_eval.engines.chunks import chunk_size
from xkd_eval.engines.network import Network
from xkd_eval.evaluations import TESTS
from xkd_eval.evaluations.ranks import removal_order
from xkd_eval.evaluations.removal import _masked
from xkd_eval.explainers import EXPLAINERS, Context
from xkd_eval.testing.networks import small_classifier

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    return load_classifier(timm.create_model("resnet18", num_classes=10), size=64)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(100, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network_of(classifier: Classifier, precision: str = "fp32") -> Network:
    return Network(classifier, classifier.preprocess, CUDA, precision)


def error_of(logits: torch.Tensor, classifier: Classifier, images: torch.Tensor) -> float:
    """The largest, of the largest logit in float64."""
    exact = classifier.model.double()(images.double())
    classifier.model.float()
    return float((logits.cpu().double() - exact).abs().max() / exact.abs().max())


def test_precisions_are_what_they_are_called(classifier, images):
    found = {
        precision: error_of(network_of(classifier, precision).classify(images.to(CUDA)), classifier, images)
        for precision in ("fp32", "tf32", "bf16")
    }
    assert found["fp32"] < 2e-5 < found["tf32"] < 5e-3, found
    assert found["tf32"] < found["bf16"] < 0.05, found
    assert bf16_is_native(CUDA)


def test_the_clean_pass_and_the_maps_are_float32_whatever_a_caller_has_set(classifier, images):
    torch.set_float32_matmul_precision("medium")
    try:
        logits, features = network_of(classifier, "bf16").clean(images.to(CUDA), [str(n) for n in range(100)])
        assert torch.backends.cudnn.conv.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert error_of(logits, classifier, images) < 2e-5
    _, expected = classifier.forward_with_features(images)
    torch.testing.assert_close(features.cpu(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_row_depends_on_its_image_alone(precision):
    def rows(**options: int) -> pa.Table:
        given = {"limit": 90, "device": "cuda", "precision": precision, "output": None}
        return perturbation_test("embedded/kd", "embedded", **given, **options).rows

    expected = rows()
    assert rows(batch_size=7).equals(expected)
    assert rows(workers=2, batch_size=64).equals(expected)


def test_a_run_says_its_precision(tmp_path):
    result = perturbation_test("embedded/kd", "embedded", limit=8, device="cuda", precision="tf32", output=tmp_path)
    assert result.description["precision"] == "tf32"


@pytest.mark.parametrize("name", TESTS.names())
def test_tests_come_to_what_they_come_to_on_a_cpu(name):
    """But for single images that lie so close to a border that the last bits decide."""
    models = ["embedded/teacher", "embedded/kd"] if TESTS[name].needs_reference else ["embedded/kd"]
    tests = ["grid_pointing:confidence=0,grids=100" if name == "grid_pointing" else name]
    here, there = (
        evaluate(models, "embedded", tests=tests, limit=200, device=device).results[-1] for device in ("cpu", "cuda")
    )
    assert there.rows.column_names == here.rows.column_names
    for spec in here.test.specs():
        ours, theirs = (_values(spec.of(found.summary)) for found in (there, here))
        np.testing.assert_allclose(ours, theirs, rtol=0.05, atol=0.02, err_msg=spec.name)


def _values(found) -> np.ndarray:
    """Of a score, a curve's points, or what has none."""
    points = found if isinstance(found, list) else [] if found is None else [found]
    return np.array([point["value"] for point in points], float)


@pytest.mark.parametrize("name", [name for name in EXPLAINERS.names() if name not in ("random",)])
def test_explainers_come_to_what_they_come_to_on_a_cpu(name):
    if name in ("attention_rollout", "transformer_attribution"):
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=32, depth=2)
        classifier = load_classifier(model, size=32)
    else:
        classifier = small_classifier()
    images, classes = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 2])
    ids, masks = ("a", "b", "c"), torch.ones(3, 32, 32, dtype=torch.int8)
    expected = EXPLAINERS[name]()(classifier, images, classes, Context(ids=ids, masks=masks))
    there = Network(classifier, classifier.preprocess, CUDA).classifier
    found = EXPLAINERS[name]()(there, images.to(CUDA), classes.to(CUDA), Context(ids=ids, masks=masks.to(CUDA)))
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()))


def test_masked_images_are_made_without_waiting_for_the_card(classifier, images):
    network, given = network_of(classifier), images.to(CUDA)
    ranks, _ = removal_order((64, 64), 0, CUDA).descending(torch.rand(100, 64, 64, device=CUDA))
    passes = _masked(given, given.new_zeros(1, 3, 1, 1), ranks, [400 * step for step in range(1, 10)], network)
    next(passes)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert len(list(passes)) == -(-900 // network.chunk) - 1
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_fewer_images_a_forward_where_little_memory_is_free(caplog):
    classifier = load_classifier(_Wide(64), size=224)
    planned = chunk_size(classifier, classifier.preprocess, CUDA)
    taken = torch.empty(free_memory(CUDA) - 2**31, dtype=torch.uint8, device=CUDA)
    try:
        with caplog.at_level(logging.WARNING):
            network = network_of(classifier)
            network.classify(torch.rand(planned, 3, 224, 224, device=CUDA))
    finally:
        del taken
        torch.cuda.empty_cache()
    assert network.chunk < planned and network.chunks is not None
    assert "of memory free" in caplog.text and "out of memory" not in caplog.text


def test_out_of_memory_is_met_by_fewer_images(caplog):
    classifier = load_classifier(_Wide(64), size=224)
    network = network_of(classifier)
    images = torch.rand(network.chunk, 3, 224, 224, device=CUDA)
    expected = network.classify(images)
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info(CUDA)[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(CUDA) + 2**29) / total)
    try:
        found = network.classify(images)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory with" in caplog.text and network.chunks is not None
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_a_training_in_every_precision(precision, tmp_path, monkeypatch):
    said: set[str] = set()
    forward = nn.Conv2d.forward

    def noted(module: nn.Conv2d, given: torch.Tensor) -> torch.Tensor:
        if module.training:
            said.add(torch.backends.cudnn.conv.fp32_precision)
        return forward(module, given)

    monkeypatch.setattr(nn.Conv2d, "forward", noted)
    changes = ["data.images=256", "epochs=2", "teacher.model=embedded/teacher", f"precision={precision}"]
    result = distill.train("quickstart/exp_kd", tmp_path / "run", overrides=changes, device="auto")
    assert said == {"tf32" if precision == "tf32" else "ieee"}
    assert np.isfinite(result.metrics["total"]).all()
