"""A score on which maps that know nothing do better is flagged, in every table and in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xkd_eval import Evaluation, ScoreSpec, compare, evaluate
from xkd_eval.cli.output import print_comparison, print_study
from xkd_eval.comparison.shown import legend, score_tables
from xkd_eval.evaluations.forms import in_form
from xkd_eval.study.floors import better_floors


class Mass(Evaluation):
    """The share of the image that a map leaves: ones but for one pixel win it."""

    name, title, citation = "mass", "Mass", "for the test"

    def rows(self, batch):
        maps, _ = in_form(batch.required_maps(), "minmax", batch.preprocess.size)
        return {"mass": maps.double().mean((1, 2)).cpu().numpy()}

    def specs(self):
        def column(values):
            return values["mass"]

        return (ScoreSpec("mass", "mass", column, better="higher", role="headline", per_image=column),)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def found(images, output):
    return compare(["embedded/teacher", "embedded/plain"], images, tests=[Mass], output=output)


def test_a_floor_is_better_in_the_direction_of_the_score():
    spec = ScoreSpec("a", "a", lambda means: means["a"], better="lower")
    assert better_floors(spec, 0.5, {"random": 0.4, "centre": 0.5, "edges": 0.6, "fake_cam": None}) == ["random"]
    assert better_floors(ScoreSpec("a", "a", spec.compute), 0.5, {"random": 0.4}) == []
    assert better_floors(ScoreSpec("a", "a", spec.compute, better="lower", of_maps=False), 0.5, {"random": 0.4}) == []
    assert better_floors(spec, None, {"random": 0.4}) == []


def test_own_rows_name_the_floors_that_win(found):
    scores = found.scores.set_index(["model", "maps"])
    assert "fake_cam" in scores.loc[("teacher", "cam"), "beaten_by"].split(", ")
    own, random = (scores.loc[("teacher", maps), "value"] for maps in ("cam", "random"))
    assert ("random" in scores.loc[("teacher", "cam"), "beaten_by"].split(", ")) == (random > own)
    assert set(found.scores.loc[found.scores["maps"] != "cam", "beaten_by"]) == {""}


def test_words_and_tables_say_so(found, capsys):
    table = score_tables(found)[Mass.name]
    assert any("fake_cam" in cell.beaten_by for line in table.lines for cell in line.cells)
    assert "maps that know nothing of the model score better" in legend(found, table)
    print_comparison(found)
    assert "won by maps that know nothing" in " ".join(capsys.readouterr().out.split())


def test_the_report_flags_the_cell(found, output):
    assert "fake_cam maps score better here" in (output / "report.html").read_text()


def test_explainers_of_a_study_are_held_against_the_floors_beside_them(images, capsys):
    study = evaluate("embedded/kd", images, tests=[Mass], explainers=["cam", "fake_cam"])
    print_study(study)
    assert "fake_cam maps score better here than cam of kd (mass)" in " ".join(capsys.readouterr().out.split())


class Detail(Mass):
    """Without a score that a comparison has."""

    name, title = "detail", "Detail"

    def specs(self):
        return tuple(replace(spec, role="detail") for spec in super().specs())


def test_a_comparison_without_a_number_says_so(images, tmp_path, capsys):
    found = compare(["embedded/teacher", "embedded/plain"], images, tests=[Detail], limit=4, output=tmp_path)
    print_comparison(found)
    assert capsys.readouterr().out.startswith("Nothing says which of teacher and plain is better.")
    assert "beaten_by" in found.scores and (tmp_path / "report.html").exists()
