"""Both sides of a gate: models, run directories and folders of them; what is written; how the command ends."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from xkd_eval import check, compare, evaluate, perturbation_test, save_checkpoint, segmentation_test, table
from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.cli import main
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError

SHORT = {"fractions": (0.5,)}


@pytest.fixture(scope="module")
def images():
    return EmbeddedDataset("test", size=24)


@pytest.fixture(scope="module")
def study(tmp_path_factory, images) -> Path:
    """What `evaluate -o` leaves: two tests of two models on their CAMs and on random maps, and one of pairs."""
    output = tmp_path_factory.mktemp("study")
    tests = ["perturbation", "segmentation", "fidelity"]
    models = ["embedded/teacher", "embedded/plain"]
    evaluate(models, images, tests=tests, explainers=["cam", "random"], output=output, **SHORT)
    return output


@pytest.fixture
def xkd_eval(monkeypatch, capsys, tmp_path):
    """Run the console script in an empty directory -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xkd-eval", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def test_two_models_are_scored_beside_each_other_by_the_tests_of_a_comparison(images):
    gate = check("embedded/teacher", "embedded/plain", images, margins={"default": 90, "miou": 0}, **SHORT)
    assert list(gate.scores["score"]) == ["clean_accuracy", "between.auc_common", "miou", "pointing_game"]
    assert list(gate.scores["margin"]) == [90, 90, 0, 90]
    assert (gate.baseline, gate.candidate, gate.n_images) == (
        "teacher",
        "plain",
        {"perturbation": 24, "segmentation": 24},
    )


def test_the_interval_is_that_of_a_comparison(images, study):
    gate = check(f"{study},model=embedded/teacher", f"{study},model=embedded/plain", explainer="cam")
    runs = {name: next(study.glob(f"runs/segmentation/embedded_{name}-cam*")) for name in ("teacher", "plain")}
    found = compare(runs).differences.set_index("score")
    for row in gate.scores[gate.scores["test"] == "segmentation"].itertuples():
        assert [row.difference, row.low, row.high] == pytest.approx(
            [100 * found.loc[row.score, name] for name in ("value", "low", "high")]
        )


def test_a_folder_says_whose_runs_are_meant(study):
    with pytest.raises(XkdError, match=r"^baseline: .* holds runs of embedded/plain and embedded/teacher; say whose"):
        check(study, study, explainer="cam")
    with pytest.raises(XkdError, match=r"^candidate: .* holds no runs of kd; it holds those of embedded/plain and"):
        check(f"{study},model=embedded/plain", f"{study},model=kd", explainer="cam")
    gate = check(f"{study},model=embedded/teacher", f"{study},model=embedded/plain", explainer="random")
    assert {row.test for row in gate.verdicts} == {"perturbation"}
    assert gate.left_out == (
        "fidelity is left out: it holds a model against a reference, and says nothing of one alone",
        # Random maps are the same whatever the model, and so are their rows, which are kept once.
        "segmentation is left out: there is no run of it of embedded/plain",
    )
    with pytest.raises(XkdError, match=r"^baseline: .* holds no maps of gradcam; it holds those of cam"):
        check(f"{study},model=embedded/teacher", f"{study},model=embedded/plain", explainer="gradcam")


@pytest.mark.parametrize("turned", [False, True], ids=["baseline", "candidate"])
def test_a_model_beside_a_run_directory_is_evaluated_by_its_rules(images, study, turned):
    recorded = f"teacher={study},model=embedded/teacher"
    sides = ("embedded/plain", recorded) if turned else (recorded, "embedded/plain")
    gate = check(*sides, images, explainer="cam")
    both = check(f"{study},model=embedded/teacher", f"{study},model=embedded/plain", explainer="cam")
    sign = -1 if turned else 1
    assert [row.difference for row in gate.verdicts] == pytest.approx([sign * row.difference for row in both.verdicts])
    assert check(recorded, "embedded/teacher", images, margins=0, explainer="cam").verdict == "pass", "the same model"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"protocol": "exp-kd", "interpolation": "bicubic", "fill": "mean"}, id="published rules, changed"),
        pytest.param({"target": "true", "resize": "crop", "direction": "positive"}, id="a target and a geometry"),
        pytest.param({"explainer": "gradcam:relu=false", "limit": 4}, id="an explainer with an option"),
        pytest.param({"limit": 10, "size": 48}, id="a sample, and an input of its own"),
    ],
)
def test_rules_maps_and_sample_are_derived_of_what_the_run_records(images, tmp_path, options):
    perturbation_test("embedded/plain", images, output=tmp_path / "run", figures=False, **SHORT, **options)
    own = {name: value for name, value in options.items() if name == "size"}
    gate = check(tmp_path / "run", "embedded/plain", images, margins={"clean_accuracy": 0}, **own)
    assert (gate.verdict, gate.n_images) == ("pass", {"perturbation": options.get("limit", 24)})


def test_a_run_that_ended_early_is_no_baseline_of_a_model(tmp_path):
    """The candidate would be scored on all images, and the two could not be compared."""
    segmentation_test("embedded/teacher", "embedded", until=10, output=tmp_path / "run", figures=False)
    with pytest.raises(XkdError, match=r"^baseline: its run directory ended after 200 images \(`until`\); give both"):
        check(tmp_path / "run", "embedded/plain", "embedded")


