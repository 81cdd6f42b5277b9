"""A teacher in bfloat16 beside a student in float32: how far it moves, and where it is refused."""

from __future__ import annotations

import pytest
import torch

from distill.training.setup import set_up
from distill.training.train import train
from tests.distill.conftest import EXP_KD, KD
from xkd_eval.engines.bfloat16 import bf16_is_native
from xkd_eval.errors import XkdError

native = pytest.mark.skipif(not bf16_is_native(torch.device("cpu")), reason="the processor multiplies no bfloat16")


def passes(recipe_of, tmp_path, teacher, **changes):
    """What a teacher in float32, and the same in bfloat16, make of a batch."""
    made = []
    for precision in (None, "bf16"):
        named = {"model": str(teacher), "precision": precision}
        setup = set_up(recipe_of(losses=EXP_KD, teacher=named, **changes), "cpu", tmp_path)
        batch = next(iter(setup.train.batches(0, 0)))
        with setup.autocast():
            made.append(setup.teachers(batch)[0].full_precision())
    return made


@native
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_logits_and_maps_move_by_less_than_a_hundredth(recipe_of, tmp_path, teacher, precision):
    exact, rounded = passes(recipe_of, tmp_path, teacher, precision=precision)
    for name in ("logits", "features"):
        ours, theirs = getattr(rounded, name), getattr(exact, name)
        assert not torch.equal(ours, theirs)
        assert (ours - theirs).norm() < 0.01 * theirs.norm()
    assert torch.equal(rounded.logits.argmax(1), exact.logits.argmax(1))
    assert torch.equal(rounded.head_weight, exact.head_weight)


@native
def test_the_teacher_is_measured_in_float32(recipe_of, tmp_path, teacher):
    results = []
    for precision in (None, "bf16"):
        recipe = recipe_of(losses=KD, teacher={"model": str(teacher), "precision": precision}, epochs=1)
        results.append(train(recipe, tmp_path / str(precision), device="cpu").result)
    assert results[0]["teachers"] == results[1]["teachers"]
    assert results[0]["last"]["kd"] != results[1]["last"]["kd"]
    assert results[0]["last"]["kd"] == pytest.approx(results[1]["last"]["kd"], rel=0.02)


@native
def test_a_loss_that_differentiates_the_teacher_refuses_it(recipe_of, tmp_path, teacher):
    recipe = recipe_of(losses=[{"method": "e2kd"}], teacher={"model": str(teacher), "precision": "bf16"})
    with pytest.raises(XkdError, match=r"teacher.precision: bf16 found, and a loss differentiates the teacher"):
        set_up(recipe, "cpu", tmp_path)


def test_a_device_that_does_not_multiply_it_refuses_it(recipe_of, tmp_path, teacher, monkeypatch):
    monkeypatch.setattr("distill.training.recipe_teachers.bf16_is_native", lambda device: False)
    recipe = recipe_of(losses=KD, teacher={"model": str(teacher), "precision": "bf16"})
    with pytest.raises(XkdError, match="'cpu' does not multiply bfloat16; leave it out"):
        set_up(recipe, "cpu", tmp_path)


def test_stored_answers_have_their_precision(recipe_of):
    with pytest.raises(XkdError, match="precision: nothing reads it beside 'stored'"):
        recipe_of(losses=KD, teacher={"model": "a.pt", "stored": "answers", "precision": "bf16"})


def test_a_training_by_another_precision_is_another(recipe_of):
    one, other = (
        recipe_of(losses=KD, teacher={"model": "a.pt", "precision": precision}).identity()
        for precision in (None, "bf16")
    )
    assert one != other
