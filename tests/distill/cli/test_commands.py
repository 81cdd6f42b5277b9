"""The command line: whole commands on good and bad input; exports."""

import json
import re
import subprocess
import sys

import pytest
import torch
import yaml

from distill import train
from distill.cli import app
from distill.cli.job import main
from distill.cli.options import seed_numbers
from distill.runs.directory import hold
from distill.runs.job import TrainingJob, read_jobs, write_jobs
from distill.runs.layout import directory_name, seed_directory
from distill.runs.sweep import run_sweep
from tests.distill.conftest import EXP_KD, KD, write_cifar10
from tests.distill.processes import ended, start, wait_for
from xkd_eval.cli.console import Command
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
    scores = json.loads((tmp_path / "scores.json").read_text())["models"]
    for student in students:
        result = json.loads((student.parent / "result.json").read_text())
        assert scores[f"mine/{student.parent.name}"]["top1"] == pytest.approx(result["last"]["test_top1"])
        assert scores[f"mine/{student.parent.name}"]["agreement"] == pytest.approx(result["last"]["test_agreement"])
        assert f"{100 * result['last']['test_top1']:.2f}" in printed


def test_a_finished_run_is_not_given_for_another_one(xkd_distill, recipe_file, teacher, cifar10, tmp_path):
    """What differs is named, and by the options of the command."""
    file = recipe_file(losses=KD, epochs=1)
    command = ("train", file, "--device", "cpu")
    assert xkd_distill(*command, "--teacher", teacher)[0] == 0
    student = tmp_path / "runs" / "mine" / "student.pt"
    other = write_cifar10(tmp_path / "other", train_images=100)
    copy = tmp_path / "copy.pt"
    before = copy.write_bytes(student.read_bytes()) and student.read_bytes()
    for changes, message in (
        (("--teacher", copy), "holds a run with another teacher; give the --teacher that it had"),
        (("--teacher", "none.pt"), "--teacher: 'none.pt' does not exist"),
        (("--teacher", teacher, "--data", other), "other training images, .*; give the --data that it was on"),
        (("--teacher", teacher, "--data", "none"), "--data: 'none' does not exist"),
        (
            ("--teacher", teacher, "--val-split", "0.5", "--set", "batch_size=16"),
            "these differ: data.val_split, batch",
        ),
    ):
        code, printed, err = xkd_distill(*command, *changes)
        assert (code, printed, len(err.strip().splitlines())) == (2, "", 1)
        assert re.search(message, err)
        assert student.read_bytes() == before
    assert xkd_distill(*command, "--teacher", teacher)[0] == 0
    assert xkd_distill(*command, "--teacher", teacher, "--data", other, "--overwrite")[0] == 0
    assert student.read_bytes() != before


NETS = """
from torch import nn


def make(num_classes=10):
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    return nn.Sequential(*layers)
"""


def test_other_weights_under_the_same_name_are_another_teacher(xkd_distill, recipe_file, tmp_path):
    (tmp_path / "a_net.py").write_text(NETS)
    namespace: dict = {}
    exec(NETS, namespace)
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(namespace["make"]().state_dict(), tmp_path / f"{seed}.pth")
    command = ("train", recipe_file(losses=KD, epochs=1), "--device", "cpu", "--import", "a_net.py", "--force")
    command = (*command, "--teacher", "py:a_net:make", "--set", "teacher.preprocess={size: [32, 32]}")
    weights = tmp_path / "weights.pth"
    for seed, code in ((0, 0), (1, 2), (0, 0)):
        weights.write_bytes((tmp_path / f"{seed}.pth").read_bytes())
        found, _, err = xkd_distill(*command, "--teacher-weights", weights)
        assert found == code, err
        assert code == 0 or "holds a run with another teacher" in err