def test_other_images_are_refused_with_what_differs(images, study, tmp_path):
    recorded = f"{study},model=embedded/teacher"
    with pytest.raises(XkdError, match=r"^data: embedded-test, 20 images, digest .* is of embedded-test, 24 images"):
        check(recorded, "embedded/plain", EmbeddedDataset("test", size=20), explainer="cam")
    perturbation_test("embedded/plain", images, output=tmp_path / "run", figures=False, fill="mean", **SHORT)
    with pytest.raises(XkdError, match=r"^candidate: .*cannot be compared; these differ: protocol.hash, protocol.fill"):
        check(recorded, tmp_path / "run", explainer="cam")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fill": "mean"}, "^fill: the run directory of `baseline` says it"),
        ({"target": "true"}, "^target: the run directory of `baseline` says it"),
        ({"tests": "perturbation"}, "^tests: those of baseline's run directory are asked about"),
        ({"maps": "there"}, "^maps: a gate has no use for it"),
        ({"explainer": "edges"}, "^baseline: .* holds no maps of edges"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_what_a_run_says_is_no_option(images, study, options, message):
    with pytest.raises(XkdError, match=message):
        check(f"{study},model=embedded/teacher", "embedded/plain", images, **{"explainer": "cam", **options})


def test_a_mistyped_margin_costs_no_evaluation(images, study, tmp_path):
    for baseline in ("embedded/teacher", f"{study},model=embedded/teacher"):
        with pytest.raises(XkdError, match=r"^margins: unknown score 'mioo'; nearest: segmentation.miou"):
            check(baseline, "embedded/kd", images, margins={"mioo": 1}, explainer="cam", runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_an_option_of_the_explainer_says_which_of_two_runs_is_meant(images, tmp_path):
    for relu in ("true", "false"):
        options = {"tests": "segmentation", "explainers": f"gradcam:relu={relu}", "limit": 4}
        evaluate("embedded/kd", images, output=tmp_path / "runs", **options)
    with pytest.raises(XkdError, match=r"^baseline: .* holds several runs of segmentation, of other rules, maps or"):
        check(tmp_path / "runs", "embedded/kd", images, explainer="gradcam")
    assert check(tmp_path / "runs", "embedded/kd", images, explainer="gradcam:relu=false", margins=0).verdict == "pass"


def test_what_a_study_asked_for_its_own_sake_is_no_test(images, tmp_path):
    """Grids are made of what the models answered to the photographs, which is kept as a run of its own."""
    evaluate("embedded/kd", images, tests="grid_pointing:confidence=0.2", output=tmp_path, limit=20)
    assert {place.name for place in (tmp_path / "runs").iterdir()} == {"answers", "grid_pointing"}
    gate = check(tmp_path, "embedded/kd", images, margins=0, limit=20)
    assert [(row.name, row.verdict) for row in gate.verdicts] == [("grid_pointing.grid_pointing", "pass")]
    found = table(tmp_path)
    assert ([block.test.name for block in found.blocks], found.left_out) == (["grid_pointing"], ())


def test_a_test_of_pairs_alone_is_refused(images):
    with pytest.raises(XkdError, match=r"^tests: fidelity is left out: it holds a model against a reference"):
        check("embedded/kd", "embedded/plain", images, tests="fidelity")


def test_two_runs_leave_nothing_to_compute(images, study):
    with pytest.raises(XkdError, match=r"^limit: nothing is computed again of run directories"):
        check(f"{study},model=embedded/teacher", f"{study},model=embedded/plain", limit=4)
    with pytest.raises(XkdError, match=r"^seed: 'x' found; expected a whole number"):
        check(f"{study},model=embedded/teacher", f"{study},model=embedded/plain", seed="x")


def test_unfinished_damaged_and_no_runs_are_refused(study, tmp_path):
    whole = f"{study},model=embedded/plain"
    (tmp_path / "empty").mkdir()
    with pytest.raises(XkdError, match=r"^baseline: .*empty' holds no run"):
        check(tmp_path / "empty", whole, explainer="cam")
    copy = shutil.copytree(study, tmp_path / "copy")
    place = next(copy.glob("runs/segmentation/embedded_teacher-cam*"))
    (place / "summary.json").unlink()
    with pytest.raises(XkdError, match=r"^baseline: .* holds no finished run"):
        check(f"{copy},model=embedded/teacher", whole, explainer="cam")
    protocol = json.loads((place / "protocol.json").read_text())
    (place / "protocol.json").write_text(json.dumps({**protocol, "precision": "bf16"}))
    with pytest.raises(XkdError, match=r"^baseline: .*protocol.json' was changed after it was written"):
        check(f"{copy},model=embedded/teacher", whole, explainer="cam")
    pairs = next(study.glob("runs/fidelity/embedded_plain*"))
    with pytest.raises(XkdError, match=r"^candidate: .*fidelity is left out: it holds a model against a reference"):
        check(whole, pairs, explainer="cam")


def test_tests_that_one_side_lacks_are_named_and_none_in_common_is_refused(study):
    perturbed = next(study.glob("runs/perturbation/embedded_teacher-cam*"))
    gate = check(perturbed, f"plain={study},model=embedded/plain", explainer="cam")
    assert gate.left_out[-1] == f"segmentation is left out: there is no run of it of {perturbed.name}"
    segmented = next(study.glob("runs/segmentation/embedded_plain-cam*"))
    with pytest.raises(XkdError, match=r"^candidate: the runs of .* have no test in common"):
        check(perturbed, segmented)


def test_exit_codes_say_the_verdict_and_the_sentence_comes_last(xkd_eval, study):
    runs = [f"{study},model=embedded/{name}" for name in ("teacher", "plain")]
    named = ["-e", "cam", "--margin"]
    code, out, err = xkd_eval(*runs, *named, "miou=90")
    last = "pass: embedded/plain is no worse than embedded/teacher by more than the margin in segmentation.miou"
    assert (code, err, out.splitlines()[-1]) == (0, "", last)
    assert len(out.splitlines()) == 7, "a line a score, and what a table has around it"
    code, out, _ = xkd_eval(*runs, *named, "pointing_game=0.1")
    assert code == 3 and out.splitlines()[-1].startswith("undecided: the images do not decide whether ")
    code, _, err = xkd_eval(*runs, *named, "mioo=1")
    assert code == 2 and err.startswith("error: --margin: unknown score 'mioo'; nearest: segmentation.miou")


def test_a_model_that_is_clearly_worse_ends_with_one(xkd_eval):
    """Random weights beside the teacher's: the accuracy is that of guessing."""
    known = read_checkpoint(Path(str(files("xkd_eval.assets"))) / "teacher.pt")
    state = {name: torch.rand_like(v) if v.is_floating_point() else v for name, v in known.state_dict.items()}
    save_checkpoint(replace(known, state_dict=state), "broken.pt")
    short = ("--limit", 24, "--fractions", 0.5, "--test", "perturbation")
    code, out, _ = xkd_eval("embedded/teacher", "broken.pt", *short)
    assert code == 1
    assert out.splitlines()[-1].startswith(
        "fail: broken is worse than teacher by more than the margin in perturbation."
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("two", "error: --margin: 'two' found; expected a number, or SCORE=NUMBER"),
        ("=2", "error: --margin: '=2' found; expected a number, or SCORE=NUMBER"),
        ("-1", "error: --margin: -1.0 found; expected a number of at least 0"),
        ("nan", "error: --margin: nan found; expected a number of at least 0"),
    ],
)
def test_margins_are_read_or_refused_in_one_line(xkd_eval, study, given, message):
    runs = [f"{study},model=embedded/{name}" for name in ("teacher", "plain")]
    code, _, err = xkd_eval(*runs, "-e", "cam", f"--margin={given}")
    assert (code, err.strip()) == (2, message)
    code, _, err = xkd_eval(*runs, "-e", "cam", "--margin", "1", "--margin", "2")
    assert (code, err.strip()) == (2, "error: --margin: one is given twice; leave one out")


def test_the_summary_and_the_xml_say_each_score(xkd_eval, study):
    runs = [f"{study},model=embedded/{name}" for name in ("teacher", "plain")]
    written = ["--summary", "to/check.md", "--junit", "to/check.xml"]
    code, *_ = xkd_eval(*runs, "-e", "cam", "--margin", "miou=90", "--margin", "pointing_game=0.1", *written)
    assert code == 3
    text = Path("to/check.md").read_text()
    assert text.startswith("**undecided**: the images do not decide whether embedded/plain is worse than embedded/teac")
    table = [line.split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert table[0][0] == "| score" and [row[0] for row in table[2:]] == [
        "| segmentation.miou",
        "| segmentation.pointing_game",
    ]
    suite = ElementTree.parse("to/check.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "1")
    assert [(case.get("classname"), case.get("name"), [inner.tag for inner in case]) for case in suite] == [
        ("segmentation", "miou", []),
        ("segmentation", "pointing_game", ["error"]),
    ]
    code, _, err = xkd_eval(*runs, "-e", "cam", "--summary", study)
    assert code == 2 and err.startswith(f"error: --summary: '{study}' cannot be written")


def test_names_from_outside_are_text_in_every_format(study, tmp_path):
    name = "a|b <i>\x1b[31m\ufffe"
    runs = {f"{name}{place}": f"{study},model=embedded/{model}" for place, model in enumerate(("teacher", "plain"))}
    gate = check(*(f"{key}={run}" for key, run in runs.items()), explainer="cam")
    gate.write_summary(tmp_path / "s.md")
    gate.write_junit(tmp_path / "j.xml")
    assert "a\\|b \\<i\\>" in (tmp_path / "s.md").read_text()
    suite = ElementTree.parse(tmp_path / "j.xml").getroot()[0]
    said = "a|b <i>\\x1b[31m\ufffd"
    assert suite.get("name") == f"{said}1 against {said}0"
    assert "&lt;i&gt;" in gate._repr_html_() and "\x1b" not in gate._repr_html_()
