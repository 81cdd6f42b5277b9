"""Which trainings a sweep stands for, in which order, and what a file, a grid and the command line change."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from distill.methods import METHODS
from distill.runs.changes import RecipeChanges
from distill.runs.plan import plan_runs
from distill.runs.sweep_file import SweepChanges, SweepFile, read_sweep
from distill.runs.sweep_plan import plan_sweep
from tests.distill.conftest import KD, values_of
from tests.distill.runs.sweeps import sweep_file
from xkd_eval.errors import XkdError


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
        ({"recipe": []}, "nothing reads the key 'recipe'; nearest: recipes"),
        ({"recipes": []}, r"sweep: .*: recipes: \[\] found; list should have at least 1 item"),
        ({"seeds": []}, "seeds: .* at least 1 item"),
        ({"seeds": [0, 1, 0]}, r"seeds: .*\[0, 1, 0\] found; expected different seeds"),
        ({"seeds": [True]}, "seeds.0: True found; input should be a valid integer"),
        ({"grid": {"variant": []}}, "grid.variant: .* at least 1 item"),
        ({"variants": {"../a": []}}, "variants: '../a' found; expected a name without '/'"),
        ({"recipes": ["{a}{b}"], "grid": {k: list(range(101)) for k in "ab"}}, "fills .* in more than 10,000 ways"),
        ({"stages": [{"recipes": ["quickstart/plain"]}]}, "recipes and stages: give one of the two"),
        ({"recipes": ["{method}/cifar100"]}, "names 'method', which grid does not hold"),
        ({"grid": {"variant": ["kd"]}}, "needs the teacher of .*neither among its recipes"),
        ({"set": ["epoch=1"]}, "nothing reads the key 'epoch'"),
    ],
)
def test_wrong_sweeps_are_errors(tmp_path, cifar10, changes, message):
    with pytest.raises(XkdError, match=message):
        plan_sweep(read_sweep(sweep_file(tmp_path, cifar10, **changes)), tmp_path / "out")


def labels_of(sweep, directory, **choices):
    runs = plan_sweep(SweepFile.model_validate(sweep), directory, SweepChanges(**choices))
    return [run.directory.relative_to(directory).as_posix() for run in runs]


def test_runs_are_in_the_files_order_seeds_outermost_and_teachers_before_their_students(tmp_path):
    recipes = ["kd/cifar100/resnet56-resnet20", "ce/cifar100/resnet20", "teacher/cifar100/resnet56"]
    assert labels_of({"recipes": recipes, "seeds": [3, 1]}, tmp_path) == [
        "teacher/cifar100/resnet56/seed-3",
        "teacher/cifar100/resnet56/seed-1",
        "kd/cifar100/resnet56-resnet20/seed-3",
        "ce/cifar100/resnet20/seed-3",
        "kd/cifar100/resnet56-resnet20/seed-1",
        "ce/cifar100/resnet20/seed-1",
    ]


STAGES = {
    "stages": [
        {"recipes": ["ce/cifar100/resnet20"]},
        {"recipes": ["teacher/cifar100/{net}", "ce/cifar100/resnet20"], "grid": {"net": ["vgg13"]}, "seeds": [0, 2]},
        {"recipes": ["ce/cifar100/{net}"], "seeds": [4]},
    ],
    "grid": {"net": ["vgg8", "resnet8x4"]},
    "seeds": [1],
}


def test_stages_follow_each_other(tmp_path):
    assert labels_of(STAGES, tmp_path) == [
        "ce/cifar100/resnet20/seed-1",
        "teacher/cifar100/vgg13/seed-0",
        "ce/cifar100/resnet20/seed-0",
        "teacher/cifar100/vgg13/seed-2",
        "ce/cifar100/resnet20/seed-2",
        "ce/cifar100/vgg8/seed-4",
        "ce/cifar100/resnet8x4/seed-4",
    ]


def test_seeds_of_the_command_line_are_those_of_every_stage(tmp_path):
    assert labels_of(STAGES, tmp_path, seeds=(7,)) == [
        "ce/cifar100/resnet20/seed-7",
        "teacher/cifar100/vgg13/seed-7",
        "ce/cifar100/vgg8/seed-7",
        "ce/cifar100/resnet8x4/seed-7",
    ]


def test_the_command_line_has_the_last_word(tmp_path, cifar10):
    file = sweep_file(tmp_path, cifar10, data="elsewhere", set=["epochs=3", "batch_size=16"])
    choices = SweepChanges(data="here", overrides=("epochs=2",))
    for run in plan_sweep(read_sweep(file), tmp_path / "out", choices):
        assert (run.recipe.data.path, run.recipe.epochs, run.recipe.batch_size) == ("here", 2, 16)
        assert f"seed-{run.recipe.seed}" == run.directory.name
    with pytest.raises(XkdError, match=r"^overrides: seed=9 found beside `seeds`; give one of the two$"):
        plan_sweep(read_sweep(file), tmp_path / "out", SweepChanges(overrides=("seed=9",)))


def test_the_published_sweep_is_that_of_the_evidence(tmp_path):
    sweep = read_sweep(Path(__file__).parents[3] / "benchmarks/recipes/cifar100_published.yaml")
    runs = plan_sweep(sweep, tmp_path)
    labels = [run.directory.relative_to(tmp_path).as_posix() for run in runs]
    pair = "cifar100/resnet56-resnet20"
    assert labels[:6] == [
        "teacher/cifar100/resnet56/seed-0",
        "ce/cifar100/resnet20/seed-0",
        f"kd/{pair}/seed-0",
        f"exp-kd/{pair}/seed-0",
        "ce/cifar100/resnet20/seed-1",
        f"kd/{pair}/seed-1",
    ]
    pairs = ["resnet56-resnet20", "resnet32x4-resnet8x4", "vgg13-vgg8", "wrn40_2-wrn16_2"]
    methods = ["kd", "cat-kd", "dkd", "exp-kd", "kd-exp-kd"]
    expected = [f"ce/cifar100/{name.rpartition('-')[2]}" for name in pairs]
    expected += [f"{method}/cifar100/{name}" for method in methods for name in pairs]
    teachers = [f"teacher/cifar100/{name.partition('-')[0]}/seed-0" for name in pairs]
    assert set(labels) == {*teachers, *(f"{name}/seed-{seed}" for name in expected for seed in (0, 1, 2))}
    assert all((run.recipe.epochs, run.recipe.batch_size) == (240, 64) for run in runs)
    capturable = {METHODS[loss.method].capturable for run in runs for loss in run.recipe.losses}
    assert capturable == {True}


def test_two_recipes_of_one_directory_are_refused(tmp_path, monkeypatch, cifar10):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    for folder in (tmp_path, tmp_path / "other"):
        (folder / "mine.yaml").write_text(yaml.safe_dump({"recipe": values_of(cifar10, epochs=1)}))
    for twice in (["mine.yaml", "other/mine.yaml"], ["mine.yaml", "./mine.yaml"]):
        message = rf"^recipe: {twice[0]!r} and {twice[1]!r} would both be trained in .*mine"
        with pytest.raises(XkdError, match=message):
            plan_sweep(SweepFile.model_validate({"recipes": twice}), tmp_path / "out")
        with pytest.raises(XkdError, match=message):
            plan_runs(twice, RecipeChanges(), tmp_path / "out")


def test_any_name_of_a_data_set_comes_through(tmp_path, cifar10):
    name = "d\N{GRINNING FACE}\x85: 'x'"
    file = sweep_file(tmp_path, cifar10, recipes=["quickstart/plain"], grid={})
    (run, *_) = plan_sweep(read_sweep(file), tmp_path / "out", SweepChanges(data=name))
    assert run.recipe.data.path == name
    with pytest.raises(XkdError, match=r"^data: .*half a character"):
        plan_sweep(read_sweep(file), tmp_path / "out", SweepChanges(data="d\udcff"))


GRID = {"method": ["kd", "dkd"], "losses.kd.weight": [0.5, 0.9], "compile": [True, False]}


def test_a_grid_sets_any_key(tmp_path):
    """A loss's weight where the loss is; a recipe that others learn from is trained once, as it is."""
    recipes = ["{method}/cifar100/vgg13-vgg8", "teacher/cifar100/vgg13"]
    runs = plan_sweep(SweepFile.model_validate({"recipes": recipes, "grid": GRID}), tmp_path)
    found = {run.directory.relative_to(tmp_path).as_posix(): run for run in runs}
    kd, dkd = (f"{method}/cifar100/vgg13-vgg8" for method in ("kd", "dkd"))
    assert list(found) == [
        "teacher/cifar100/vgg13/seed-0",
        f"{kd}/losses.kd.weight=0.5,compile=true/seed-0",
        f"{kd}/losses.kd.weight=0.5,compile=false/seed-0",
        f"{kd}/losses.kd.weight=0.9,compile=true/seed-0",
        f"{kd}/losses.kd.weight=0.9,compile=false/seed-0",
        f"{dkd}/compile=true/seed-0",
        f"{dkd}/compile=false/seed-0",
    ]
    run = found[f"{kd}/losses.kd.weight=0.9,compile=true/seed-0"]
    assert (run.recipe.losses[1].weight, run.recipe.compile) == (0.9, True)
    assert run.settings == {"method": "kd", "losses.kd.weight": 0.9, "compile": True}
    assert found["teacher/cifar100/vgg13/seed-0"].settings == {}


