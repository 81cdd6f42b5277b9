"""The command line: quick help, one-line errors with exit code 2 and nothing half-written, whole commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import torch
from PIL import Image
from torchvision import models

from xkd_eval.cli import main


@pytest.fixture
def xkd_eval(monkeypatch, capsys, tmp_path):
    """Run the console script in an empty directory -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xkd-eval", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_what_was_left_out_of_weights_is_said_once(xkd_eval, tmp_path):
    from xkd_eval.classifiers.architectures import build

    torch.save({**build("resnet8", 10).state_dict(), "criterion.weight": torch.ones(3)}, tmp_path / "w.pth")
    said = "weights: 1 key beside the network's was left out (criterion.weight)"
    code, printed, err = xkd_eval("inspect", "xkd/resnet8", "--weights", "w.pth")
    note, input_line = err.splitlines()
    assert (code, note) == (0, f"note: xkd/resnet8 (w): {said}") and input_line.endswith("(CIFAR-10's)")
    assert said in " ".join(printed.replace("│", " ").split())
    twice = ("a=xkd/resnet8", "b=xkd/resnet8", "--weights", "w.pth", "--weights", "w.pth", "--limit", "2")
    code, printed, err = xkd_eval("evaluate", *twice, "-o", "out")
    assert (code, err.count("note: ")) == (0, 1)


def _images(folder: Path, count: int = 2) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (40, 30), (80 * number, 120, 200)).save(folder / f"{number}.png")
    return folder


def _with_masks(folder: Path) -> Path:
    for name in ("images", "masks"):
        _images(folder / name)
    return folder


