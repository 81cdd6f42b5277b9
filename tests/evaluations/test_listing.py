"""What a test says of itself before it is run."""

from __future__ import annotations

import pytest

from xkd_eval.cli.output import print_tests
from xkd_eval.evaluations import TESTS
from xkd_eval.evaluations.listing import list_tests

OWN = [name for name in TESTS.names() if TESTS.is_own(name)]


@pytest.fixture(scope="module")
def known():
    return {info.name: info for info in list_tests()}


@pytest.mark.parametrize("name", OWN)
def test_a_test_of_ours_says_what_it_asks_what_it_costs_and_whose_it_is(known, name):
    info = known[name]
    assert info.question.endswith("?") and info.question[:1].isupper() and "\n" not in info.question
    assert any(sign.isdigit() for sign in info.cost)
    assert any(sign.isdigit() for sign in info.citation), "a year"
    assert info.scores


@pytest.mark.parametrize("name", OWN)
def test_every_score_that_is_shown_says_its_direction_and_its_range(known, name):
    for spec in known[name].scores:
        assert spec.range is not None, spec.name
        assert None in spec.range or spec.range[0] < spec.range[1], spec.name


def test_the_list_shows_scores_with_their_direction_and_options_with_their_alternatives(known, capsys):
    print_tests([known["perturbation"]])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "positive.auc ↓ [0, 0.9]" in shown
    assert "fill=black (or mean, blur, rise_blur, reflecting_blur)" in shown
    assert "needs: labels" in shown
