"""The command line: whole commands on good and bad input; sweeps; exports."""

import csv
import json
import re
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest
import torch
import yaml
from safetensors.torch import load_file

from distill.cli import main
from distill.export import export
from distill.sweep import plan_sweep, read_sweep, run_sweep
from tests.distill.conftest import KD, values_of
from xkd_eval import load_classifier
from xkd_eval.errors import XkdError


@pytest.fixture
def xkd_distill(tmp_path, monkeypatch):
    """Run a command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["xkd-distill", *map(str, arguments)])
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        return ended.value.code or 0, out.getvalue(), err.getvalue()

    return run


def test_help_is_quick():
    command = [sys.executable, "-c", "import sys, distill.cli; print('torch' in sys.modules)"]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "False"


def test_train_then_evaluate_with_a_teacher(xkd_distill, recipe_file, teacher, cifar10, tmp_path):
    file = recipe_file(losses=KD, teacher={"model": str(teacher)}, epochs=1)
    code, printed, _ = xkd_distill("train", file, "--device", "cpu", "--seeds", "0,1")
    assert code == 0
    assert "0, 1" in printed
    assert "±" in printed
    students = [tmp_path / "runs" / "mine" / f"seed-{seed}" / "student.pt" for seed in (0, 1)]
    code, printed, _ = xkd_distill("evaluate", *students, "--data", cifar10, "-t", teacher, "-o", "scores.json")
    assert code == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    for student in students:
        result = json.loads((student.parent / "result.json").read_text())
        assert scores[str(student)]["top1"] == pytest.approx(result["last"]["test_top1"])
        assert scores[str(student)]["agreement"] == pytest.approx(result["last"]["test_agreement"])
        assert f"{100 * result['last']['test_top1']:.2f}" in printed


def test_recipes_prints_what_there_is(xkd_distill):
    assert "quickstart" in xkd_distill("recipes")[1]
    assert "exp_kd" in xkd_distill("recipes", "--methods")[1]
    code, printed, _ = xkd_distill("recipes", "quickstart/kd", "--set", "epochs=3")
    assert code == 0
    assert yaml.safe_load(printed)["recipe"]["epochs"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "quickstrat"], "error: recipe: 'quickstrat' is unknown; nearest: quickstart"),
        (["train", "kd/cifar100/vgg13-vgg8"], "error: --data: missing"),
        (["train", "ce/cifar10/resnet20", "--data", "none"], "error: --data"),
        (["train", "quickstart/plain", "--seeds", "0,0"], "error: --seeds: '0,0' found"),
        (["train", "quickstart/plain", "--resume", "--overwrite"], "error: --resume and --overwrite"),
        (["train", "quickstart", "-o", "x"], "error: -o: names one directory"),
        (["train", "quickstart/plain", "--set", "epochs=x"], "error: quickstart/plain: epochs"),
        (["train", "quickstart/plain", "--device", "tpu"], "error: --device: 'tpu' found"),
        (["train", "quickstart/plain", "--teacher-weights", "x.pt"], "error: --teacher-weights"),
        (["evaluate", "none.pt"], "error: --model: .*none.pt"),
        (["evaluate", "embedded", "--teacher", "none.pt", "--limit", "5"], "error: --teacher: .*none.pt"),
        (["evaluate", "embedded", "--limit", "5", "-o", "/proc/none/x.json"], "error: -o /proc/none/x.json"),
        (["export", "none.pt", "-o", "a.onnx"], "error: --model: .*none.pt"),
        (["sweep", "none.yaml"], "error: sweep: 'none.yaml' cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(xkd_distill, arguments, message):
    code, _, err = xkd_distill(*arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert re.match(message, err.strip())


def test_ctrl_c_says_how_to_resume(recipe_file, tmp_path):
    command = [sys.executable, "-m", "distill", "train", str(recipe_file(epochs=500)), "-o", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "metrics.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(2)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped in epoch" in err
    assert "the same command with --resume continues" in err
    assert "Traceback" not in err


def sweep_file(tmp_path, cifar10, **changes):
    rows = {
        "teacher": {},
        "kd": {"teacher": {"recipe": str(tmp_path / "pairs.yaml") + ":teacher"}, "losses": KD},
    }
    (tmp_path / "pairs.yaml").write_text(yaml.safe_dump({"recipe": values_of(cifar10, epochs=1), "rows": rows}))
    content = {"recipes": [str(tmp_path / "pairs.yaml:{row}")], "grid": {"row": ["kd", "teacher"]}, "seeds": [0, 1]}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content | changes))
    return tmp_path / "sweep.yaml"


def test_a_sweep_trains_teachers_first_and_is_not_run_twice(tmp_path, cifar10, xkd_distill):
    file = sweep_file(tmp_path, cifar10)
    code, _, err = xkd_distill("sweep", file, "-o", "out", "--jobs", "2", "--device", "cpu")
    assert (code, err.strip()) == (0, "")
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert [(row["run"], row["seed"]) for row in rows] == [
        ("pairs/teacher", "0"),
        ("pairs/teacher", "1"),
        ("pairs/kd", "0"),
        ("pairs/kd", "1"),
    ]
    assert all(float(row["last_test_agreement"]) >= 0 for row in rows if row["run"] == "pairs/kd")
    assert "| pairs/kd | 0, 1 |" in (tmp_path / "out" / "results.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("student.pt")}
    (tmp_path / "out" / "pairs" / "kd" / "seed-1" / "result.json").unlink()
    code, _, _ = xkd_distill("sweep", file, "-o", "out", "--device", "cpu")
    assert code == 0
    changed = [path for path, stamp in before.items() if path.stat().st_mtime_ns != stamp]
    assert [path.parent.name for path in changed] == ["seed-1"]


def test_a_run_that_fails_does_not_stop_the_others(tmp_path, cifar10):
    optimiser = {"optimiser": {"name": "sgd", "learning_rate": 1e12}}
    rows = {"good": {}, "bad": optimiser}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"recipe": values_of(cifar10, epochs=1), "rows": rows}))
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"recipes": [str(tmp_path / "two.yaml")]}))
    runs = plan_sweep(read_sweep(tmp_path / "sweep.yaml"), tmp_path / "out", "cpu")
    result = run_sweep(runs, tmp_path / "out", jobs=1)
    assert [outcome.name for outcome in result.outcomes] == ["two/good"]
    ((place, reason),) = result.failed
    assert place.parent.name == "bad"
    assert "the loss ce is not finite" in reason


def test_variants_are_runs_of_their_own(tmp_path, cifar10):
    file = sweep_file(tmp_path, cifar10, variants={"hot": ["losses.kd.temperature=8"], "cold": ["epochs=2"]})
    runs = plan_sweep(read_sweep(file), tmp_path / "out")
    labels = [run.directory.relative_to(tmp_path / "out").as_posix() for run in runs]
    assert labels[:2] == ["pairs/teacher/seed-0", "pairs/teacher/seed-1"]
    assert set(labels[2:]) == {f"pairs/kd/{name}/seed-{seed}" for name in ("hot", "cold") for seed in (0, 1)}
    hot = next(run for run in runs if "hot" in run.name)
    assert hot.recipe.losses[1].options["temperature"] == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": []}, "nothing reads the key 'recipe' .*nearest: recipes"),
        ({"recipes": []}, "recipes of"),
        ({"recipes": ["{method}/cifar100"]}, "names 'method', which grid does not hold"),
        ({"grid": {"row": ["kd"]}}, "needs the teacher of .*neither among its recipes"),
        ({"set": ["epoch=1"]}, "nothing reads the key 'epoch'"),
    ],
)
def test_wrong_sweeps_are_errors(tmp_path, cifar10, changes, message):
    with pytest.raises(XkdError, match=message):
        plan_sweep(read_sweep(sweep_file(tmp_path, cifar10, **changes)), tmp_path / "out")


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_exports_give_the_same_logits(teacher, tmp_path, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    output = tmp_path / f"student{suffix}"
    assert export(teacher, output) < 1e-4
    classifier = load_classifier(teacher)
    images = torch.randn(5, 3, 32, 32)
    if suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(output))
        logits = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        assert json.loads(session.get_modelmeta().custom_metadata_map["preprocess"])["channel_order"] == "BGR"
        torch.testing.assert_close(logits, classifier(images), rtol=1e-4, atol=1e-4)
    else:
        assert load_file(output).keys() == classifier.model.state_dict().keys()
        again = load_classifier("xkd/resnet8", weights=output)
        torch.testing.assert_close(again(images), classifier(images))


def test_an_export_that_differs_leaves_nothing(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.export._run_tensors", lambda classifier, path, images: classifier(images) * 1.01)
    with pytest.raises(XkdError, match=r"the logits of a\.safetensors differ"):
        export(teacher, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(XkdError, match=r"expected \.safetensors or \.onnx"):
        export(teacher, tmp_path / "a.pb")