def test_directories_of_a_grid_are_told_apart_and_are_no_paths(tmp_path):
    values = {
        "teacher.model": ["timm/resnet18", "../a", "x" * 300, "x" * 301],
        "ema_decay": [None, 0.5],
        "student.architecture": ["resnet8", "RESNET8"],
        "student.arguments.shortcut": [1, "1", True, 1.0],
        "student.preprocess.size": [[32, 32], [64, 48]],
    }
    sweep = {"recipes": ["quickstart/kd"], "grid": values}
    runs = plan_sweep(SweepFile.model_validate(sweep), tmp_path)
    names = {run.directory.parent.name for run in runs}
    assert len({name.casefold() for name in names}) == len(runs) == 4 * 2 * 2 * 4 * 2
    assert {run.directory.parents[1] for run in runs} == {tmp_path / "quickstart/kd"}
    assert all(len(name.encode()) < 256 for name in names)
    assert {type(run.recipe.student.arguments["shortcut"]) for run in runs} == {int, str, bool, float}
    assert {run.recipe.ema_decay for run in runs} == {None, 0.5}
    assert [tuple(run.recipe.student.preprocess["size"]) for run in runs[:2]] == [(32, 32), (64, 48)]


@pytest.mark.parametrize(
    ("grid", "more", "message"),
    [
        ({"losses.kdd.weight": [1]}, {}, "grid holds 'losses.kdd.weight', and no recipe has that loss; nearest: kd"),
        ({"metod": [1]}, {}, "grid holds 'metod', which no name of a recipe and no recipe has"),
        ({"optimiser.lr": [1]}, {}, "optimiser: nothing reads the key 'lr'"),
        ({"seed": [1]}, {}, "grid holds seed; give `seeds`"),
        ({"epochs": [1, 1]}, {}, "grid.epochs: 1 stands there 2 times"),
        ({"epochs": [[1]]}, {}, "epochs: .1. found; input should be"),
        (
            {"epochs": [1, 2]},
            {"variants": {"short": ["epochs=3"]}},
            "grid holds 'epochs', and a variant",
        ),
        ({}, {"set": ["seed=3"]}, "set: seed=3 found beside `seeds`"),
        ({}, {"variants": {"a": ["seed=3"]}}, "variants: a: seed=3 found beside `seeds`"),
        ({"epochs": list(range(1, 200)), "batch_size": list(range(1, 200))}, {}, "more than 10,000 runs"),
    ],
)
def test_wrong_grids_are_errors(tmp_path, cifar10, grid, more, message):
    (tmp_path / "one.yml").write_text(
        yaml.safe_dump({"recipe": values_of(cifar10, losses=KD, teacher={"model": "t.pt"})})
    )
    (tmp_path / "sweep.yml").write_text(yaml.safe_dump({"recipes": [str(tmp_path / "one.yml")], "grid": grid} | more))
    with pytest.raises(XkdError, match=message):
        plan_sweep(read_sweep(tmp_path / "sweep.yml"), tmp_path / "out")


