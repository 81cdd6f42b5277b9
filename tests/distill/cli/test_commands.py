"""The command line: whole commands on good and bad input; exports."""

import json
import re
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file

from distill.students.export import export
from tests.distill.conftest import KD
from tests.distill.processes import ended, start, wait_for
from xkd_eval import load_classifier
from xkd_eval.errors import XkdError


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
        (
            ["train", "quickstart/plain", "--resume", "--overwrite"],
            "error: --resume: found beside --overwrite; give one of the two",
        ),
        (["train", "quickstart", "-o", "x"], "error: --output: names one directory"),
        (["train", "quickstart/plain", "--set", "epochs=x"], "error: quickstart/plain: epochs"),
        (["train", "quickstart/plain", "--device", "tpu"], "error: --device: 'tpu' found"),
        (["train", "quickstart/plain", "--teacher-weights", "x.pt"], "error: --teacher-weights"),
        (["evaluate", "none.pt"], "error: model: .*none.pt"),
        (["evaluate", "embedded", "--teacher", "none.pt", "--limit", "5"], "error: --teacher: .*none.pt"),
        (["evaluate", "embedded", "--limit", "5", "-o", "/proc/none/x.json"], "error: --output /proc/none/x.json"),
        (["export", "none.pt", "-o", "a.onnx"], "error: model: .*none.pt"),
        (["sweep", "none.yaml"], "error: sweep: 'none.yaml' cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(xkd_distill, arguments, message):
    code, _, err = xkd_distill(*arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert re.match(message, err.strip())


def test_ctrl_c_says_how_to_resume(recipe_file, tmp_path):
    process = start("-m", "distill", "train", recipe_file(epochs=500), "-o", tmp_path / "run")
    wait_for(tmp_path / "run" / "metrics.csv")
    process.send_signal(2)
    code, err = ended(process)
    assert code == 130
    assert "stopped in epoch" in err
    assert "the same command with --resume continues" in err
    assert "Traceback" not in err


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
    monkeypatch.setattr(
        "distill.students.export._run_tensors", lambda classifier, path, images: classifier(images) * 1.01
    )
    with pytest.raises(XkdError, match=r"the logits of a\.safetensors differ"):
        export(teacher, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(XkdError, match=r"expected \.safetensors or \.onnx"):
        export(teacher, tmp_path / "a.pb")
