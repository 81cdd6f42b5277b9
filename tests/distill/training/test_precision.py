"""Half precision and TF32: computed in them, refused where they are not, and clipped after it is scaled back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from distill.training.precision import check_precision
from distill.training.setup import set_up
from distill.training.step import OrdinaryStep
from distill.training.train import train
from xkd_eval.errors import XkdError

SMALL = {
    "student": {"architecture": "resnet8", "arguments": {"widths": [2, 2, 4, 4]}, "preprocess": {"size": [16, 16]}},
    "batch_size": 8,
}


def first_step(recipe, tmp_path):
    """What the classifier's bias moved by at a learning rate of 1, and the type of the logits."""
    setup = set_up(recipe, "cpu", tmp_path)
    setup.wrapped.train()
    types = []
    setup.student.model.register_forward_hook(lambda module, inputs, output: types.append(output.dtype))
    before = setup.student.model.linear.bias.clone()
    step = OrdinaryStep(setup)
    step(step.input(0, 0), 1.0, [1.0])
    return before - setup.student.model.linear.bias, types[-1]


@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_a_step_in_fp16_is_about_one_in_fp32(recipe_of, tmp_path, clip_norm):
    moved = {}
    for precision in ("fp32", "fp16"):
        sgd = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.0}
        recipe = recipe_of(**SMALL, precision=precision, clip_norm=clip_norm, optimiser=sgd)
        moved[precision], kind = first_step(recipe, tmp_path)
        assert kind == (torch.float16 if precision == "fp16" else torch.float32)
    assert moved["fp32"].abs().max() > 1e-4
    torch.testing.assert_close(moved["fp16"], moved["fp32"], rtol=0.05, atol=1e-4)


def test_a_training_in_fp16_counts_what_it_skips(recipe_of, tmp_path):
    losses = [{"method": "ce", "weight": 500}]
    recipe = recipe_of(**{**SMALL, "batch_size": 35}, precision="fp16", losses=losses, epochs=1, clip_norm=1.0)
    result = train(recipe, tmp_path, device="cpu").result
    assert 0 < result["last"]["skipped"] < 1


def test_gradients_that_overflow_for_good_end_it(recipe_of, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.training.step._LEAST_SCALE", 2.0**15)
    recipe = recipe_of(**SMALL, precision="fp16", losses=[{"method": "ce", "weight": 1e3}])
    with pytest.raises(XkdError, match=r"^precision: the gradients overflow in fp16 however little they are scaled"):
        train(recipe, tmp_path, device="cpu")


def test_where_fp16_is_not_computed_it_is_refused(recipe_of, monkeypatch):
    monkeypatch.setattr("distill.training.precision._TYPES", {"fp16": torch.bfloat16})
    with pytest.raises(XkdError, match=r"^precision: fp16 cannot be trained in on 'cpu' \(it computes in torch.bfloat"):
        check_precision(recipe_of(precision="fp16"), torch.device("cpu"), [])


def test_tf32_is_refused_where_it_is_not_multiplied(recipe_of, tmp_path):
    with pytest.raises(XkdError, match=r"^precision: tf32 found, and the device is 'cpu'"):
        set_up(recipe_of(precision="tf32", losses=[{"method": "ce"}]), "cpu", tmp_path)


@pytest.mark.parametrize(("precision", "expected"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_steps_make_the_products_that_the_recipe_says(recipe_of, tmp_path, monkeypatch, precision, expected):
    monkeypatch.setattr("distill.training.precision.check_tf32", lambda device: None)
    seen: list[tuple[bool, str]] = []
    forward = nn.Conv2d.forward

    def noted(module, given):
        seen.append((module.training, torch.backends.cudnn.conv.fp32_precision))
        return forward(module, given)

    recipe = recipe_of(**SMALL, precision=precision, losses=[{"method": "ce"}], epochs=1)
    monkeypatch.setattr(nn.Conv2d, "forward", noted)
    train(recipe, tmp_path / "run", device="cpu")
    trained = [place for place, (training, _) in enumerate(seen) if training]
    assert {seen[place][1] for place in trained} == {expected}
    assert {kind for _, kind in seen[trained[-1] + 1 :]} == {"ieee"}, "the student is evaluated in float32"


def test_a_method_that_differentiates_by_the_input_is_refused(recipe_of, tmp_path, teacher):
    recipe = recipe_of(precision="fp16", losses=[{"method": "e2kd"}], teacher={"model": str(teacher)})
    with pytest.raises(XkdError, match=r"^precision: e2kd differentiates by the input, which fp16 loses"):
        set_up(recipe, "cpu", tmp_path)
