"""What a training leaves survives a full disk, and is not taken for another's."""

import os
import signal
from dataclasses import replace

import pytest
import torch

from distill.recipe.files import load_recipe
from distill.runs.directory import TrainingDirectory
from distill.runs.interruption import TrainingInterruptedError
from distill.runs.state_file import read_state
from distill.training.train import train
from tests.distill.conftest import KD, assert_same_bits
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


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        (
            "result.json",
            lambda text: text.replace('"test_top1": 0.', '"test_top1": 0.9'),
            "is not what the training wrote",
        ),
        ("result.json", lambda text: text.replace('"seed": 0', '"seed": true'), "result.json: seed: True found"),
        ("result.json", lambda text: text[:100], "result.json' is no JSON"),
        ("result.json", lambda text: "3", "result.json: 3 found"),
    ],
)
def test_a_result_that_was_edited_is_noticed_and_made_again(recipe_of, tmp_path, file, edit, message):
    whole = train(recipe_of(epochs=1), tmp_path, device="cpu").result
    (tmp_path / file).write_text(edit((tmp_path / file).read_text()))
    with pytest.raises(XkdError, match=rf"output .*{message}.*; remove result.json, and `resume` makes it again"):
        train(recipe_of(epochs=1), tmp_path, device="cpu")
    (tmp_path / file).unlink()
    assert train(recipe_of(epochs=1), tmp_path, device="cpu", resume=True).result["last"] == whole["last"]


def test_metrics_that_were_cut_are_noticed(recipe_of, tmp_path):
    result = train(recipe_of(), tmp_path, device="cpu")
    assert list(result.metrics["epoch"]) == [1, 2]
    table = tmp_path / "metrics.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(XkdError, match=r"metrics.csv is not what the training wrote.*`resume` makes it again"):
        _ = result.metrics


def test_a_finished_run_without_its_student_makes_it_again(recipe_of, tmp_path):
    train(recipe_of(epochs=1), tmp_path, device="cpu")
    former = read_checkpoint(tmp_path / "student.pt").state_dict
    (tmp_path / "student.pt").unlink()
    with pytest.raises(XkdError, match=r"unfinished run of 1 epochs; `resume` continues it"):
        train(recipe_of(epochs=1), tmp_path, device="cpu")
    train(recipe_of(epochs=1), tmp_path, device="cpu", resume=True)
    assert_same_bits(read_checkpoint(tmp_path / "student.pt").state_dict, former)


STATES = {
    "epoch": ("x", "epoch: 'x' found; input should be a valid integer"),
    "version": (9, "version: 9 found"),
    "step": (10**6, "a training of this recipe is never there"),
    "history": ([], "history: 0 epochs found; expected 1"),
    "best": ({"epoch": 1.0}, "best: is not among the epochs"),
    "means": ({"names": ["ce"], "steps": 3, "sums": None}, "means: of 3 steps; expected 0"),
    "student": ({}, "Error"),
    "optimiser": ({"param_groups": [], "state": {}}, "optimiser: of other parameters"),
    "recipe": ({"epochs": 1}, "another recipe; these differ"),
}


@pytest.mark.parametrize("field", STATES)
def test_a_state_of_another_kind_is_one_line(recipe_of, tmp_path, field):
    """Of a finished training without its result: it stands at the end of its only epoch."""
    train(recipe_of(epochs=1), tmp_path, device="cpu")
    (tmp_path / "result.json").unlink()
    value, message = STATES[field]
    torch.save(read_state(tmp_path / "last.pt") | {field: value}, tmp_path / "last.pt")
    with pytest.raises(XkdError, match=rf"{message}.*`overwrite`") as caught:
        train(recipe_of(epochs=1), tmp_path, device="cpu", resume=True)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_checkpoint_becomes_the_best_when_the_state_says_so(recipe_of, tmp_path):
    """A kill between the two writes must not leave one epoch's numbers and another's weights."""
    train(recipe_of(epochs=1), tmp_path, device="cpu")
    directory = TrainingDirectory(tmp_path, recipe_of(epochs=1), resume=True, overwrite=False, write=True)
    best = read_checkpoint(tmp_path / "best.pt")
    former = (tmp_path / "best.pt").read_bytes()
    save_checkpoint(replace(best, metrics={"epoch": 9}), tmp_path / "best.new.pt")
    directory.settle_best(best.metrics)
    assert (tmp_path / "best.pt").read_bytes() == former and not (tmp_path / "best.new.pt").exists()
    save_checkpoint(replace(best, metrics={"epoch": 9}), tmp_path / "best.new.pt")
    directory.settle_best({"epoch": 9})
    assert read_checkpoint(tmp_path / "best.pt").metrics == {"epoch": 9}


def test_what_a_killed_process_left_half_written_is_removed(recipe_of, tmp_path):
    (tmp_path / ".last.pt.0123abcd").write_bytes(b"half")
    train(recipe_of(epochs=1), tmp_path, device="cpu")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [LOCK]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": 3}, "output: 3 found; expected a text or a path"),
        ({"resume": "yes"}, "resume: 'yes' found; expected True or False"),
        ({"device": None}, "device: None found; expected a text"),
        ({"epochs": 3}, "epochs: unknown argument; "),
        ({"progress": 1}, r"progress: 1 found; expected a function"),
        ({"overrides": "epochs=1"}, "overrides: 'epochs=1' found; expected texts"),
    ],
)
def test_arguments_of_another_kind_are_named(recipe_of, tmp_path, arguments, message):
    with pytest.raises(XkdError, match=message):
        train(recipe_of(), **{"output": tmp_path} | arguments)


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
