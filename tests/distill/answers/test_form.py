"""What is stored of an answer, and what it stands for when it is read."""

import math

import numpy as np
import pytest
import torch

from distill.answers.form import AnswerForm
from xkd_eval.errors import XkdError

CPU = torch.device("cpu")


def read(form, logits):
    records = form.encode(logits, None)
    return form.logits(records["values"], None if form.top_k is None else records["classes"], CPU)


def test_the_top_k_keep_their_probabilities_and_the_others_share_the_rest():
    # Probabilities 0.5, 0.3, 0.1, 0.06, 0.04: the last three have 0.2 together.
    logits = torch.tensor([[0.5, 0.1, 0.06, 0.3, 0.04]]).log() + 7
    probabilities = read(AnswerForm(classes=5, top_k=2, maps=None), logits).softmax(1)[0]
    assert probabilities.tolist() == pytest.approx([0.5, 0.2 / 3, 0.2 / 3, 0.3, 0.2 / 3], rel=1e-3)
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-6)
    assert len(set(probabilities[[1, 2, 4]].tolist())) == 1


def test_the_rest_of_a_sure_answer_is_no_rounding():
    logits = torch.tensor([[0.0, -15.0, -16.0, -17.0]])
    rest = logits.double().softmax(1)[0, 1:].sum().item()
    found = read(AnswerForm(classes=4, top_k=1, maps=None), logits)
    assert found.double().exp()[0, 1:].tolist() == pytest.approx([rest / 3] * 3, rel=1e-2)
    assert found.isfinite().all()


def test_all_logits_are_those_of_float16():
    logits = torch.randn(6, 5)
    assert torch.equal(read(AnswerForm(classes=5, top_k=None, maps=None), logits), logits.half().float())


@pytest.mark.parametrize(
    ("classes", "top_k", "maps", "size"),
    [
        (100, 10, None, 11 * 2 + 10),
        (1000, 10, None, 11 * 2 + 10 * 2),
        (100, None, None, 200),
        (100, 10, (64, 8, 8), 32 + 2 * 64 * 64),
        (100_000, 1, None, 2 * 2 + 4),
    ],
)
def test_bytes_of_an_answer(classes, top_k, maps, size):
    assert AnswerForm(classes=classes, top_k=top_k, maps=maps).record.itemsize == size


def test_maps_lie_beside_the_logits():
    maps = torch.randn(3, 4, 2, 2)
    records = AnswerForm(classes=5, top_k=2, maps=(4, 2, 2)).encode(torch.randn(3, 5), maps)
    assert np.array_equal(records["maps"], maps.half().numpy())


@pytest.mark.parametrize("value", [7e4, math.nan])
def test_what_float16_does_not_hold_is_refused(value):
    with pytest.raises(XkdError, match=r"^teacher: its logits are no numbers that float16 holds"):
        AnswerForm(classes=2, top_k=None, maps=None).encode(torch.tensor([[0.0, value]]), None)
