"""Runs side by side: what stands together, what apart and why, what is left out, and every format."""

from __future__ import annotations

import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from xkd_eval import evaluate, perturbation_test, table
from xkd_eval.cli import main
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.study.result import EvaluationResult

SHORT = {"fractions": (0.5,), "figures": False}


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=16)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, images) -> Path:
    """A study of two models, two kinds of maps and two tests; and runs of another fill, and of fewer images."""
    folder = tmp_path_factory.mktemp("runs")
    models = ["embedded/teacher", "embedded/plain"]
    tests = ["perturbation", "fidelity"]
    evaluate(models, images, tests=tests, explainers=["cam", "random"], output=folder / "study", **SHORT)
    perturbation_test("embedded/kd", images, output=folder / "fill", fill="mean", **SHORT)
    perturbation_test("embedded/kd", images, output=folder / "few", limit=8, **SHORT)
    return folder


@pytest.fixture(scope="module")
def found(runs):
    return table(runs)


@pytest.fixture
def xkd_eval(monkeypatch, capsys, tmp_path):
    """Run the console script in an empty directory -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xkd-eval", "table", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def test_runs_of_other_rules_or_images_stand_apart_with_the_reason(found):
    assert [(block.test.name, len(block.entries)) for block in found.blocks] == [
        ("perturbation", 4),
        ("perturbation", 1),
        ("perturbation", 1),
        ("fidelity", 1),
    ]
    assert [block.reason for block in found.blocks] == [
        "",
        "these differ: data embedded-test of 8 images instead of embedded-test of 16 images",
        "these differ: fill mean instead of black",
        "",
    ]
    assert found.blocks[0].title.startswith("Perturbation test: protocol model (")
    assert ", beside embedded/teacher" in found.blocks[3].title


def test_the_scores_are_those_of_the_summaries(found, runs):
    for block in found.blocks:
        for entry in block.entries:
            rows = block.scores[(block.scores["model"] == entry.model) & (block.scores["maps"] == entry.maps)]
            for row in rows.itertuples():
                kept = next(spec for spec in block.specs if spec.name == row.score).of(entry.result.summary)
                numbers = [kept["value"], *(kept["ci95"] or (None, None))]
                assert [None if pd.isna(value) else value for value in (row.value, row.low, row.high)] == numbers
    assert list(found.blocks[0].scores["score"].unique()) == [
        "clean_accuracy",
        "between.auc",
        "positive.auc",
        "positive.auc_relative",
        "negative.auc",
        "negative.auc_relative",
    ]


def test_rows_are_sorted_and_the_best_is_never_a_floor(runs):
    hidden = table(runs, scores="between.auc", sort="positive.auc").blocks[0]
    (block, *_) = table(runs, scores=["between.auc", "perturbation.positive.auc"], sort="positive.auc").blocks
    order = [[(entry.model, entry.maps) for entry in found.entries] for found in (hidden, block)]
    assert order[0] == order[1], "by a score that is not shown"
    assert [spec.name for spec in block.specs] == ["between.auc", "positive.auc"]
    positive = block.specs[1]
    values = [entry.value(positive)[0] for entry in block.entries]
    assert values == sorted(values), "lower is better"
    assert block.best(positive) == min(entry.value(positive)[0] for entry in block.entries if entry.maps == "cam")
    accuracy = table(runs, scores="clean_accuracy").blocks[0]
    shown = {(entry.model, entry.maps): figure.is_best for entry, figure in zip_figures(accuracy)}
    best, other = sorted(("embedded/teacher", "embedded/plain"), key=lambda name: not shown[name, "cam"])
    assert [shown[best, "cam"], shown[best, "random"], shown[other, "cam"]] == [True, False, False]


def zip_figures(block):
    from xkd_eval.leaderboard.formats import figures

    return [(entry, figures(block, entry, intervals=True)[0]) for entry in block.entries]


def test_one_run_alone_is_no_best_one(found):
    assert not any(figure.is_best for _, figure in zip_figures(found.blocks[1]))


def test_a_run_in_two_places_is_one_and_names_are_told_apart(runs, images, tmp_path):
    place = next(runs.glob("study/runs/perturbation/embedded_plain-cam*"))
    shutil.copytree(place, tmp_path / "copy")
    assert len(table([place, tmp_path / "copy", place.parent]).blocks[0].entries) == 4
    for name, size in (("a", 40), ("b", 48)):
        perturbation_test("embedded/plain", images, size=size, output=tmp_path / name, **SHORT)
    for name in ("true", "false"):
        options = {"explainer": f"gradcam:relu={name}", "limit": 4}
        perturbation_test("embedded/plain", images, output=tmp_path / "relu" / name, **options, **SHORT)
    names = sorted(entry.model for entry in table([tmp_path / "a", tmp_path / "b"]).blocks[0].entries)
    assert names == [f"embedded/plain ({tmp_path / name})" for name in ("a", "b")]
    maps = sorted(entry.maps for entry in table(tmp_path / "relu").blocks[0].entries)
    assert maps == ["gradcam:relu=False", "gradcam:relu=True"]


def test_another_picture_under_the_same_name_stands_apart(tmp_path):
    for name, colour in (("a", (200, 10, 10)), ("b", (10, 200, 10))):
        folder = tmp_path / name / "val" / "zero"
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (40, 40), colour if number else (1, 2, 3)).save(folder / f"{number}.bmp")
        perturbation_test("embedded/kd", tmp_path / name / "val", output=tmp_path / "runs" / name, **SHORT)
    first, second = table(tmp_path / "runs").blocks
    assert (first.reason, second.reason) == ("", "the image 'zero/1.bmp' is another picture under the same name")


def test_unfinished_and_damaged_runs_are_left_out_with_a_sentence(runs, tmp_path):
    for name in ("unfinished", "edited", "whole"):
        shutil.copytree(runs / "few", tmp_path / name)
    (tmp_path / "unfinished" / "summary.json").unlink()
    protocol = tmp_path / "edited" / "protocol.json"
    protocol.write_text(json.dumps({**json.loads(protocol.read_text()), "precision": "bf16"}))
    found = table(tmp_path)
    assert [len(block.entries) for block in found.blocks] == [1]
    edited, unfinished = found.left_out
    assert edited.startswith("left out: ") and "edited/protocol.json' was changed after it was written" in edited
    assert "unfinished' holds no finished run" in unfinished
    shutil.rmtree(tmp_path / "whole")
    with pytest.raises(XkdError, match=r"^runs: no finished run in .*; left out: .*was changed after"):
        table(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"scores": "mioo"}, "^scores: unknown score 'mioo'; expected one of clean_accuracy", id="score"),
        pytest.param({"sort": "fidelity.klx"}, "^sort: unknown score 'fidelity.klx'; nearest: fidelity.kl", id="sort"),
        pytest.param({"scores": 3}, "^scores: 3 found; expected a text or texts", id="no name"),
    ],
)
def test_unknown_scores_are_refused(runs, given, message):
    with pytest.raises(XkdError, match=message):
        table(runs, **given)


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(XkdError, match=r"^runs: .*there' is no directory; expected a run directory"):
        table(tmp_path / "there")
    with pytest.raises(XkdError, match=r"^runs: no finished run in .*; expected what `evaluate`, `compare`"):
        table(tmp_path)
    with pytest.raises(XkdError, match=r"^runs: none given"):
        table([])


def test_a_named_score_leaves_the_other_tests_out(runs):
    assert [block.test.name for block in table(runs, scores="fidelity.kl").blocks] == ["fidelity"]


def test_csv_holds_every_number(found, runs, tmp_path):
    found.write(tmp_path / "to" / "table.csv")
    read = pd.read_csv(tmp_path / "to" / "table.csv")
    pd.testing.assert_frame_equal(read, pd.read_csv(io.StringIO(found.scores.to_csv(index=False))))
    assert set(read["block"]) == {1, 2, 3, 4} and len(read) == 4 * 6 + 6 + 6 + 6


def test_names_from_outside_are_text_in_every_format(found, tmp_path):
    block = found.blocks[0]
    hostile = replace(block.entries[0], model="=a|b <i>\\input{x}_\x1b[31m", maps="50 % & more")
    odd = replace(found, blocks=(replace(block, entries=(hostile, *block.entries[1:])),))
    texts = {}
    for ending in (".csv", ".md", ".tex", ".html"):
        odd.write(tmp_path / f"t{ending}", intervals=False)
        texts[ending] = (tmp_path / f"t{ending}").read_text()
        assert "\x1b" not in texts[ending]
    assert "'=a|b" in texts[".csv"] and "=a\\|b \\<i\\>" in texts[".md"]
    assert r"\textbackslash{}input\{x\}\_" in texts[".tex"] and r"50 \% \& more" in texts[".tex"]
    assert "&lt;i&gt;" in texts[".html"] and "<i>" not in texts[".html"]
    assert " to " not in texts[".tex"].partition(r"\toprule")[2], "without intervals"
    assert texts[".tex"].count(r"\toprule") == 1 and r"$\uparrow$" in texts[".tex"]


def test_the_page_asks_for_nothing_from_outside_and_says_what_bold_is(found, tmp_path):
    found.write(tmp_path / "t.html")
    text = (tmp_path / "t.html").read_text()
    assert "http" not in text.replace("http-equiv", "") and "@@" not in text
    assert "claims no difference" in text and text.count("<table") == 4
    assert "Not to be compared with the first table of this test; these differ: fill mean instead of black." in text


def test_a_click_on_a_head_sorts_and_another_turns_around(found, tmp_path, open_page):
    found.write(tmp_path / "t.html")
    page = open_page(tmp_path / "t.html")
    place = page.locator("table").first

    def values(column: int) -> list[str]:
        return place.locator(f"tbody tr td:nth-child({column})").evaluate_all(
            "cells => cells.map(cell => cell.dataset.value ?? cell.textContent)"
        )

    place.get_by_role("button", name="Positive AUC ↓ (%)").click()
    numbers = [float(value) for value in values(5)]
    assert numbers == sorted(numbers), "lower is better, and the best comes first"
    place.get_by_role("button", name="Positive AUC ↓ (%)").click()
    assert [float(value) for value in values(5)] == sorted(numbers, reverse=True)
    place.get_by_role("button", name="Area between the curves ↑ (%)").click()
    numbers = [float(value) for value in values(4)]
    assert numbers == sorted(numbers, reverse=True), "higher is better"
    place.get_by_role("button", name="maps").click()
    assert values(2) == ["cam", "cam", "random", "random"]


def test_the_command_prints_or_writes(xkd_eval, runs):
    code, out, err = xkd_eval(runs, "--score", "clean_accuracy,kl")
    assert (code, err) == (0, "")
    assert "embedded/kd" in out and "claims no difference" in out.splitlines()[-1]
    assert out.count("Not to be compared with the first table of this test") == 2
    code, out, _ = xkd_eval(runs, "-o", "t.tex", "--no-intervals")
    assert (code, out) == (0, "table: t.tex\n") and Path("t.tex").is_file()
    code, _, err = xkd_eval(runs, "-o", "t.doc")
    assert code == 2 and err.startswith("error: --output: 't.doc' found; expected a file that ends in .csv, .md, .tex")
    code, _, err = xkd_eval(runs, "--sort", "x")
    assert code == 2 and err.startswith("error: --sort: unknown score 'x'; expected one of clean_accuracy")


def test_a_link_to_a_run_is_the_run_itself(runs, tmp_path):
    (tmp_path / "link").symlink_to(runs / "few")
    assert EvaluationResult.read(tmp_path / "link").model == "embedded/kd"
    assert len(table([tmp_path / "link", runs / "few"]).blocks[0].entries) == 1
