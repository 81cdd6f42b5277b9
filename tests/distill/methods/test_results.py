"""What a method returns: its own names and scalars, or one line that names it."""

import pytest
import torch

from distill.methods import Method, Pass
from distill.methods.results import results_of
from xkd_eval.errors import XkdError


class Mine(Method):
    """Returns what it is told."""

    name = "mine"
    citation = "a test"
    requires = frozenset()

    def __init__(self, losses, statistics=None):
        super().__init__()
        self._losses, self._told = losses, statistics

    def losses(self, student, teacher, labels, indices):
        if self._told is not None:
            self.statistics = self._told
        return self._losses(student, labels) if callable(self._losses) else self._losses


ONE = torch.tensor(1.0)


def fails(student, labels):
    raise RuntimeError("boo\nsecond line")


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (None, "mine returned None; expected scalar tensors by name"),
        ({}, "mine returned {}; expected"),
        (torch.ones(2), r"mine returned tensor\(\[1., 1.\]\); expected"),
        ([ONE], r"mine returned \[tensor\(1.\)\]; expected"),
        ({3: ONE}, "mine calls a result 3; expected a name that begins with 'mine'"),
        ({"ce": ONE}, "mine calls a result 'ce'; expected"),
        ({"mine": torch.ones(4)}, r"mine: mine is a float32 tensor \(4,\); expected a scalar tensor of floats"),
        ({"mine": torch.ones(1)}, r"mine: mine is a float32 tensor \(1,\); expected"),
        ({"mine": torch.tensor(3)}, r"mine: mine is a int64 tensor \(\); expected"),
        ({"mine": 0.5}, "mine: mine is a float; expected"),
        ({"mine": torch.ones((), device="meta")}, "mine: mine is on meta; expected it on cpu"),
        (fails, r"mine fails \(boo\); check its options"),
        (lambda student, labels: {"mine": labels.zero_().float().sum()}, "mine writes to the labels, which others"),
        (lambda student, labels: {"mine": student.logits.mul_(2).sum()}, "mine writes to the student's logits"),
    ],
)
def test_what_is_no_loss_is_one_line(losses, message):
    with pytest.raises(XkdError, match=f"^losses: {message}") as error:
        results_of(Mine(losses), *batch())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["total", "epoch", "learning_rate", "seconds", "test_top1", "val_loss"])
def test_a_name_of_the_training_is_refused(name):
    method = Mine({name: ONE})
    method.name = name
    with pytest.raises(XkdError, match=f"^losses: {name} calls a result '{name}', as the training does one of its own"):
        results_of(method, *batch())


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        ({"ce": ONE}, "mine calls a result 'ce'"),
        ({"mine": ONE}, "mine has a loss and a statistic 'mine'"),
        ({"mine/x": 3}, "mine: mine/x is a int; expected"),
        ([ONE], r"mine returned \[tensor"),
    ],
)
def test_statistics_are_held_to_the_same(statistics, message):
    with pytest.raises(XkdError, match=f"^losses: {message}"):
        results_of(Mine({"mine": ONE}, statistics), *batch())


def test_what_holds_comes_back():
    losses, statistics = results_of(Mine({"mine_a": ONE, "mine_b": ONE}, {"mine/x": ONE}), *batch())
    assert (list(losses), list(statistics)) == (["mine_a", "mine_b"], ["mine/x"])


def batch():
    return Pass(torch.ones(4, 3)), None, torch.arange(4) % 3, torch.arange(4)
