"""Which trainings a command stands for, and where each lies."""

import pytest

from distill.runs.changes import RecipeChanges
from distill.runs.plan import plan_runs
from xkd_eval.errors import XkdError


def test_a_plan_gives_every_seed_its_directory(tmp_path):
    planned = plan_runs(["quickstart"], RecipeChanges(), tmp_path, seeds=(0, 2))
    assert [run.directory.relative_to(tmp_path).as_posix() for run in planned][:3] == [
        "quickstart/teacher/seed-0",
        "quickstart/teacher/seed-2",
        "quickstart/plain/seed-0",
    ]
    assert [run.recipe.seed for run in planned][:2] == [0, 2]


def test_what_the_command_line_changes(tmp_path):
    choices = RecipeChanges(data="/a b/c", teacher="t.pt", val_split=0.1, precision="bf16", overrides=("epochs=5",))
    plain, kd = (run.recipe for run in plan_runs(["quickstart/plain", "quickstart/kd"], choices, tmp_path))
    assert (kd.data.path, kd.data.val_split, kd.precision, kd.epochs) == ("/a b/c", 0.1, "bf16", 5)
    assert (kd.teacher.model, plain.teacher) == ("t.pt", None)
    without = RecipeChanges(teacher="t.pt", overrides=("losses=[{method: kd}]",))
    assert plan_runs(["quickstart/plain"], without, tmp_path)[0].recipe.teacher.model == "t.pt"
    with pytest.raises(XkdError, match="teacher: no loss of quickstart/plain distils"):
        plan_runs(["quickstart/plain"], choices, tmp_path)
    with pytest.raises(XkdError, match="output: names one directory, but 5 recipes"):
        plan_runs(["quickstart"], RecipeChanges(), tmp_path, output=tmp_path / "one")