def _truncated_mat(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["value/img"] = torch.zeros(1000, 100).numpy()
    path.write_bytes(path.read_bytes()[:-5000])
    return path


def _nan_weights(path: Path) -> Path:
    state = models.resnet18(num_classes=10).state_dict()
    state["fc.weight"][3] = float("nan")
    torch.save(state, path)
    return path


BAD_INPUT = {
    "empty folder": (
        lambda here: ["perturbation", "-d", (here / "none").mkdir() or here / "none"],
        "not recognised; looked",
    ),
    "missing data": (lambda here: ["perturbation", "-d", "nowhere"], "'nowhere' does not exist"),
    "truncated .mat": (lambda here: ["segmentation", "-d", _truncated_mat(here / "a.mat")], "a.mat' is truncated"),
    "missing model": (lambda here: ["perturbation", "-m", "student.pt"], "'student.pt' does not exist"),
    "unknown model": (lambda here: ["perturbation", "-m", "timm/resnet5O"], "nearest: timm/resnet50"),
    "NaN weights": (
        lambda here: ["perturbation", "-m", "torchvision/resnet18", "--weights", _nan_weights(here / "w.pt")],
        "fc.weight",
    ),
    "another architecture": (
        lambda here: ["perturbation", "-m", "torchvision/resnet50", "--weights", _resnet18(here / "w.pt")],
        "does not fit",
    ),
    "no labels": (lambda here: ["perturbation", "-d", _images(here / "flat")], "has no labels"),
    "no labels for masks": (
        lambda here: ["perturbation", "-d", _with_masks(here / "seg")],
        "give a set with labels",
    ),
    "no labels to explain": (
        lambda here: ["segmentation", "-d", _with_masks(here / "seg"), "--target", "true"],
        "error: --target true: seg has no labels; leave it out",
    ),
    "no masks": (lambda here: ["segmentation", "-d", _images(here / "flat")], "has no masks"),
    "other classes": (lambda here: ["perturbation", "-d", _images(here / "tree/n01440764").parent], "--data"),
    "label out of range": (
        lambda here: ["perturbation", "-d", _images(here / "flat"), "--labels", _labels(here / "labels.txt", 10)],
        "0 to 9",
    ),
    "output is a file": (lambda here: ["segmentation", "--limit", "2", "-o", _file(here / "x")], "is no directory"),
    "output cannot be written": (lambda here: ["segmentation", "--limit", "2", "-o", "/proc/x"], "cannot be written"),
    "foreign output": (lambda here: ["segmentation", "--limit", "2", "-o", _images(here / "o")], "no run of this tool"),
    "explainer without its maps": (lambda here: ["perturbation", "--maps", here, "--limit", "2"], "no map for image"),
    "unknown option": (lambda here: ["perturbation", "--modle", "x"], "--modle"),
    "unknown protocol": (lambda here: ["perturbation", "--protocol", "published"], "'--protocol'"),
    "no images": (lambda here: ["perturbation", "--limit", "0"], "--limit: 0 found"),
    "unknown command": (lambda here: ["perturb"], "'perturb'"),
    "bad fractions": (lambda here: ["perturbation", "--fractions", "0.5,0.1"], "--fractions"),
    "bad size": (lambda here: ["perturbation", "--size", "64x"], "--size: got '64x'"),
    "bad class": (lambda here: ["overlay", "-d", "embedded", "--class", "eleven"], "--class: 'eleven'"),
    "bad format": (
        lambda here: ["overlay", "-d", "embedded", "-o", here / "f", "--format", "gif"],
        "error: --format: unk",
    ),
    "bad suffix": (lambda here: ["overlay", "-d", "embedded", "-o", "a.gif"], "a.gif"),
    "missing masks": (
        lambda here: ["evaluate", "embedded/kd", "--test", "segmentation", "--masks", "nowhere"],
        "error: --masks: 'nowhere' does not exist",
    ),
    "missing masks of a comparison": (
        lambda here: ["compare", "embedded/kd", "embedded/plain", "--masks", "nowhere"],
        "error: --masks: 'nowhere' does not exist",
    ),
    "unknown explainer of several": (
        lambda here: ["evaluate", "embedded/kd", "-e", "cam,gradcamm"],
        "error: --explainer: unknown 'gradcamm'",
    ),
    "unreadable photo": (lambda here: ["overlay", _file(here / "x.jpg")], "x.jpg"),
}


def _resnet18(path: Path) -> Path:
    torch.save(models.resnet18(num_classes=10).state_dict(), path)
    return path


def _labels(path: Path, label: int) -> Path:
    path.write_text("".join(f"{number}.png,{label}\n" for number in range(2)))
    return path


def _file(path: Path) -> Path:
    path.write_text("not what was expected")
    return path


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_ends_in_one_line_and_exit_code_2(xkd_eval, tmp_path, name):
    arguments, message = BAD_INPUT[name]
    code, _, errors = xkd_eval(*arguments(tmp_path))
    assert code == 2, errors
    lines = errors.splitlines()  # no empty one either
    assert len(lines) == 1 and lines[0].startswith("error: "), errors
    assert message in lines[0]
    assert not list(tmp_path.rglob("summary.json"))


def test_no_command_prints_the_help(xkd_eval):
    code, printed, errors = xkd_eval()
    assert "perturbation" in printed + errors
    assert "error" not in errors
    assert code == 2


def test_help_imports_nothing_heavy():
    script = (
        "import sys; sys.argv = ['xkd-eval', '--help']\n"
        "from xkd_eval.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'timm', 'matplotlib', 'pyarrow', 'captum', 'numpy'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "perturbation" in printed
    assert printed.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["perturbation", "segmentation", "overlay"])
def test_every_evaluation_has_examples_in_its_help(xkd_eval, command):
    code, printed, _ = xkd_eval(command, "--help")
    assert code == 0
    assert f"xkd-eval {command} --model student.pt" in printed


def test_a_run_prints_its_scores_and_is_found_again(xkd_eval, tmp_path):
    code, first, _ = xkd_eval("perturbation", "--limit", "6", "--no-floors")
    assert code == 0
    assert "Positive AUC ↓" in first and "95 % interval" in first
    (summary,) = tmp_path.glob("runs/perturbation/*/summary.json")
    before = summary.read_bytes()
    code, again, _ = xkd_eval("perturbation", "--limit", "6", "--no-floors")
    assert code == 0
    assert summary.read_bytes() == before
    assert again.splitlines()[-1].endswith(str(summary.parent.relative_to(tmp_path) / "report.html"))
    assert "<h1>embedded, cam: accuracy " in (summary.parent / "report.html").read_text()


def test_floors_stand_beside_a_run(xkd_eval, tmp_path):
    code, printed, _ = xkd_eval("segmentation", "--limit", "6", "-o", "run")
    assert code == 0
    floors = {
        path.name: json.loads((path / "summary.json").read_text()) for path in (tmp_path / "run/floors").iterdir()
    }
    assert set(floors) == {"random", "centre", "edges", "fake_cam", "oracle"}
    assert not list(tmp_path.glob("run/floors/*/*.p*f")) and (tmp_path / "run/precision_recall.pdf").is_file()
    best = max(floors[name]["miou"]["value"] for name in floors if name != "oracle")
    (line,) = (line for line in printed.splitlines() if "mIoU" in line)
    assert line.split("│")[4].split() == ["edges", f"{100 * best:.1f}"]
    code, printed, _ = xkd_eval("segmentation", "--limit", "6", "-o", "run", "--no-floors")
    assert code == 0 and "edges" not in printed


def test_unreadable_images_are_skipped_and_listed_or_an_error(xkd_eval, tmp_path):
    tree = tmp_path / "tree"
    for name in ("zero", "one"):
        _images(tree / name)
    (tree / "zero" / "empty.jpg").write_bytes(b"")
    (tree / "one" / "cut.png").write_bytes((tree / "one" / "0.png").read_bytes()[:60])
    code, printed, _ = xkd_eval("perturbation", "-d", tree, "-o", "run", "--no-floors")
    assert code == 0
    skipped = json.loads((tmp_path / "run/summary.json").read_text())["skipped"]
    assert {image["id"] for image in skipped["images"]} == {"zero/empty.jpg", "one/cut.png"}
    assert "2 images skipped, the first one/cut.png: truncated" in printed
    code, _, errors = xkd_eval("perturbation", "-d", tree, "-o", "strict", "--strict")
    assert code == 2
    assert "--strict" in errors and not (tmp_path / "strict/summary.json").exists()


def test_nothing_left_to_evaluate_is_an_error(xkd_eval, tmp_path):
    (tmp_path / "tree/zero").mkdir(parents=True)
    (tmp_path / "tree/zero/a.jpg").write_bytes(b"")
    code, _, errors = xkd_eval("perturbation", "-d", tmp_path / "tree", "-o", "run")
    assert code == 2
    assert "no image could be evaluated" in errors


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_overlays_by_file_and_by_folder(xkd_eval, tmp_path, suffix):
    photos = sorted(_images(tmp_path / "photos").iterdir())
    code, printed, _ = xkd_eval("overlay", *photos, "-m", "embedded", "-m", "embedded", "-o", f"both.{suffix}")
    assert code == 0 and (tmp_path / f"both.{suffix}").stat().st_size > 1000
    code, printed, _ = xkd_eval("overlay", *photos, "-o", "folder", "--format", suffix, "--class", "top:2")
    assert code == 0
    assert printed.splitlines() == [f"folder/0.{suffix}", f"folder/1.{suffix}", "report: folder/overlays.html"]


def test_inspect_and_explainers(xkd_eval):
    code, printed, _ = xkd_eval("inspect")
    assert code == 0 and "logits re-derived from the maps" in printed
    code, printed, _ = xkd_eval("explainers")
    assert code == 0 and "transformer_attribution" in printed and "CVPR 2016" in printed


def test_tests_are_listed_all_or_by_name(xkd_eval):
    assert "perturbation" in xkd_eval("tests")[1]
    code, printed, _ = xkd_eval("tests", "road", "sic")
    assert code == 0 and "Rong et al." in printed and "perturbation" not in printed
    code, _, errors = xkd_eval("tests", "raod")
    assert code == 2 and "unknown 'raod'; nearest: road" in errors and errors.count("\n") == 1


def test_bf16_that_is_emulated_is_said_to_be_slower(xkd_eval, monkeypatch):
    native = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: native)
    command = ("perturbation", "--precision", "bf16", "--device", "cpu", "--limit", "2", "--no-floors", "-o")
    assert "emulated" not in xkd_eval(*command, "native")[2]
    native["avx512_bf16"] = False
    code, _, errors = xkd_eval(*command, "emulated")
    assert code == 0 and "fp32 is faster" in errors


def test_overlay_and_inspect_take_the_corrections_of_a_models_input(xkd_eval, tmp_path):
    photo = _images(tmp_path / "photos") / "0.png"
    corrections = "--size 64 --interpolation bicubic --mean 103,116,123 --std 1 --channel-order BGR --value-range 255"
    code, printed, errors = xkd_eval("inspect", *corrections.split())
    assert code == 0, errors
    (said,) = errors.splitlines()
    shown = " ".join(printed.replace("│", " ").split())
    assert f" input {said.partition(': input: ')[2]} classes " in shown  # in the same words
    how = "--precision bf16 --workers 1 --batch-size 2 --seed 3"
    code, _, errors = xkd_eval("overlay", photo, "-o", "a.png", *corrections.split(), *how.split())
    assert code == 0, errors
    assert (tmp_path / "a.png").is_file()
