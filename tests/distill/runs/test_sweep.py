"""Sweeps: the order of their runs, what the command line changes, what is run again and what is not."""

import csv
import re
from pathlib import Path

import pytest
import yaml

from distill.methods import METHODS
from distill.recipe.files import load_recipe
from distill.runs.changes import RecipeChanges
from distill.runs.child import _opened, why_ended
from distill.runs.job import read_jobs
from distill.runs.plan import plan_runs
from distill.runs.sweep import _in_its_words, run_sweep
from distill.runs.sweep_file import SweepChanges, SweepFile, read_sweep
from distill.runs.sweep_plan import plan_sweep
from tests.distill.conftest import KD, values_of
from tests.distill.processes import Ended, run_here
from xkd_eval.errors import XkdError


def sweep_file(tmp_path, cifar10, **changes):
    variants = {
        "teacher": {},
        "kd": {"teacher": {"recipe": str(tmp_path / "pairs.yaml") + ":teacher"}, "losses": KD},
    }
    (tmp_path / "pairs.yaml").write_text(yaml.safe_dump({"recipe": values_of(cifar10, epochs=1), "variants": variants}))
    content = {
        "recipes": [str(tmp_path / "pairs.yaml:{variant}")],
        "grid": {"variant": ["kd", "teacher"]},
        "seeds": [0, 1],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content | changes))
    return tmp_path / "sweep.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cifar10):
    """A sweep of two rows x two seeds, its directory, and (runs done, runs in results.csv) at each report."""
    folder = tmp_path_factory.mktemp("sweep")
    file, directory, seen = sweep_file(folder, cifar10), folder / "out", []

    def progress(done, total, where):
        results = directory / "results.csv"
        seen.append((done, len(list(csv.DictReader(results.open()))) if results.is_file() else 0))

    runs = plan_sweep(read_sweep(file), directory)
    result = run_sweep(runs, directory, jobs=2, device="cpu", progress=progress)
    assert not result.failed
    return file, directory, seen


@pytest.fixture
def without_processes(monkeypatch):
    """Run the trainings of a sweep in this process."""
    monkeypatch.setattr("distill.runs.child.start", run_here)


def test_a_sweep_trains_teachers_first_and_is_not_run_twice(finished, xkd_distill):
    file, directory, _ = finished
    rows = list(csv.DictReader((directory / "results.csv").open()))
    assert [(row["run"], row["seed"]) for row in rows] == [
        ("pairs/teacher", "0"),
        ("pairs/teacher", "1"),
        ("pairs/kd", "0"),
        ("pairs/kd", "1"),
    ]
    assert all(float(row["last_test_agreement"]) >= 0 for row in rows if row["run"] == "pairs/kd")
    assert "| pairs/kd | kd | 0, 1 |" in (directory / "results.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("student.pt")}
    (directory / "pairs" / "kd" / "seed-1" / "result.json").unlink()
    code, _, err = xkd_distill("sweep", file, "-o", directory, "--jobs", "2", "--device", "cpu")
    assert (code, err.strip()) == (0, "")
    changed = [path for path, stamp in before.items() if path.stat().st_mtime_ns != stamp]
    assert [path.parent.name for path in changed] == ["seed-1"]


def test_results_are_written_as_they_come(finished):
    _, _, seen = finished
    assert {done for done, _ in seen} >= {0, 4}
    assert all(done == written for done, written in seen)


def test_a_run_is_handed_over_as_a_file(finished):
    _, directory, _ = finished
    (job,) = read_jobs(directory / "pairs" / "kd" / "seed-1" / "job.yaml")
    assert (job.directory, job.runs, job.name) == (directory / "pairs" / "kd" / "seed-1", directory, "pairs/kd")
    assert (job.resume, job.overwrite, job.capture, job.device) == (True, False, False, "cpu")
    assert job.recipe == load_recipe(str(directory / "pairs" / "kd" / "seed-1" / "recipe.yaml"))


def test_a_run_that_fails_does_not_stop_the_others(tmp_path, cifar10, without_processes):
    optimiser = {"optimiser": {"name": "sgd", "learning_rate": 1e12}}
    variants = {"good": {}, "bad": optimiser}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"recipe": values_of(cifar10, epochs=1), "variants": variants}))
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"recipes": [str(tmp_path / "two.yaml")]}))
    runs = plan_sweep(read_sweep(tmp_path / "sweep.yaml"), tmp_path / "out")
    result = run_sweep(runs, tmp_path / "out", jobs=1, device="cpu")
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


def test_capture_is_handed_over(tmp_path, cifar10, monkeypatch):
    started = []
    monkeypatch.setattr("distill.runs.child.start", lambda job, environment: started.append(job) or Ended(1))
    monkeypatch.setattr("distill.runs.child._last_line", lambda log: "")
    runs = plan_sweep(read_sweep(sweep_file(tmp_path, cifar10)), tmp_path / "out")
    run_sweep(runs, tmp_path / "out", capture=True)
    assert started
    assert all(job.capture for job in started)


def test_a_trial_does_not_count_as_the_sweep(tmp_path, cifar10, xkd_distill, without_processes):
    """The same file with other recipes: finished runs of the trial are neither taken over nor lost from its table."""
    file = sweep_file(tmp_path, cifar10, grid={"variant": ["teacher"]}, seeds=[0, 1])
    trial = ("--seeds", "0", "--set", "batch_size=64", "--data", cifar10)
    assert xkd_distill("sweep", file, "-o", "out", "--device", "cpu", *trial)[0] == 0
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert [row["seed"] for row in rows] == ["0"]
    code, _, err = xkd_distill("sweep", file, "-o", "out", "--device", "cpu")
    assert code == 2
    assert re.search(
        r"another recipe; these differ: batch_size; another directory, or removing the run, starts afresh$", err
    )
    assert list(csv.DictReader((tmp_path / "out" / "results.csv").open())) == rows


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


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (-9, b"", "ended by SIGKILL"),
        (-9, b"step 3", "ended by SIGKILL; before it said: step 3"),
        (1, b"", "exit code 1, without a word"),
        (2, b"error: damaged; `overwrite` starts afresh", "error: damaged; removing the run starts afresh"),
    ],
)
def test_why_a_run_failed(tmp_path, code, said, expected):
    """What a former process said is gone, and nothing is advised that a sweep has no option for."""
    (tmp_path / "log.txt").write_bytes(b"what a former one said")
    with _opened(tmp_path / "log.txt") as log:
        log.write(said)
    assert _in_its_words(why_ended(code, tmp_path / "log.txt")) == expected