def test_the_command_does_not_change_what_a_directory_says(tmp_path):
    sweep = SweepFile.model_validate({"recipes": ["quickstart/kd"], "grid": {"data.path": ["a", "b"]}})
    with pytest.raises(XkdError, match=r"^sweep: grid holds 'data.path', and a variant or the command sets"):
        plan_sweep(sweep, tmp_path, SweepChanges(data="c", teacher="t.pt"))


def test_a_file_and_a_command_change_what_train_can_be_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "for_a_sweep.py").write_text("")
    content = {"recipes": ["quickstart/plain", "quickstart/kd"], "teacher": "timm/resnet18", "precision": "bf16"}
    content |= {"teacher_weights": "w.pt", "imports": ["for_a_sweep.py"], "set": ["data.loader=workers"]}
    content |= {"teacher_engine": "auto"}
    (tmp_path / "sweep.yml").write_text(yaml.safe_dump(content | {"val_split": 0.25}))
    plain, kd = (run.recipe for run in plan_sweep(read_sweep(tmp_path / "sweep.yml"), tmp_path / "out"))
    assert plain.teacher is None
    assert (kd.teacher.model, kd.teacher.weights, kd.teacher.recipe) == ("timm/resnet18", "w.pt", None)
    assert kd.teacher.engine == "auto"
    for recipe in (plain, kd):
        assert (recipe.data.loader, recipe.data.val_split, recipe.precision) == ("workers", 0.25, "bf16")
        assert recipe.imports == (str(tmp_path / "for_a_sweep.py"),)
    changes = SweepChanges(teacher="t.pt", precision="fp32", val_split=0.5, imports=("json",))
    _, kd = (run.recipe for run in plan_sweep(read_sweep(tmp_path / "sweep.yml"), tmp_path / "out", changes))
    assert (kd.teacher.model, kd.teacher.weights, kd.precision, kd.data.val_split) == ("t.pt", None, "fp32", 0.5)
    assert kd.imports == (str(tmp_path / "for_a_sweep.py"), "json")
    sys.modules.pop("for_a_sweep")


