"""distill as a library: its public names, their examples, and what a training gives back."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import pydoc
import subprocess
import sys

import matplotlib
import pytest
import torch
import yaml

import distill
from distill import testing
from tests.distill.conftest import KD, values_of
from xkd_eval.errors import XkdError

matplotlib.use("agg")
PUBLIC = {**{name: getattr(distill, name) for name in distill.__all__}, "check_method": testing.check_method}


def examples(thing: object, name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(thing, name, module=inspect.getmodule(thing))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_examples_of_a_public_name_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = examples(PUBLIC[name], name)
    assert found, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    told: list[str] = []
    for test in found:
        test.globs = {}
        runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)


def test_dir_and_help_show_the_public_names():
    assert set(distill.__all__) == set(dir(distill)) == set(distill._HOME)
    assert list(distill.__all__) == sorted(distill.__all__)
    shown = pydoc.plain(pydoc.render_doc(distill))
    for name in distill.__all__:
        assert f" {name}" in shown, name


HEAVY = ("torch", "torchvision", "timm", "matplotlib", "pandas", "accelerate", "sympy")


def test_the_package_and_its_commands_are_imported_without_what_they_may_need():
    code = f"""
import sys, distill, distill.cli, distill.cli.job
from distill import Recipe, load_recipe
load_recipe("quickstart/kd")
try:
    distill.cli.app(["recipes"], standalone_mode=False)
    distill.cli.app(["train", "--help"], standalone_mode=False)
finally:
    print([name for name in {HEAVY!r} if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "[]", ended.stderr


def test_a_training_brings_only_what_it_uses():
    code = f"""
import sys, distill
from distill import Method, TrainingResult, register, train
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "['torch', 'accelerate']", ended.stderr


@pytest.fixture(scope="module")
def result(cifar10, teacher, tmp_path_factory):
    values = values_of(cifar10, losses=KD, teacher={"model": str(teacher)})
    return distill.train(values, tmp_path_factory.mktemp("api") / "run", device="cpu")


def test_a_result_shows_what_it_came_to(result):
    top1 = f"{100 * result.result['last']['test_top1']:.1f} %"
    for shown in (repr(result), result._repr_html_()):
        assert top1 in shown
        assert str(result.directory) in shown
        assert "epoch" in shown
    assert len(repr(result).splitlines()) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.directory = None


def test_a_result_gives_metrics_student_and_figure(result):
    metrics = result.metrics
    assert metrics["epoch"].tolist() == [1, 2]
    assert metrics["test_top1"].iloc[-1] == pytest.approx(result.result["last"]["test_top1"])
    losses, accuracy = result.plot().axes
    assert [line.get_label() for line in losses.lines] == ["ce", "kd"]
    assert accuracy.lines[0].get_ydata().tolist() == (100 * metrics["test_top1"]).tolist()
    assert result.path == result.directory / "student.pt"
    student = result.student()
    assert student.num_classes == 10
    assert not any(parameter.requires_grad for parameter in student.parameters())


def test_a_recipe_is_given_in_any_way(result, cifar10, teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = values_of(cifar10, losses=KD, teacher={"model": str(teacher)})
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"recipe": values}))
    expected = result.student().model.state_dict()
    runs = {
        "file": distill.train(tmp_path / "mine.yaml", device="cpu"),
        "recipe": distill.train(result.recipe, "as-recipe", device="cpu"),
        "overrides": distill.train({**values, "epochs": 5}, "overridden", overrides=["epochs=2"], device="cpu"),
    }
    assert runs["file"].directory.as_posix() == "runs/mine"
    for way, run in runs.items():
        assert run.recipe == result.recipe, way
        for name, value in run.student().model.state_dict().items():
            assert torch.equal(value, expected[name]), (way, name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("quickstrat",), "^recipe: 'quickstrat' is unknown; nearest: quickstart"),
        (({"epochs": 1}, "run"), "^recipe: data: missing; add it"),
        (({},), "^recipe: data: missing"),
    ],
)
def test_what_is_no_recipe_is_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(XkdError, match=message) as error:
        distill.train(*arguments)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_recipe_without_a_name_needs_a_directory(result):
    with pytest.raises(XkdError, match=r"^output: missing"):
        distill.train(result.recipe)
