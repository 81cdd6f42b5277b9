"""Areas, presets, means over what is defined, and draws of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.areas import area
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.means import curve_score, defined_columns, mean_score
from xkd_eval.evaluations.presets import Preset, preset_facts, preset_name, preset_notes, rules_of
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.statistics.bootstrap import all_images_means


@pytest.mark.parametrize(
    ("rule", "expected"),
    # of 1, .3, 0 at 0, .2 and 1 of the pixels: true shares; halves; thirds; ones
    [("fractions", 0.13 + 0.12), ("equal_steps", 0.4), ("by_count", 0.8 / 3), ("unit_steps", 0.8)],
)
def test_areas_by_hand(rule, expected):
    assert area(rule, np.array([[1.0, 0.3, 0.0]]), np.array([0, 0.2, 1])) == pytest.approx([expected])


@dataclass(frozen=True)
class Steps(Rules):
    steps: int = 20
    fill: str = "mean"


@dataclass(frozen=True)
class Options:
    preset: str = "paper"
    steps: int | None = None


PRESETS = {
    "paper": Preset({"steps": 20, "fill": "mean"}),
    "tool": Preset({"steps": 5, "fill": "black"}, departs="5 steps to black"),
}


def test_an_option_replaces_a_rule_of_its_preset():
    assert rules_of(PRESETS, Options()) == {"steps": 20, "fill": "mean"}
    assert rules_of(PRESETS, Options("tool", steps=7)) == {"steps": 7, "fill": "black"}
    with pytest.raises(XkdError, match=r"^preset: .*'torchcam'.*paper.*tool"):
        rules_of(PRESETS, Options("torchcam"))


def test_a_summary_says_whose_rules_they_are_and_how_they_depart():
    made = {
        name: preset_facts(PRESETS, Steps(**rules))
        for name, rules in {"paper": {}, "tool": {"steps": 5, "fill": "black"}, "own": {"steps": 6}}.items()
    }
    assert [found["preset"]["name"] for found in made.values()] == ["paper", "tool", "own"]
    assert preset_name(PRESETS, Steps(name="chefer")) == "paper"
    assert preset_notes(made["paper"]) == []
    assert preset_notes(made["tool"]) == ["preset tool: 5 steps to black"]
    assert preset_notes(made["own"]) == ["preset own: rules of the user's own"]


def test_a_mean_is_over_the_images_that_define_it():
    rows = {"a": np.array([1.0, np.nan, 0.5]), "hit": np.array([True, False, True]), "curve": np.ones((3, 2))}
    columns = defined_columns(rows, rows)
    means = all_images_means(columns)
    assert mean_score("a", "a").compute(means) == pytest.approx([0.75])
    assert mean_score("hit", "hit").compute(means) == pytest.approx([2 / 3])
    assert curve_score("curve", "curve", (0.0, 1.0)).compute(means).tolist() == [[1, 1]]
    spec = mean_score("hit", "hits", name="hits")
    assert spec.per_image(rows).dtype == bool and spec.name == "hits"


def test_draws_follow_the_image_the_seed_and_the_purpose():
    def drawn(*given):
        return image_generator(*given).random()

    assert drawn("a", 0, "noise", 3) == drawn("a", 0, "noise", 3)
    assert len({drawn("a", 0), drawn("b", 0), drawn("a", 1), drawn("a", 0, 1), drawn("a", 0, "1")}) == 5
    assert drawn("a", 0) == pytest.approx(PINNED)


PINNED = 0.4616144817374652