def test_teachers_lie_in_the_sweep_or_among_the_runs(tmp_path):
    sweep = SweepFile.model_validate({"recipes": ["quickstart/kd"]})
    with pytest.raises(
        XkdError, match=r"needs the teacher of 'quickstart/teacher', .* nor in .*out or .*runs; add the"
    ):
        plan_sweep(sweep, tmp_path / "out", runs=tmp_path / "runs")
    for place in ("runs", "out"):  # what the sweep has itself comes first
        (tmp_path / place / "quickstart" / "teacher").mkdir(parents=True)
        (tmp_path / place / "quickstart" / "teacher" / "student.pt").touch()
        (run,) = plan_sweep(sweep, tmp_path / "out", runs=tmp_path / "runs")
        assert run.runs == tmp_path / place


def test_a_recipe_that_would_learn_from_itself_is_refused(tmp_path, cifar10):
    teacher = {"recipe": f"{tmp_path / 'pairs.yaml'}:teacher"}
    file = sweep_file(tmp_path, cifar10, set=[f"teacher={json.dumps(teacher)}", "losses=[{method: ce}, {method: kd}]"])
    with pytest.raises(
        XkdError, match=r"^sweep: pairs/teacher would learn from itself; set the teacher of its students"
    ):
        plan_sweep(read_sweep(file), tmp_path / "out")
