"""benchmarks/published_losses sees a difference of value and of gradient, and says what it could not compare."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks.published_losses import __main__ as page
from benchmarks.published_losses.cases import CASES, Case, largest_difference
from benchmarks.published_losses.inputs import SHAPES, make_inputs
from benchmarks.published_losses.repositories import REPOSITORIES

THEIRS = """
import a_library_that_is_not_there

from .neighbour import squares

def loss(own, other):
    print("as published code does")
    return squares(own.cuda() - other).mean()
"""


@pytest.fixture
def checkouts(tmp_path) -> Path:
    (tmp_path / "mdistiller").mkdir()
    (tmp_path / "mdistiller" / "losses.py").write_text(THEIRS)
    (tmp_path / "mdistiller" / "neighbour.py").write_text("def squares(values):\n    return values ** 2\n")
    return tmp_path


def a_case(ours) -> Case:
    def compare(given, theirs):
        logits = given.student.logits, given.teacher.logits
        return theirs.loss(*logits), ours(*logits)

    return Case("kd", "mdistiller", ("losses.py",), compare, "", ("a_library_that_is_not_there",))


def squares(own, other):
    return (own - other).square().mean()


@pytest.mark.parametrize(
    ("ours", "value", "gradient"),
    [
        (squares, 0, 0),
        (lambda own, other: 1.5 * squares(own, other), 0.5, 0.5),
        (lambda own, other: squares(own.detach(), other) + 0 * own.sum(), 0, 1),
        (lambda own, other: 2 * squares(own, other) - squares(own, other).detach(), 0, 1),
    ],
    ids=["equal", "half more", "without a gradient", "twice the gradient"],
)
def test_differences_are_relative_to_theirs(checkouts, capsys, ours, value, gradient):
    cuda = torch.Tensor.cuda
    found = largest_difference(a_case(ours), checkouts)
    assert (found.value, found.gradient) == (pytest.approx(value, abs=1e-12), pytest.approx(gradient, abs=1e-12))
    assert capsys.readouterr().out == ""
    assert torch.Tensor.cuda is cuda and "a_library_that_is_not_there" not in sys.modules


def test_the_largest_of_all_shapes_counts(checkouts):
    largest = max(shape.classes for shape in SHAPES)

    def ours(own, other):
        return squares(own, other) * (3 if own.shape[1] == largest else 1)

    assert largest_difference(a_case(ours), checkouts).value == pytest.approx(2)


def test_inputs_are_the_same_again_and_their_shapes_are_those_said():
    for shape in SHAPES:
        first, second = make_inputs(shape), make_inputs(shape)
        assert all(torch.equal(*pair) for pair in zip(first.leaves(), second.leaves(), strict=True))
        assert first.student.maps.shape[1:] == (shape.student[0], shape.student[1], shape.student[1])
        assert first.regressed.shape == first.teacher.maps.shape
        right = first.teacher.linear_logits().argmax(1) == first.labels
        assert 0 < right.sum() < shape.images


def test_a_missing_checkout_is_said(tmp_path):
    lines = list(page._page(tmp_path))
    assert sum("skipped: no such checkout" in line for line in lines) == len(CASES)
    assert sum(line.endswith(", missing |") for line in lines) == len(REPOSITORIES)


def test_every_case_is_of_a_repository_with_a_commit():
    assert {one.repository for one in CASES} == set(REPOSITORIES)
    assert all(len(repository.commit) == 40 for repository in REPOSITORIES.values())
    commands = list(page._commands(Path("here")))
    assert "git clone --quiet https://github.com/HobbitLong/RepDistiller here/RepDistiller" in commands
