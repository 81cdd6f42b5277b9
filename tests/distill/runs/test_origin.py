"""A training is of its images and its teacher: others under the same recipe are never taken for them."""

import os
import shutil
import signal

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image

from distill.recipe.parse import parse_recipe
from distill.runs import origins
from distill.runs.interruption import TrainingInterruptedError
from distill.runs.origin import check_recipe
from distill.runs.origins import Origins
from distill.runs.sweep import run_sweep
from distill.runs.sweep_file import SweepChanges, read_sweep
from distill.runs.sweep_plan import plan_sweep
from distill.training.train import train
from tests.distill.conftest import KD, values_of
from tests.distill.processes import run_here
from xkd_eval.errors import XkdError


def write_images(folder, seed=0, test_seed=1):
    """Two classes of noise, 16x16, which are of one size under the same names whatever the seed."""
    for split, count, its_seed in (("train", 20, seed), ("test", 6, test_seed)):
        draw = np.random.default_rng(its_seed)
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.bmp")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


def renamed(folder):
    write_images(folder)
    (folder / "train" / "cat" / "0.bmp").rename(folder / "train" / "cat" / "a.bmp")


OTHERS = {
    "other training images": (lambda folder: write_images(folder, seed=5), "training images, which differ in content"),
    "other test images": (lambda folder: write_images(folder, test_seed=5), "test images, which differ in content"),
    "another name": (renamed, "training images, which differ in names, labels or sizes"),
}


def small(path, loader="device", **changes):
    data = {"loader": loader, "path": str(path)} | ({"workers": 0} if loader == "workers" else {})
    student = {
        "architecture": "resnet8",
        "arguments": {"widths": [2, 2, 4, 4]},
        "preprocess": {"size": [16, 16]},
    }
    values = {"data": data, "student": student, "batch_size": 8, "epochs": 1}
    return values_of(path, **values | {"schedule": {"name": "constant"}} | changes)


@pytest.mark.parametrize("loader", ["device", "workers"])
@pytest.mark.parametrize("other", OTHERS)
def test_a_finished_run_is_not_given_for_other_images(images, tmp_path, loader, other):
    make, message = OTHERS[other]
    finished = train(small(images, loader), tmp_path / "run", device="cpu")
    make(tmp_path / "other")
    with pytest.raises(XkdError, match=rf"output .*run: holds a run on other {message}.*`data` .*; .* or `overwrite`"):
        train(small(tmp_path / "other", loader), tmp_path / "run", device="cpu")
    moved = shutil.copytree(images, tmp_path / "moved")
    assert train(small(moved, loader), tmp_path / "run", device="cpu").result == finished.result


def test_a_finished_run_is_not_given_for_images_that_are_not_there(images, tmp_path):
    train(small(images), tmp_path / "run", device="cpu")
    with pytest.raises(XkdError, match=r"data: '.*none'"):
        train(small(tmp_path / "none"), tmp_path / "run", device="cpu")


@pytest.mark.parametrize("other", OTHERS)
def test_a_run_does_not_go_on_with_other_images(images, tmp_path, other):
    def stop(point):
        if point.images:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        train(small(images), tmp_path / "run", device="cpu", progress=stop)
    make, message = OTHERS[other]
    make(tmp_path / "other")
    with pytest.raises(XkdError, match=f"holds a run on other {message}"):
        train(small(tmp_path / "other"), tmp_path / "run", device="cpu", resume=True)
    train(small(images), tmp_path / "run", device="cpu", resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "{folder}/other/student.pt"}, "holds a run with another teacher; give the `teacher`"),
        ({"model": "{folder}/none.pt"}, "teacher: '.*none.pt' does not exist"),
        ({"model": "{folder}/teacher/student.pt", "preprocess": {"mean": 0.1}}, "holds a run with another teacher"),
    ],
)
def test_a_finished_run_is_not_given_for_another_teacher(images, tmp_path, change, message):
    for name, seed in (("teacher", 0), ("other", 1)):
        train(small(images, seed=seed), tmp_path / name, device="cpu")
    taught = small(images, losses=KD, teacher={"model": str(tmp_path / "teacher" / "student.pt")})
    first = train(taught, tmp_path / "run", device="cpu", force=True)  # of noise nobody learns more than chance
    assert train(taught, tmp_path / "run", device="cpu") == first
    change = change | {"model": change["model"].format(folder=tmp_path)}
    with pytest.raises(XkdError, match=message):
        train(taught | {"teacher": change}, tmp_path / "run", device="cpu")


