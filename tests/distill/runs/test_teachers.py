"""The student that a recipe's training has left is what another recipe's teacher is, and nothing else is."""

import shutil

import pytest
import yaml

from distill.recipe.files import load_recipe
from distill.runs.teachers import student_of
from distill.training.train import train
from tests.distill.conftest import KD, values_of
from xkd_eval.errors import XkdError


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cifar10, teacher):
    """Recipes in "pair.yaml", and the runs of both."""
    folder = tmp_path_factory.mktemp("runs")
    variants = {"plain": {}, "kd": {"losses": KD, "teacher": {"model": str(teacher)}}}
    file = folder / "pair.yaml"
    file.write_text(yaml.safe_dump({"recipe": values_of(cifar10, epochs=1), "variants": variants}))
    for name in variants:
        train(load_recipe(f"{file}:{name}", ["batch_size=50"]), folder / "runs" / "pair" / name, device="cpu")
    return folder


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of the runs."""
    return shutil.copytree(trained / "runs", tmp_path / "runs")


def exchange(plain, kd):
    shutil.copy(kd / "student.pt", plain)


def unfinish(plain, kd):
    (plain / "result.json").unlink()


def leave_a_student(plain, kd):
    for name in ("result.json", "last.pt"):
        (plain / name).unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (exchange, r"student.pt is not what the training wrote"),
        (unfinish, r"is of no finished training; finish it by `xkd-distill train .*:plain --resume`"),
        (leave_a_student, r"is of no finished training"),
    ],
)
def test_what_the_recipe_has_not_trained_is_no_teacher(trained, runs, damage, message):
    recipe = f"{trained / 'pair.yaml'}:plain"
    assert student_of(recipe, runs) == runs / "pair" / "plain" / "student.pt"
    damage(runs / "pair" / "plain", runs / "pair" / "kd")
    with pytest.raises(XkdError, match=f"^teacher: .*{message}"):
        student_of(recipe, runs)


def test_a_seed_that_has_finished_is_taken_before_one_that_has_not(trained, runs):
    plain = runs / "pair" / "plain"
    shutil.copytree(plain, plain / "seed-1")
    (plain / "result.json").unlink()
    assert student_of(f"{trained / 'pair.yaml'}:plain", runs) == plain / "seed-1" / "student.pt"
