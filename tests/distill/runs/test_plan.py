"""Which trainings a command stands for, and where each lies."""

import sys

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


@pytest.mark.parametrize("loader", ["workers", "device"])
def test_options_are_over_the_recipe_and_overrides_over_options(tmp_path, loader):
    """A held-out part that an option asks for is there whatever the loader."""
    choices = RecipeChanges(data="d", teacher="t.pt", val_split=0.1, overrides=(f"data.loader={loader}",))
    (run,) = plan_runs(["quickstart/kd"], choices, tmp_path)
    assert (run.recipe.data.loader, run.recipe.data.val_split, run.recipe.data.path) == (loader, 0.1, "d")
    said = ("data.val_split=0.2", "teacher.model=u.pt", "data.path=e", "data.path=f", "precision=fp32")
    choices = RecipeChanges(data="d", teacher="t.pt", val_split=0.1, precision="bf16", overrides=said)
    (run,) = plan_runs(["quickstart/kd"], choices, tmp_path)
    recipe = run.recipe
    assert (recipe.data.val_split, recipe.teacher.model, recipe.data.path) == (0.2, "u.pt", "f")
    assert recipe.precision == "fp32"


def test_a_teacher_of_the_command_has_no_weights_of_the_recipes(tmp_path):
    said = ("teacher.preprocess={size: [40, 40]}",)
    (run,) = plan_runs(["quickstart/kd"], RecipeChanges(teacher="t.pt", overrides=said), tmp_path)
    assert (run.recipe.teacher.model, run.recipe.teacher.weights, run.recipe.teacher.recipe) == ("t.pt", None, None)
    assert run.recipe.teacher.preprocess == {"size": [40, 40]}
    with pytest.raises(XkdError, match=r"^teacher_weights: needs the architecture as `teacher`"):
        plan_runs(["quickstart/kd"], RecipeChanges(teacher_weights=tmp_path), tmp_path)


def test_an_engine_is_for_all_teachers_of_what_distils(tmp_path):
    by = RecipeChanges(teacher_engine="auto")
    plain, kd = (plan_runs([f"quickstart/{name}"], by, tmp_path)[0].recipe for name in ("plain", "kd"))
    assert (plain.teacher, kd.teacher.engine) == (None, "auto")
    others = ("teacher.engine=openvino",)
    (run,) = plan_runs(["quickstart/kd"], RecipeChanges(teacher_engine="auto", overrides=others), tmp_path)
    assert run.recipe.teacher.engine == "openvino"
    two = ("teacher=null", "teachers={a: {model: a.pt}, b: {model: b.pt}}", "losses=[{method: kd}]")
    (run,) = plan_runs(["quickstart/kd"], RecipeChanges(teacher_engine="auto", overrides=two), tmp_path)
    assert [teacher.engine for teacher in run.recipe.teachers.values()] == ["auto", "auto"]


def test_seeds_are_of_one_place(tmp_path):
    choices = RecipeChanges(overrides=("epochs=1", "seed=3"))
    assert plan_runs(["quickstart/kd"], choices, tmp_path)[0].recipe.seed == 3
    with pytest.raises(XkdError, match=r"^overrides: seed=3 found beside `seeds`; give one of the two$"):
        plan_runs(["quickstart/kd"], choices, tmp_path, seeds=(0, 1))


def test_imports_come_beside_the_recipes_own_and_are_imported(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "imported_by_a_plan.py").write_text("")
    choices = RecipeChanges(imports=(str(tmp_path / "imported_by_a_plan.py"), "json"), overrides=("imports=[json]",))
    (run,) = plan_runs(["quickstart/kd"], choices, tmp_path)
    assert run.recipe.imports == ("json", str(tmp_path / "imported_by_a_plan.py"))
    assert sys.modules.pop("imported_by_a_plan")


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
