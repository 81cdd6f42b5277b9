"""Weights that are stored as what they are computed from: the network computes what it did."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from xkd_eval.classifiers.weights.folding import folded
from xkd_eval.classifiers.weights.loading import load_weights
from xkd_eval.errors import XkdError

IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = OrderedDict(conv=nn.Conv2d(3, 4, 3), up=nn.ConvTranspose2d(4, 6, 2))
    return nn.Sequential(layers | {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(6, 2)}).eval()


def pruned(model: nn.Module) -> str:
    prune.random_unstructured(model.conv, "weight", amount=0.25)  # 27 of 108
    prune.random_unstructured(model.fc, "weight", amount=0.5)  # 6 of 12
    prune.random_unstructured(model.fc, "bias", amount=1)  # 1 of 2, so that 34 of 122 are zero
    return "weights: the masks of torch.nn.utils.prune were multiplied into 3 tensors; 27.9 % of their values are zero"


def normalised(model: nn.Module) -> str:
    weight_norm(model.conv)
    weight_norm(model.up, dim=1)
    weight_norm(model.fc, dim=None)
    with torch.no_grad():
        for layer in (model.conv, model.up, model.fc):
            layer.weight_g.mul_(1.5)
    return "weights: 3 tensors of weight_norm were computed from the length and direction that are stored"


def parametrised(model: nn.Module) -> str:
    parametrizations.weight_norm(model.conv)
    parametrizations.weight_norm(model.up, dim=1)
    with torch.no_grad():
        for layer in (model.conv, model.up):
            layer.parametrizations.weight.original0.mul_(1.5)
    return "weights: 2 tensors of weight_norm were computed from the length and direction that are stored"


CHANGES = [pruned, normalised, parametrised]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("prefix", ["", "module.student."])
@pytest.mark.parametrize("change", CHANGES, ids=[change.__name__ for change in CHANGES])
def test_the_plain_network_computes_the_same(tmp_path, change, prefix):
    changed = network()
    note = change(changed)
    torch.save({prefix + name: tensor for name, tensor in changed.state_dict().items()}, tmp_path / "w.pth")
    model = network()
    assert load_weights(model, tmp_path / "w.pth") == (note,)
    torch.testing.assert_close(model(IMAGES), changed(IMAGES), rtol=1e-6, atol=1e-7)
    assert not torch.allclose(model(IMAGES), network()(IMAGES))


def test_a_network_with_masks_of_its_own_keeps_them(tmp_path):
    changed, model = network(), network()
    pruned(changed)
    torch.manual_seed(9)
    pruned(model)
    torch.save(changed.state_dict(), tmp_path / "w.pth")
    assert load_weights(model, tmp_path / "w.pth") == ()
    assert torch.equal(model.conv.weight_mask, changed.conv.weight_mask)
    # The plain weight is computed from both in the next forward.
    assert torch.equal(model(IMAGES), changed(IMAGES))


def test_of_a_teacher_s_masks_nothing_is_said(tmp_path):
    teacher = network()
    pruned(teacher)
    content = {f"student.{name}": tensor for name, tensor in network().state_dict().items()}
    content |= {f"teacher.other.{name}": tensor for name, tensor in teacher.state_dict().items() if "fc" not in name}
    torch.save(content, tmp_path / "w.pth")
    (note,) = load_weights(network(), tmp_path / "w.pth")
    assert "left out" in note


def test_spectral_norm_is_not_computed_here(tmp_path):
    """Its parts end like those of others: weight_orig without a mask, weight_v without a length."""
    changed = network()
    spectral_norm(changed.conv)
    torch.save(changed.state_dict(), tmp_path / "w.pth")
    with pytest.raises(XkdError, match=r"1 missing \(conv.weight\); 3 unexpected \(conv.weight_orig, "):
        load_weights(network(), tmp_path / "w.pth")


@pytest.mark.parametrize(
    "parts",
    [
        {"x_orig": torch.ones(2, 3), "x_mask": torch.ones(3)},
        {"x_g": torch.ones(3, 1), "x_v": torch.ones(2, 3)},
        {"x_g": torch.ones(2, 1, dtype=torch.int64), "x_v": torch.ones(2, 3)},
        {"x_orig": torch.ones(2, 3)},
        {"x": torch.ones(2, 3), "x_orig": torch.ones(2, 3), "x_mask": torch.ones(2, 3)},
    ],
    ids=["mask of another shape", "length of another shape", "whole numbers", "no mask", "the whole too"],
)
def test_what_is_no_such_pair_stays_as_it_is(parts):
    found = folded(parts, lambda name: name == "x")
    assert found.tensors.keys() == parts.keys() and not found.pruned and not found.normalised


def test_weight_norm_by_hand():
    """Rows (3, 4) and (0, 2) of lengths 5 and 2, made 10 and 1 long."""
    parts = {"w_v": torch.tensor([[3.0, 4.0], [0.0, 2.0]]), "w_g": torch.tensor([[10.0], [1.0]])}
    whole = folded(parts, lambda name: name == "w").tensors["w"]
    torch.testing.assert_close(whole, torch.tensor([[6.0, 8.0], [0.0, 1.0]]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_int8_weights_say_what_they_are(tmp_path, kind):
    from torch.ao import quantization

    if kind == "dynamic":
        changed = quantization.quantize_dynamic(network(), {nn.Linear}, dtype=torch.qint8)
    else:
        changed = nn.Sequential(quantization.QuantStub(), nn.Conv2d(3, 4, 3)).eval()
        changed.qconfig = quantization.get_default_qconfig("x86")
        prepared = quantization.prepare(changed)
        prepared(IMAGES)
        changed = quantization.convert(prepared)
    torch.save({"state_dict": changed.state_dict()}, tmp_path / "w.pth")
    with pytest.raises(XkdError, match=r"^weights: '.*w.pth' holds the int8 weights .*py:package.*float weig.*ONNX$"):
        load_weights(network(), tmp_path / "w.pth")
