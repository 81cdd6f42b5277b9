"""What is claimed of a comparison, in a sentence and in signs: tables by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from xkd_eval.comparison.claims import claim, is_claimed
from xkd_eval.comparison.formats import html_to_read, latex_to_read, markdown_to_read
from xkd_eval.comparison.headlines import foremost, headlines
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.shown import headline_table, legend
from xkd_eval.comparison.verdict import verdict
from xkd_eval.evaluations import TESTS
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.report.first_screen import forest


def test_of(name: str):
    kind = TESTS[name]
    return kind.create(Rules(), kind.Options())


test_of.__test__ = False

NAMES = {
    "clean_accuracy": ("perturbation", "clean_accuracy"),
    "maps": ("perturbation", "between.auc_common"),
    "agreement": ("agreement", "spearman"),
}


def compared(values: dict[str, dict[str, float]], told: float = 0.02, p: float = np.nan) -> Comparison:
    """A comparison of these values, {score: {model: value}}; a difference of more than `told` is one that is told."""
    models = tuple(values["clean_accuracy"])
    scores, agreement, differences = [], [], []
    for short, of_models in values.items():
        test, score = NAMES[short]
        rows = agreement if test == "agreement" else scores
        for model, value in of_models.items():
            rows.append(
                {"model": model, "maps": "cam", "test": test, "score": score, "measure": score, "outcome": "all"}
                | {"target": "predicted", "value": value, "low": value - told, "high": value + told, "seeds": 1}
                | {"beaten_by": "", "n_images": 80, "uninformative": False}
            )
        for other, model in itertools.combinations(of_models, 2):
            value = of_models[model] - of_models[other]
            differences.append(
                {"test": test, "score": score, "model": model, "maps": "cam", "other": other, "other_maps": "cam"}
                | {"value": value, "low": value - told / 2, "high": value + told / 2, "p": p, "p_holm": p}
                | {"low_corrected": value - told, "high_corrected": value + told, "effect": 0.5, "seeds": 1}
            )
    tests = {name: test_of(name) for name in dict.fromkeys(test for test, _ in NAMES.values())}
    tables = (pd.DataFrame(rows) for rows in (scores, differences, agreement))
    empty = {name: pd.DataFrame() for name in ("transfer", "curves", "images", "health")}
    return Comparison(models, "cam", *tables, **empty, tests=tests, members=models)


def three(maps, accuracy, agreement) -> Comparison:
    models = ("teacher", "kd", "exp_kd", "plain")
    return compared(
        {
            "clean_accuracy": dict(zip(models, (0.9, *accuracy), strict=True)),
            "maps": dict(zip(models, (0.7, *maps), strict=True)),
            "agreement": dict(zip(models[1:], agreement, strict=True)),
        }
    )


@pytest.mark.parametrize(
    ("maps", "accuracy", "agreement", "said"),
    [
        (
            (0.5, 0.6, 0.4),
            (0.8, 0.85, 0.7),
            (0.5, 0.8, 0.3),
            "exp_kd explains itself best (+10.0 points on kd), is the most accurate (+5.0 points on kd) and looks most "
            "where teacher looks (0.80, kd 0.50).",
        ),
        (
            (0.59, 0.6, 0.4),
            (0.8, 0.7, 0.6),
            (0.5, 0.51, 0.5),
            "exp_kd or kd explains itself best; kd is the most accurate (+10.0 points on exp_kd); the images do not "
            "tell which student looks most where teacher looks.",
        ),
        (
            (0.6, 0.6, 0.61),
            (0.8, 0.8, 0.8),
            (0.5, 0.5, 0.5),
            "the images do not tell which student explains itself best, is the most accurate or looks most where "
            "teacher looks.",
        ),
    ],
    ids=["one student in all", "two share the lead", "nothing is told"],
)
def test_the_best_of_several_students(maps, accuracy, agreement, said):
    assert verdict(three(maps, accuracy, agreement)) == said


@pytest.mark.parametrize(
    ("maps", "accuracy", "said"),
    [
        (0.5, 0.95, "kd explains itself worse than teacher (-20.0 points); kd is more accurate than teacher "
         "(+5.0 points)"),
        (0.8, 0.89, "kd explains itself better than teacher (+10.0 points); the images do not tell whether kd is more "
         "accurate than teacher"),
    ],
    ids=["worse and more accurate", "better and not told"],
)  # fmt: skip
def test_a_single_student_is_held_against_the_reference(maps, accuracy, said):
    found = compared(
        {
            "clean_accuracy": {"teacher": 0.9, "kd": accuracy},
            "maps": {"teacher": 0.7, "kd": maps},
            "agreement": {"kd": 0.48},
        }
    )
    assert verdict(found) == f"{said}; rank correlation of their maps: 0.48."


def test_what_is_undefined_is_no_claim():
    found = three((np.nan, np.nan, np.nan), (0.8, 0.7, 0.6), (0.5, 0.5, 0.5))
    assert "explains" in verdict(found) and "nan" not in verdict(found)
    assert [cell.value for line in headline_table(found).lines for cell in line.cells[1:2]][1:] == ["undefined"] * 3


def test_a_claim_needs_the_interval_that_holds_for_all_pairs_and_the_corrected_test():
    spec = ScoreSpec("a", "a", lambda means: means["a"], better="lower")
    row = {"value": 0.1, "low": 0.01, "low_corrected": -0.01, "high_corrected": 0.2, "p_holm": 0.001}
    assert not is_claimed(row) and claim(row, spec) == 0
    assert claim(row | {"low_corrected": 0.005}, spec) == -1  # greater, where lower is better
    assert claim(row | {"low_corrected": 0.005, "p_holm": 0.06}, spec) == 0
    assert claim(row | {"low_corrected": 0.005, "p_holm": np.nan}, spec) == -1
    assert claim({"value": -0.1, "low_corrected": -0.2, "high_corrected": -0.05, "p_holm": 0.01}, spec) == 1


def test_a_pair_is_read_in_both_directions():
    found = headlines(three((0.5, 0.6, 0.4), (0.8, 0.85, 0.7), (0.5, 0.8, 0.3)))
    accuracy = found[0]
    forwards, backwards = accuracy.less("exp_kd", "kd"), accuracy.less("kd", "exp_kd")
    assert forwards["value"] == -backwards["value"] == pytest.approx(0.05)
    assert (forwards["low_corrected"], forwards["high_corrected"]) == (
        -backwards["high_corrected"],
        -backwards["low_corrected"],
    )
    assert backwards["model"] == "kd" and accuracy.claim("kd", "exp_kd") == -1
    assert accuracy.claim("exp_kd", "kd") == 1 and accuracy.claim("exp_kd", "nobody") is None
    assert [one.spec.name for one in found] == ["clean_accuracy", "between.auc", "spearman"]
    assert [one.spec.name for one in foremost(found, 2)] == ["clean_accuracy", "between.auc", "spearman"]


def test_tables_to_read_have_signs_bold_and_a_legend_of_what_they_have():
    found = three((0.5, 0.69, 0.4), (0.8, 0.85, 0.7), (0.5, 0.8, 0.3))
    table = headline_table(found)
    assert table.heads == ("Model", "Accuracy ↑", "Area between the curves ↑ *", "Rank correlation ↑")
    by_model = {line.head[0]: line.cells for line in table.lines}
    assert [cell.symbol for cell in by_model["exp_kd"]] == ["▼", "○", ""]
    assert [cell.marked for cell in by_model["exp_kd"]] == [True, True, True]
    assert [cell.symbol for cell in by_model["teacher"][:2]] == ["", ""] and by_model["teacher"][2].value == ""
    said = legend(found, table)
    assert said == (
        "▲ better than teacher, ▼ worse, ○ not told apart (at 95 %, corrected for all pairs); bold: better than every "
        "other student; * on the 80 images that all classify correctly."
    )
    assert "bold" not in legend(found, table, bold=False)
    markdown = markdown_to_read(table, said).splitlines()
    assert markdown[0] == r"| Model | Accuracy ↑ | Area between the curves ↑ \* | Rank correlation ↑ |"
    assert markdown[4] == "| exp_kd | **85.0** ▼ (83.0 to 87.0) | **69.0** ○ (67.0 to 71.0) | **0.80** (0.78 to 0.82) |"
    latex = latex_to_read(table, said)
    assert r"exp\_kd & \textbf{85.0} $\blacktriangledown$ (83.0 to 87.0) & " in latex and r"{lrrr}" in latex
    assert "<b>85.0</b> ▼" in html_to_read(table)


def test_the_forest_draws_what_is_claimed_about_zero_and_agreement_on_its_range():
    found = forest(three((0.5, 0.69, 0.4), (0.8, 0.85, 0.7), (0.5, 0.8, 0.3)))
    assert found.has_zero == (True, True, False)
    accuracy, maps, agreement = found.rows["plain"]
    # The farthest bound of the column, 0.22 below the teacher, lies at its left end.
    assert (accuracy.word, accuracy.difference, accuracy.place, accuracy.low) == ("worse", "-20.0", 4.5, 0.0)
    assert (agreement.word, agreement.value, agreement.place, agreement.difference) == ("plain", "0.30", 30.0, "")
    assert found.rows["exp_kd"][1].word == "untold" and found.rows["teacher"][0].value == "90.0"
    assert accuracy.said == "-20.0 points, interval -22.0 to -18.0" and maps.word == "worse"