def test_a_students_module_is_imported_for_training_and_evaluation(
    xkd_distill, recipe_file, cifar10, tmp_path, monkeypatch
):
    """From a folder of its own, through the recipe that a run leaves."""
    path = [*sys.path]

    def run_afresh(*arguments):
        monkeypatch.setattr(sys, "path", [*path])
        sys.modules.pop("tiny_net", None)
        return xkd_distill(*arguments)

    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "tiny_net.py").write_text(NETS)
    file = recipe_file(student={"architecture": "py:tiny_net:make", "preprocess": {"size": [32, 32]}}, epochs=1)
    code, _, err = run_afresh("train", file, "--device", "cpu", "--import", "nets/tiny_net.py")
    assert code == 0, err
    run = tmp_path / "runs" / "mine"
    imports = yaml.safe_load((run / "recipe.yaml").read_text())["recipe"]["imports"]
    assert imports == [str(tmp_path / "nets" / "tiny_net.py")]
    assert run_afresh("train", run / "recipe.yaml", "-o", "again", "--device", "cpu")[0] == 0
    for command in (
        ("evaluate", run / "student.pt", "--data", cifar10, "--device", "cpu"),
        ("export", run / "student.pt", "-o", "student.safetensors"),
    ):
        assert run_afresh(*command)[0] == 2
        assert run_afresh(*command, "--import", "nets/tiny_net.py")[0] == 0
    code, _, err = xkd_distill("train", file, "--import", "nets/none.py")
    assert code == 2
    assert re.match(r"error: --import: .*none.py' does not exist; give a file", err)


def test_a_student_without_a_cam_head_is_advised_nothing_that_train_lacks(xkd_distill, recipe_file, teacher, tmp_path):
    net = "from torch import nn\n\n\ndef make(num_classes):\n"
    (tmp_path / "flat_net.py").write_text(f"{net}    return nn.Sequential(nn.Flatten(), nn.Linear(768, num_classes))\n")
    student = {"architecture": "py:flat_net:make", "preprocess": {"size": [16, 16]}}
    file = recipe_file(student=student, losses=EXP_KD, teacher={"model": str(teacher)})
    code, _, err = xkd_distill("train", file, "--device", "cpu")
    assert code == 2
    assert re.match("error: student: py:flat_net:make has no CAM head, which a method needs: ", err)
    assert "explainer" not in err


