"""xkd-distill evaluate: what it prints, writes and refuses."""

import json
import re

import pandas as pd
import pytest
from PIL import Image


def test_everything_of_one_model(xkd_distill, tmp_path):
    files = ("-o", "s.json", "--predictions", "p.parquet", "--confusion", "c.pdf")
    code, printed, err = xkd_distill("evaluate", "kd=embedded/kd", "--limit", "40", "--device", "cpu", *files)
    input_line = "kd: input: 40x40 RGB, squash, bilinear, mean 0.3 0.3 0.3, std 0.2 0.2 0.2 (checkpoint)\n"
    assert (code, err) == (0, input_line)
    values = json.loads((tmp_path / "s.json").read_text())["models"]["kd"]
    for text in ("top-1, %", f"{100 * values['top1']:.2f}", "parameters", "19.2 k", "4.95 M", "taken for"):
        assert text in printed
    worst = sorted(values["classes"], key=lambda row: (row["accuracy"], row["class"]))
    assert "the 5 classes that are found worst" in printed
    assert re.findall(r"│ (\w+) +│ +4 │", printed) == [row["name"] for row in worst[:5]]
    assert len(pd.read_parquet(tmp_path / "p.parquet")) == 40
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF")


def test_every_class_of_several_models_and_their_teacher(xkd_distill, tmp_path):
    models = ("embedded/kd", "embedded/plain", "-t", "embedded", "--limit", "30", "--device", "cpu")
    code, printed, _ = xkd_distill("evaluate", *models, "--per-class", "--confusion", "c.csv", "-o", "t.md")
    assert code == 0
    assert len(re.findall(r"│ (\w+) +│ +3 │", printed)) == 10
    assert "KL to teacher, nats" in printed and "embedded (teacher)" in printed
    assert len(pd.read_csv(tmp_path / "c.csv")) == 3 * 10
    assert "| embedded/kd | embedded/plain | embedded (teacher) |" in (tmp_path / "t.md").read_text()


def test_one_file_twice_is_said(xkd_distill, teacher, cifar10, tmp_path):
    (tmp_path / "a.pt").write_bytes(teacher.read_bytes())
    code, printed, err = xkd_distill("evaluate", "a.pt", "./a.pt", "--data", cifar10)
    assert code == 0
    assert "a #2" in printed
    first, second, err = err.split("\n", 2)
    assert first.startswith("a: input: 32x32 BGR, ") and second.startswith("a #2: input: 32x32 BGR, ")
    assert err == f"note: 'a' and 'a #2' are one file, {tmp_path / 'a.pt'}\n"


def test_explanations_and_latency_in_the_one_table(xkd_distill):
    options = ("--measure", "segmentation", "--measure-limit", "3", "-e", "cam,random", "--latency")
    code, printed, _ = xkd_distill("evaluate", "embedded/kd", "--limit", "10", "--device", "cpu", *options)
    assert code == 0
    for text in ("Pointing game ↑, % (cam)", "Pointing game ↑, % (random)", "ms, one image", "float32"):
        assert text in printed
    assert "segmentation: 3 images of embedded-test" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.txt"], r"error: --output: 'x\.txt' found; expected a file that ends in \.json, \.csv, \.md"),
        (["--predictions", "x.csv"], r"error: --predictions: 'x\.csv' found; expected a file that ends in \.parquet"),
        (["--confusion", "x.json"], r"error: --confusion: 'x\.json' found"),
        (["--confusion", "x.csv", "-o", "x.csv"], r"error: --confusion: 'x\.csv' is the file of --output, too"),
        (["embedded", "--confusion", "x.png"], "error: --confusion: a figure shows one model, and 2 are given"),
        (["--measure", "segmentatoin"], "error: --measure: .*nearest: segmentation"),
        (["--measure", "segmentation", "-e", "none"], "error: --explainer: "),
        (["--measure-limit", "5"], "error: --measure-limit: found without --measure"),
        (["--measure", "segmentation", "--measure-data", "x"], "error: --measure-data: 'x' does not exist"),
        (["--split", "tets"], "error: Invalid value for '--split'"),
        (["--weights", "x.pth", "--weights", "y.pth"], "error: --weights: 2 files for 1 models"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(xkd_distill, tmp_path, arguments, message):
    code, printed, err = xkd_distill("evaluate", "embedded/kd", "--limit", "10", "--device", "cpu", *arguments)
    assert (code, printed) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert re.match(message, err), err
    assert not list(tmp_path.iterdir())


def test_nothing_is_advised_that_evaluate_has_no_option_for(xkd_distill, tmp_path):
    """Classes that are none of the model's: `xkd-eval` would be told of them by a class map."""
    for label in ("cat", "dog"):
        (tmp_path / "pets" / "test" / label).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "pets" / "test" / label / "1.png")
    code, _, err = xkd_distill("evaluate", "embedded/kd", "--data", "pets", "--device", "cpu")
    assert code == 2
    assert err.startswith("error: --data: none of the 2 labels of pets-test (cat, dog, ...) is among the 10 classes")
    _, page, _ = xkd_distill("evaluate", "--help")
    assert "class-map" not in err and "class_map" not in err
    assert all(option in page for option in re.findall(r"--[a-z-]+", err))


def test_a_file_that_cannot_be_written_costs_no_other(xkd_distill, tmp_path):
    (tmp_path / "file").touch()
    files = ("-o", "file/s.json", "--predictions", "p.parquet")
    code, printed, err = xkd_distill("evaluate", "embedded/kd", "--limit", "10", "--device", "cpu", *files)
    assert code == 2
    assert err.startswith("error: --output")
    assert printed == "" or (tmp_path / "p.parquet").is_file()
