"""Sweeps: what is run, written, run again and not."""

import csv
import re
import shutil

import pytest
import yaml

from distill.recipe.files import load_recipe
from distill.runs.child import new_log, why_ended
from distill.runs.job import read_jobs
from distill.runs.sweep import _in_its_words, run_sweep
from distill.runs.sweep_file import read_sweep
from distill.runs.sweep_plan import plan_sweep
from tests.distill.conftest import KD, values_of
from tests.distill.processes import Ended, run_here
from tests.distill.runs.sweeps import sweep_file


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
    assert (code, err.splitlines()[-1]) == (0, "4/4 runs")
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


def test_capture_is_handed_over(tmp_path, cifar10, monkeypatch):
    started = []
    monkeypatch.setattr("distill.runs.child.start", lambda jobs, environment: started.extend(jobs) or Ended(1))
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
    with new_log(tmp_path) as log:
        log.write(said)
    assert _in_its_words(why_ended(code, tmp_path / "log.txt")) == expected


def test_a_swept_run_is_made_and_said_in_the_tables(tmp_path, cifar10, xkd_distill, without_processes):
    """Its teacher was trained before, elsewhere."""
    file = sweep_file(tmp_path, cifar10, grid={"variant": ["kd"], "losses.kd.weight": [0.5, 2]}, seeds=[0])
    assert xkd_distill("train", f"{tmp_path / 'pairs.yaml'}:teacher", "--runs", "before", "--device", "cpu")[0] == 0
    command = ("sweep", file, "-o", "out", "--runs", "before", "--device", "cpu")
    code, printed, err = xkd_distill(*command)
    assert (code, err.splitlines()[-1]) == (0, "2/2 runs")
    assert "losses.kd.weight" in printed
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert [(row["variant"], row["losses.kd.weight"], row["seed"]) for row in rows] == [
        ("kd", "0.5", "0"),
        ("kd", "2", "0"),
    ]
    assert rows[0]["last_test_loss"] != rows[1]["last_test_loss"]
    table = (tmp_path / "out" / "results.md").read_text()
    assert table.startswith("| recipe | variant | losses.kd.weight | seeds |")
    # Finished, and asked for again with something else.
    for other, message in (
        (("--set", "batch_size=16"), "these differ: batch_size; another directory, or removing the run, starts afresh"),
        (("--teacher", "none.pt"), "--teacher: 'none.pt' does not exist"),
        (("--data", "none"), "--data: 'none' does not exist"),
    ):
        code, _, err = xkd_distill(*command, *other)
        assert (code, len(err.strip().splitlines())) == (2, 1)
        assert message in err
    assert xkd_distill(*command)[0] == 0


def test_runs_in_step_are_shared_out_and_each_says_what_became_of_it(tmp_path, cifar10, teacher, xkd_distill):
    """Three of one teacher and seed by two processes: one fails, by an option that is refused when it is set up."""
    losses = [{"method": "ce"}, {"method": "exp_kd", "relative": True}]
    values = values_of(cifar10, epochs=1, losses=losses, teacher={"model": str(teacher)})
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"recipe": values}))
    content = {"recipes": [str(tmp_path / "mine.yaml")], "grid": {"losses.exp_kd.top_k": [3, 11, 5]}, "seeds": [0]}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    command = ("sweep", tmp_path / "sweep.yaml", "-o", tmp_path / "out", "--jobs", "2", "--device", "cpu")
    code, _, err = xkd_distill(*command)
    assert code == 2
    assert "top_k: 11 found; the teacher has 10 classes" in err
    runs = {path.parent.name.partition("=")[2]: path for path in (tmp_path / "out").glob("mine/*/seed-0")}
    assert {k: (path / "result.json").is_file() for k, path in runs.items()} == {"3": True, "11": False, "5": True}
    assert sorted(len(read_jobs(path / "job.yaml")) for path in runs.values() if (path / "job.yaml").is_file()) == [
        1,
        2,
    ]
    assert "epoch 1/1" in (runs["5"] / "log.txt").read_text()


def test_a_run_in_step_that_fails_is_not_taken_for_the_one_before(tmp_path, cifar10, xkd_distill, without_processes):
    """Its result lies there, of another teacher: the process says so, and the table leaves it out."""
    values = values_of(cifar10, epochs=1, losses=KD, teacher={"recipe": f"{tmp_path / 'teach.yaml'}"})
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"recipe": values}))
    (tmp_path / "teach.yaml").write_text(yaml.safe_dump({"recipe": values_of(cifar10, epochs=3)}))
    content = {
        "recipes": [str(tmp_path / "teach.yaml"), str(tmp_path / "mine.yaml")],
        "grid": {"losses.kd.weight": [1, 2]},
        "seeds": [0],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    command = ("sweep", tmp_path / "sweep.yaml", "-o", tmp_path / "out", "--device", "cpu")
    assert xkd_distill(*command)[0] == 0
    shutil.rmtree(tmp_path / "out" / "teach")
    (tmp_path / "teach.yaml").write_text(yaml.safe_dump({"recipe": values_of(cifar10, epochs=4)}))
    code, _, err = xkd_distill(*command)
    assert (code, err.count("holds a run with another teacher")) == (2, 2)
    assert [row["run"] for row in csv.DictReader((tmp_path / "out" / "results.csv").open())] == ["teach"]
