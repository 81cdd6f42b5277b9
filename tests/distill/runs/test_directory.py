"""What a training leaves survives a full disk, and is not taken for another's."""

import os
import signal

import pytest

from distill.recipe.files import load_recipe
from distill.runs.directory import TrainingDirectory
from distill.runs.interruption import TrainingInterruptedError
from distill.training.train import train
from tests.distill.conftest import KD
from xkd_eval.classifiers.checkpoint import read_checkpoint, save_checkpoint
from xkd_eval.errors import XkdError
from xkd_eval.files import LOCK


def test_a_finished_run_is_not_run_again(recipe_of, tmp_path):
    first = train(recipe_of(), tmp_path, device="cpu")
    assert train(recipe_of(), tmp_path, device="cpu", progress=lambda *where: 1 / 0) == first


def test_another_recipe_in_the_directory_is_refused_with_its_fields(recipe_of, tmp_path):
    train(recipe_of(), tmp_path, device="cpu")
    with pytest.raises(XkdError, match=r"another recipe; these differ: batch_size; .*`overwrite`"):
        train(recipe_of(batch_size=16), tmp_path, device="cpu")
    train(recipe_of(batch_size=16), tmp_path, device="cpu", overwrite=True)


def test_another_teacher_is_refused(recipe_of, tmp_path, teacher):
    recipe = recipe_of(losses=KD, teacher={"model": str(teacher)})
    train(recipe_of(epochs=1, seed=5, student=recipe.student.model_dump()), tmp_path / "other", device="cpu")

    def stop(done, total, where):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        train(recipe, tmp_path / "run", device="cpu", progress=stop)
    other = recipe_of(losses=KD, teacher={"model": str(tmp_path / "other" / "student.pt")})
    with pytest.raises(XkdError, match="another teacher; `overwrite`"):
        train(other, tmp_path / "run", device="cpu", resume=True)


def write_again(directory, victim):
    if victim == "last.pt":
        recipe = load_recipe(str(directory / "recipe.yaml"))
        TrainingDirectory(directory, recipe, resume=True, overwrite=False, write=True).write_state({"epoch": 9})
    else:
        save_checkpoint(read_checkpoint(directory / victim), directory / victim)


@pytest.mark.parametrize("victim", ["last.pt", "best.pt", "student.pt"])
def test_a_disk_that_fills_up_leaves_the_former_checkpoint(recipe_of, tmp_path, monkeypatch, victim):
    train(recipe_of(epochs=1), tmp_path, device="cpu")
    former = (tmp_path / victim).read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(XkdError, match=r"cannot be written.*No space left"):
        write_again(tmp_path, victim)
    assert (tmp_path / victim).read_bytes() == former
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".") and path.name != LOCK]
