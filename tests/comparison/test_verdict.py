"""What is claimed of a comparison, in a sentence and in signs: tables by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from xkd_eval.comparison.claims import claim, is_claimed
from xkd_eval.comparison.formats import html_to_read, latex_to_read, markdown_to_read
from xkd_eval.comparison.headlines import foremost, headlines, heads_of
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.shown import (
    agreement_table,
    difference_tables,
    floor_tables,
    headline_table,
    legend,
    score_tables,
)
from xkd_eval.comparison.tables import corrected
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
            "Of the students, exp_kd explains itself best (area between the curves +10.0 points against kd), is the "
            "most accurate (+5.0 points against kd) and looks most where teacher looks "
            "(rank correlation 0.800, kd 0.500).",
        ),
        (
            (0.59, 0.6, 0.4),
            (0.8, 0.7, 0.6),
            (0.5, 0.51, 0.5),
            "Of the students, exp_kd or kd explains itself best (by area between the curves); kd is the most accurate "
            "(+10.0 points against exp_kd); the images do not tell which student looks most where teacher looks.",
        ),
        (
            (0.59, 0.6, 0.4),
            (0.8, 0.79, 0.6),
            (0.5, 0.51, 0.3),
            "Of the students, exp_kd or kd explains itself best (by area between the curves); kd or exp_kd is the most "
            "accurate; exp_kd or kd looks most where teacher looks (by rank correlation).",
        ),
        (
            (0.6, 0.6, 0.61),
            (0.8, 0.8, 0.8),
            (0.5, 0.5, 0.5),
            "The images do not tell which student explains itself best, is the most accurate or looks most where "
            "teacher looks.",
        ),
    ],
    ids=["one student in all", "two share the lead", "two share it in all", "nothing is told"],
)
def test_the_best_of_several_students(maps, accuracy, agreement, said):
    assert verdict(three(maps, accuracy, agreement)) == said


@pytest.mark.parametrize(
    ("maps", "accuracy", "said"),
    [
        (0.5, 0.95, "kd explains itself worse than teacher (area between the curves -20.0 points); kd is more accurate "
         "than teacher (+5.0 points)"),
        (0.8, 0.89, "kd explains itself better than teacher (area between the curves +10.0 points); the images do not "
         "tell whether kd is more accurate than teacher"),
        (0.71, 0.89, "The images do not tell whether kd explains itself better or is more accurate than teacher"),
    ],
    ids=["worse and more accurate", "better and not told", "nothing is told"],
)  # fmt: skip
def test_a_single_student_is_held_against_the_reference(maps, accuracy, said):
    found = compared(
        {
            "clean_accuracy": {"teacher": 0.9, "kd": accuracy},
            "maps": {"teacher": 0.7, "kd": maps},
            "agreement": {"kd": 0.48},
        }
    )
    assert verdict(found) == f"{said}; rank correlation of their maps: 0.480."


def test_what_is_undefined_is_no_claim():
    found = three((np.nan, np.nan, np.nan), (0.8, 0.7, 0.6), (0.5, 0.5, 0.5))
    assert verdict(found) == (
        "Of the students, kd is the most accurate (+10.0 points against exp_kd); the images do not tell which student "
        "explains itself best or looks most where teacher looks."
    )
    assert [cell.value for line in headline_table(found).lines for cell in line.cells[1:2]][1:] == ["undefined"] * 3


def test_where_the_exact_test_does_not_reject_zero_the_interval_of_the_claim_holds_it():
    pair = {"test": "a", "score": "a", "maps": "cam", "other": "b", "other_maps": "cam", "low": 0.2, "high": 0.4}
    bounds = {"low_corrected": 0.1, "high_corrected": 0.5}
    rows = [pair | bounds | {"model": name, "p": p} for name, p in {"x": 0.04, "y": 0.001, "z": 0.03}.items()]
    found = {row["model"]: row for row in corrected([*rows, pair | bounds | {"model": "w", "p": None}])}
    # By Holm: 0.001 three times, 0.03 twice, 0.04 at least as much as the one before it.
    assert [found[name]["p_holm"] for name in "yzx"] == pytest.approx([0.003, 0.06, 0.06])
    assert {name: row["low_corrected"] for name, row in found.items()} == {"x": 0.0, "y": 0.1, "z": 0.0, "w": 0.1}
    assert {row["high_corrected"] for row in found.values()} == {0.5}
    assert [is_claimed(found[name]) for name in "xyzw"] == [False, True, False, True]


def test_a_claim_needs_the_interval_that_holds_for_all_pairs():
    spec = ScoreSpec("a", "a", lambda means: means["a"], better="lower")
    row = {"value": 0.1, "low": 0.01, "low_corrected": -0.01, "high_corrected": 0.2, "p_holm": 0.001}
    assert not is_claimed(row) and claim(row, spec) == 0
    assert claim(row | {"low_corrected": 0.005}, spec) == -1  # greater, where lower is better
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
    others = [replace(found[1], spec=replace(found[1].spec, name=name)) for name in "abc"]
    more = [*found[:2], *others, found[2]]
    assert [len(foremost(more, count)) for count in (2, 3, 4, 9)] == [3, 3, 4, 6]
    of_two_kinds = replace(accuracy, differences={("a", "b"): {**forwards, "maps": "cam", "other_maps": "rise"}})
    assert of_two_kinds.less("b", "a")["maps"] == "rise"


def test_where_neither_direction_is_better_nothing_is_claimed():
    accuracy = headlines(three((0.5, 0.6, 0.4), (0.8, 0.85, 0.7), (0.5, 0.8, 0.3)))[0]
    neither = replace(accuracy, spec=replace(accuracy.spec, better=None))
    assert accuracy.claim("exp_kd", "plain") == 1 and neither.claim("exp_kd", "plain") is None
    assert foremost([neither, accuracy], 5) == [accuracy, neither] and foremost([neither], 5) == [neither]


def test_scores_of_one_title_are_told_apart_by_their_tests():
    accuracy, maps, _ = headlines(three((0.5, 0.6, 0.4), (0.8, 0.85, 0.7), (0.5, 0.8, 0.3)))
    assert heads_of([accuracy, maps]) == ["Accuracy ↑", "Area between the curves ↑ *"]
    other = replace(accuracy, test=test_of("segmentation"))
    assert heads_of([accuracy, other]) == ["Accuracy ↑ (perturbation test)", "Accuracy ↑ (segmentation test)"]


def test_a_table_of_differences_has_the_titles_of_its_own_test():
    found = three((0.5, 0.6, 0.4), (0.8, 0.85, 0.7), (0.5, 0.8, 0.3))
    test = test_of("segmentation")
    renamed = replace(test.specs()[0], name="clean_accuracy", title="another", role="shown")
    test.specs = lambda: (renamed,)
    rows = found.differences
    both = pd.concat([rows, rows[rows["score"] == "clean_accuracy"].assign(test="segmentation")])
    tables = difference_tables(replace(found, differences=both, tests=found.tests | {"segmentation": test}))
    assert tables["reference"]["perturbation"].heads[2] == "Accuracy ↑"
    assert tables["reference"]["segmentation"].heads[2] == "Another ↑"


def test_a_band_lies_within_its_column_and_no_floor_beside_what_depends_on_no_map():
    found = three((0.5, 0.69, 0.4), (0.8, 0.85, 0.7), (0.5, 0.8, 0.3))
    floors = found.scores.assign(maps="random", value=0.1, low=-0.5, high=0.7)
    table = score_tables(replace(found, scores=pd.concat([found.scores, floors])))["perturbation"]
    accuracy, maps = table.lines[-1].cells[:2]
    assert table.lines[-1].head[0] == "plain" and accuracy.band.floor is None
    of_floors = floor_tables(replace(found, scores=pd.concat([found.scores, floors])))["perturbation"]
    # Its score is the same whatever the model, and the accuracy depends on no map.
    assert [line.head for line in of_floors.lines] == [("any", "random")]
    assert of_floors.heads == ("Model", "Maps", "Area between the curves ↑ *")
    # From the floor's 0.1 to the 0.72 that the teacher's interval ends with.
    assert maps.band.floor == (0.0, 0.0) and maps.band.value == round(100 * 0.3 / 0.62, 1)
    pairs = found.agreement[found.agreement["model"] == "kd"].assign(model="teacher", maps="random", low=-2.0, high=3.0)
    table = agreement_table(replace(found, agreement=pd.concat([found.agreement, pairs])), "predicted", "all")
    assert [line.head[1] for line in table.lines] == ["cam"] * 3 + ["random"]
    assert [line.cells[0].band is None for line in table.lines] == [False] * 3 + [True]


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
    beaten = replace(found, scores=found.scores.assign(beaten_by="edges"))
    assert "⚑" in legend(beaten, headline_table(beaten)) and "⚑" not in legend(
        beaten, headline_table(beaten), flags=False
    )
    assert r"\<b\>\*" in markdown_to_read(table, "<b>*")
    markdown = markdown_to_read(table, said).splitlines()
    assert markdown[0] == r"| Model | Accuracy ↑ | Area between the curves ↑ \* | Rank correlation ↑ |"
    assert (
        markdown[4] == "| exp_kd | **85.0** ▼ (83.0 to 87.0) | **69.0** ○ (67.0 to 71.0) | **0.800** (0.780 to 0.820) |"
    )
    latex = latex_to_read(table, said)
    assert r"exp\_kd & \textbf{85.0} $\blacktriangledown$ (83.0 to 87.0) & " in latex and r"{lrrr}" in latex
    assert "<b>85.0</b> ▼" in html_to_read(table)


def test_the_forest_draws_what_is_claimed_about_zero_and_agreement_on_its_range():
    found = forest(three((0.5, 0.69, 0.4), (0.8, 0.85, 0.7), (0.5, 0.8, 0.3)))
    assert found.has_zero == (True, True, False)
    accuracy, maps, agreement = found.rows["plain"]
    # The farthest bound of the column, 0.22 below the teacher, lies at its left end.
    assert (accuracy.word, accuracy.difference, accuracy.place, accuracy.low) == ("worse", "-20.0", 4.5, 0.0)
    assert (agreement.word, agreement.value, agreement.place, agreement.difference) == ("plain", "0.300", 30.0, "")
    assert found.rows["exp_kd"][1].word == "untold" and found.rows["teacher"][0].value == "90.0"
    below = forest(three((0.5, 0.69, 0.4), (0.8, 0.85, 0.7), (0.5, 0.8, -0.23))).rows
    # From the worst bound, 0.25 below nothing, to the best that there is.
    assert (below["plain"][2].low, below["plain"][2].place, below["kd"][2].place) == (0.0, 1.6, 60.0)
    assert accuracy.said == "-20.0 points, interval -22.0 to -18.0" and maps.word == "worse"


def test_the_first_screen_says_which_headline_scores_floors_win():
    found = three((0.5, 0.69, 0.4), (0.8, 0.85, 0.7), (0.5, 0.8, 0.3))
    assert forest(found).won_by_floors == ()
    of_maps = found.scores["score"] == "between.auc_common"
    beaten = found.scores["beaten_by"].mask(of_maps & (found.scores["model"] == "kd"), "random, edges")
    beaten = beaten.mask(of_maps & (found.scores["model"] == "plain"), "edges")
    drawn = forest(replace(found, scores=found.scores.assign(beaten_by=beaten)))
    assert drawn.won_by_floors == (
        "Area between the curves: maps that know nothing of the model score better than the maps of kd (random, edges) "
        "and plain (edges)",
    )
    assert [mark.beaten_by for mark in drawn.rows["kd"]] == ["", "random, edges", ""]