def test_a_teacher_that_is_built_otherwise_is_another(images, tmp_path):
    """Its weights are the same, and so is its input."""
    weights = tmp_path / "teacher.pt"
    torch.save(timm.create_model("resnet10t", num_classes=2).state_dict(), weights)
    teacher = {"model": "timm/resnet10t", "weights": str(weights), "preprocess": {"size": [32, 32]}}
    taught = small(images, losses=KD, teacher=teacher)
    train(taught, tmp_path / "run", device="cpu", force=True)
    other = taught | {"teacher": teacher | {"arguments": {"global_pool": "max"}}}
    with pytest.raises(XkdError, match="holds a run with another teacher"):
        train(other, tmp_path / "run", device="cpu", force=True)


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Run a sweep of a teacher and of students, in this process: data -> (outcomes, failures)."""
    monkeypatch.setattr("distill.runs.child.start", run_here)
    variants = {
        "teacher": {"seed": 1},
        "kd": {"teacher": {"recipe": str(tmp_path / "a.yaml:teacher")}, "losses": KD},
    }
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"recipe": small("unset"), "variants": variants}))
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"recipes": [str(tmp_path / "a.yaml")], "seeds": [0, 1]}))

    def run(data):
        changes = SweepChanges(data=str(data))
        planned = plan_sweep(read_sweep(tmp_path / "sweep.yaml"), tmp_path / "a.yaml:b", changes)
        result = run_sweep(planned, tmp_path / "a.yaml:b", device="cpu", force=True)
        return [outcome.result["last"] for outcome in result.outcomes], [reason for _, reason in result.failed]

    return run


def test_a_sweep_takes_no_run_on_other_images_for_its_own(images, tmp_path, sweep, monkeypatch):
    outcomes, failures = sweep(images)
    assert (len(outcomes), failures) == (4, [])
    opened = []
    open_splits = origins.open_splits
    monkeypatch.setattr("distill.runs.origins.open_splits", lambda recipe: opened.append(recipe) or open_splits(recipe))
    assert sweep(images) == (outcomes, [])
    assert len(opened) == 1
    table = (tmp_path / "a.yaml:b" / "results.csv").read_bytes()
    for data, message in (
        (write_images(tmp_path / "other", seed=5), "holds a run on other training images"),
        (tmp_path / "away", "'.*away' does not exist"),
    ):
        with pytest.raises(XkdError, match=message):
            sweep(data)
    assert (tmp_path / "a.yaml:b" / "results.csv").read_bytes() == table
    assert sweep(images) == (outcomes, [])


def test_the_origins_of_many_trainings_open_each_teacher_once(images, tmp_path, monkeypatch):
    train(small(images), tmp_path / "teacher", device="cpu")
    opened = []
    open_teacher = origins.open_teacher
    monkeypatch.setattr(origins, "open_teacher", lambda *given: opened.append(given) or open_teacher(*given))
    found = Origins()
    for seed in (0, 1):
        recipe = small(images, losses=KD, seed=seed, teacher={"model": str(tmp_path / "teacher" / "student.pt")})
        found.of(parse_recipe(recipe), tmp_path)
    assert len(opened) == 1


def test_a_key_that_recipes_did_not_have_yet_is_at_its_default(images, tmp_path):
    recipe = parse_recipe(small(images))
    former = {key: value for key, value in recipe.identity().items() if key not in ("compile", "imports")}
    theirs = Origins().of(recipe, tmp_path).model_copy(update={"recipe": former})
    check_recipe(recipe, theirs, tmp_path)
    with pytest.raises(XkdError, match=r"these differ: compile;"):
        check_recipe(parse_recipe(small(images, compile=True)), theirs, tmp_path)