def test_recipes_prints_what_there_is(xkd_distill):
    _, listed, _ = xkd_distill("recipes")
    assert listed.count("quickstart") == listed.count("resnet34-resnet18, resnet50-mobilenetv1") == 1
    assert re.search(r"2 variants: resnet34-resnet18.*\n(?:(?!.* variants: ).*\n)*kd/imagenet  .*Hinton", listed)
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
        (["evaluate", "none.pt"], "error: models: .*none.pt"),
        (["evaluate", "embedded", "--teacher", "none.pt", "--limit", "5"], "error: --teacher: .*none.pt"),
        (["evaluate", "embedded", "--limit", "5", "-o", "/proc/none/x.json"], "error: --output.*/proc/none/x.json"),
        (["export", "none.pt", "-o", "a.onnx"], "error: model: .*none.pt"),
        (["sweep", "none.yaml"], "error: sweep: 'none.yaml' does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(xkd_distill, arguments, message):
    code, _, err = xkd_distill(*arguments)
    assert code == 2
    (err,) = [line for line in err.splitlines() if ": input: " not in line]  # of models, where work was done
    assert re.match(message, err.strip())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "quickstart", "--nonsense"], "error: No such option: --nonsense"),
        (
            ["train", "quickstart", "--devices", "none"],
            "error: Invalid value for '--devices': ",
        ),
        (["train", "quickstart", "--devices", "0"], "error: Invalid value for '--devices': "),
        (["train", "quickstart", "--precision", "fp8"], "error: Invalid value for '--precision': "),
        (["train"], "error: Missing argument '"),
        (["export", "student.pt"], "error: Missing option '--output'"),
        (["evaluate", "embedded", "--limit", "x"], "error: Invalid value for '--limit': "),
        (["sweep", "sweep.yaml", "-j", "0"], "error: Invalid value for '--jobs'"),
        (["trian"], "error: No such command 'trian'"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(xkd_distill, arguments, message):
    code, printed, err = xkd_distill(*arguments)
    assert (code, printed) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert err.startswith(message)


def test_every_command_names_its_own_options_in_errors():
    assert {command.cls for command in app.registered_commands} == {Command}


def test_a_file_of_trainings_is_made_or_refused_in_one_line(recipe_of, tmp_path, capsys):
    job = TrainingJob("mine", recipe_of(epochs=1), tmp_path / "run", tmp_path, "cpu")
    write_jobs([job], tmp_path / "jobs.yaml")
    assert read_jobs(tmp_path / "jobs.yaml") == [job]
    (tmp_path / "other.yaml").write_text("recipe: {}")
    for arguments, expected in (
        ([tmp_path / "jobs.yaml"], (0, "mine, seed 0: epoch 1/1, ")),
        ([tmp_path / "none.yaml"], (2, "error: job: .*none.yaml' does not exist")),
        ([tmp_path / "other.yaml"], (2, "error: job: .*other.yaml' holds no trainings")),
        ([], (2, "error: job: expected one file of trainings")),
    ):
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, arguments)))
        err = capsys.readouterr().err.strip()
        assert ended.value.code == expected[0]
        assert re.match(expected[1], err)
        assert len(err.splitlines()) == 1
    assert (tmp_path / "run" / "student.pt").is_file()


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_to_a_sweep_is_one_line(recipe_file, tmp_path, number):
    recipe, sweep = str(recipe_file(epochs=500)), tmp_path / "sweep.yaml"
    sweep.write_text(json.dumps({"recipes": [recipe], "seeds": [0]}))
    process = start("-m", "distill", "sweep", sweep, "-o", tmp_path / "runs")
    run = seed_directory(tmp_path / "runs" / directory_name(recipe), 0)
    wait_for(run / "metrics.csv")
    with pytest.raises(XkdError, match="is in use by another process"):  # the run's own, which the sweep has started
        hold(run)
    with pytest.raises(XkdError, match=rf"is in use by another process \(number {process.pid}\)"):
        run_sweep([], tmp_path / "runs")
    process.send_signal(number)
    code, err = ended(process)
    assert code == 128 + number
    assert err.splitlines()[-1] == "interrupted; what is done is kept: the same command continues"
    hold(run).close()  # nobody trains any more


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_says_how_to_resume(recipe_file, tmp_path, number):
    process = start("-m", "distill", "train", recipe_file(epochs=500), "-o", tmp_path / "run")
    wait_for(tmp_path / "run" / "metrics.csv")
    process.send_signal(number)
    code, err = ended(process)
    assert code == 128 + number
    *epochs, said = err.splitlines()
    assert all(": epoch " in line for line in epochs)
    assert said.startswith("stopped in epoch")
    assert said.endswith("the same command with --resume continues")


@pytest.mark.parametrize("text", ["0,00", "1,1", "1,x", ""])
def test_seeds_are_different_numbers(text):
    with pytest.raises(XkdError, match=r"^seeds: .* expected different whole numbers"):
        seed_numbers(text)


def test_an_output_is_no_input(xkd_distill, teacher, cifar10, tmp_path):
    copy = tmp_path / "s.pt"
    copy.write_bytes(teacher.read_bytes())
    for arguments in (("evaluate", copy, "--data", cifar10, "-o", copy), ("evaluate", copy, "--workers", "9999")):
        code, _, err = xkd_distill(*arguments)
        assert code == 2 and ("is one of the inputs" in err or "1024" in err)
    with pytest.raises(XkdError, match="resume: found beside `overwrite`"):
        train("quickstart/plain", tmp_path / "out", resume=True, overwrite=True)
    assert copy.read_bytes() == teacher.read_bytes()


def test_a_teacher_is_not_trained_over(recipe_of, teacher, tmp_path):
    copy = tmp_path / "out" / "student.pt"
    copy.parent.mkdir()
    copy.write_bytes(teacher.read_bytes())
    recipe = recipe_of(teacher={"model": str(copy)}, losses=KD)
    with pytest.raises(XkdError, match=r"^output: .*student\.pt' is one of the inputs"):
        train(recipe, copy.parent, overwrite=True)
    assert copy.read_bytes() == teacher.read_bytes()
