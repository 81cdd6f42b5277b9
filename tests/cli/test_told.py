"""What each model is fed with, on stderr: a line a model, by the options of the command at hand."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torchvision import models

from tests.quick_weights import quick_weights
from xkd_eval.cli import main
from xkd_eval.study import waiting

KD = "kd: input: 40x40 RGB, squash, bilinear, mean 0.3 0.3 0.3, std 0.2 0.2 0.2 (checkpoint)"
FOREIGN = "torchvision/squeezenet1_1,weights=w.pth"
LIMITED = ("--limit", "2", "--device", "cpu", "--workers", "0", "-o", "run")


@pytest.fixture
def told(monkeypatch, capsys, tmp_path):
    """Run xkd-eval beside w.pth and photo.png -> the lines on stderr."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 48), "navy").save("photo.png")
    with quick_weights():
        torch.save(models.squeezenet1_1(num_classes=10).state_dict(), "w.pth")

    def run(*arguments: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["xkd-eval", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        assert not ended.value.code
        captured = capsys.readouterr()
        assert ": input: " not in captured.out
        return captured.err.splitlines()

    return run


@pytest.mark.parametrize(
    "command",
    [
        ("perturbation", "-m", "embedded/kd", *LIMITED),
        ("segmentation", "-m", "embedded/kd", *LIMITED),
        ("evaluate", "embedded/kd", *LIMITED),
        ("compare", "embedded/kd", "kd=embedded/kd,size=40", *LIMITED),
    ],
    ids=lambda command: command[0],
)
def test_a_line_a_model(told, command):
    lines = told(*command)
    assert lines[0] in (KD, KD.replace("kd:", "kd (1):"), KD.replace("kd:", "kd #2:"))
    assert len(lines) == (2 if command[0] == "compare" else 1)


def test_of_single_photographs_and_of_a_models_own_account(told):
    alone = KD.replace("kd:", "embedded/kd:")
    assert told("overlay", "photo.png", "-m", "embedded/kd", "--device", "cpu") == [alone]
    assert told("inspect", "embedded/kd") == [alone]


def test_what_is_assumed_is_given_by_the_commands_options(told):
    (line,) = told("perturbation", "-m", "torchvision/squeezenet1_1", "--weights", "w.pth", "--size", "64", *LIMITED)
    assert line.startswith("warning: torchvision squeezenet1_1: input: 64x64 RGB, squash, bilinear, mean 0.485 ")
    assert line.endswith(
        "; mean and std are assumed, as nothing says what its weights were trained with: give --mean and --std"
    )
    (line,) = told("inspect", f"{FOREIGN},size=64,mean=0.5")
    assert line.endswith("; std is assumed, as nothing says what its weights were trained with: give --std")


def test_of_several_models_each_is_told_behind_its_own_name(told):
    lines = told("evaluate", "embedded/kd", f"{FOREIGN},size=64", *LIMITED)
    assert lines[0] == KD
    assert lines[1].startswith("warning: torchvision squeezenet1_1: input: 64x64 ")
    assert lines[1].endswith(f": write it as {FOREIGN},size=64,mean=...,std=...")


def test_whoever_says_all_is_not_warned(told):
    (line,) = told("evaluate", f"{FOREIGN},size=64,mean=0.5,std=0.25", *LIMITED)
    assert line.startswith("torchvision squeezenet1_1: input: 64x64 ") and "assumed" not in line


def test_a_note_names_the_commands_option(told, monkeypatch):
    ticks = count()
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: 10.0 * next(ticks)))
    monkeypatch.setattr(waiting, "_LEAST_IMAGES", 32)
    monkeypatch.setattr(waiting, "own_cores", lambda: 2)
    _, line = told("segmentation", "-m", "embedded/kd", *LIMITED, "--limit", "64")
    assert line == (
        "note: decoding gives 3.2 images/s in this process, and the models wait 50 % of the time for them; --workers 1 "
        "would keep them busy"
    )


def test_no_help_says_it(told):
    assert told("perturbation", "--help") == told("explainers") == []


def test_a_model_is_told_once_whatever_it_is_called(told):
    assert told("compare", "kd=embedded/kd", "again=embedded/kd", *LIMITED) == [KD]
    twice = ("-m", "embedded", "-m", "embedded/teacher")
    (line,) = told("overlay", "photo.png", *twice, "-o", "two.png", "--device", "cpu")
    assert line == KD.replace("kd:", "embedded:")


def test_of_two_files_of_weights_each_is_told(told):
    weights = ("--weights", "w.pth", "--weights", "again.pth", "--size", "64", "--mean", "0.5", "--std", "0.5")
    Path("again.pth").write_bytes(Path("w.pth").read_bytes())
    model = "torchvision/squeezenet1_1"
    assert len(told("compare", f"a={model}", f"b={model}", *weights, *LIMITED)) == 2
