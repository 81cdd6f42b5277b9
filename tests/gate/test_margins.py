"""Which scores margins name."""

from __future__ import annotations

import pytest

from tests.gate.pairs import Given
from xkd_eval.errors import XkdError
from xkd_eval.evaluations import TESTS, Rules
from xkd_eval.gate.margins import asked_scores


def made(*names):
    return {name: TESTS[name].create(Rules(), TESTS[name].Options()) for name in names}


def test_the_default_ones_are_headline_shares_where_both_are_right_if_they_grow_with_accuracy():
    found = asked_scores(made("perturbation", "segmentation", "randomisation"), 3)
    assert [score.name for score in found] == [
        "perturbation.clean_accuracy",
        "perturbation.between.auc_common",
        "segmentation.miou",
        "segmentation.pointing_game",
    ]
    assert {score.margin for score in found} == {3.0}


def test_one_is_named_with_its_test_or_without_where_no_other_has_it():
    tests = made("perturbation", "segmentation", "localisation")
    found = asked_scores(tests, {"negative.auc": 2, "perturbation.positive.auc_common": 0, "segmentation.miou": 1.5})
    assert {score.name: score.margin for score in found} == {
        "perturbation.positive.auc_common": 0.0,
        "perturbation.negative.auc": 2.0,
        "segmentation.miou": 1.5,
    }
    both = "2 tests have a score pointing_game; give one of segmentation.pointing_game, localisation.pointing_game"
    with pytest.raises(XkdError, match=f"^margins: {both}$"):
        asked_scores(tests, {"pointing_game": 1})


def test_a_named_one_beside_the_default_ones_has_its_own_margin():
    for margins in ({"default": 2, "miou": 5}, {"miou": 5, "default": 2}):
        found = asked_scores(made("segmentation"), margins)
        assert {score.score: score.margin for score in found} == {"miou": 5.0, "pointing_game": 2.0}


@pytest.mark.parametrize(
    ("margins", "message"),
    [
        pytest.param(-1, "margins: -1 found; expected a number of at least 0", id="below 0"),
        pytest.param(float("nan"), "margins: nan found; expected a number", id="not a number"),
        pytest.param(True, "margins: True found; expected a number", id="a truth value"),
        pytest.param({"miou": float("inf")}, "margins miou: inf found; expected a number", id="infinite"),
        pytest.param({}, "margins: none given", id="none"),
        pytest.param({"accuracy": 1}, "unknown score 'accuracy'; nearest: segmentation.pixel_acc", id="unknown"),
        pytest.param(
            {"x": 1}, "unknown score 'x'; expected some of perturbation.clean_accuracy, ", id="nothing like it"
        ),
        pytest.param({"segmentation.miu": 1}, "nearest: segmentation.miou", id="mistyped"),
        pytest.param({"positive.curve": 1}, "unknown score 'positive.curve'", id="a curve"),
        pytest.param({"tie_share": 1}, "unknown score 'tie_share'", id="a detail"),
    ],
)
def test_others_are_refused_in_one_line(margins, message):
    with pytest.raises(XkdError, match=r"^margins") as caught:
        asked_scores(made("perturbation", "segmentation"), margins)
    assert message in str(caught.value)


def test_a_score_without_a_better_direction_and_a_test_without_default_ones_are_refused():
    with pytest.raises(XkdError, match=r"^margins: of given.mean neither direction is better"):
        asked_scores({"given": Given(better=None)}, {"mean": 1})
    with pytest.raises(XkdError, match=r"^margins: no score of randomisation is a default one; name some of"):
        asked_scores(made("randomisation"), 2)
