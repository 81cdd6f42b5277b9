"""What a training leaves survives a full disk, and is not taken for another's."""

import hashlib
import os
import shutil
import signal
from dataclasses import replace

import pytest

from distill.recipe.files import load_recipe
from distill.runs.directory import TrainingDirectory
from distill.runs.interruption import TrainingInterruptedError
from distill.training.train import train
from tests.distill.conftest import KD, assert_same_bits, values_of, weights_of
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

    def stop(point):
        if point.images:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        train(recipe, tmp_path / "run", device="cpu", progress=stop)
    other = recipe_of(losses=KD, teacher={"model": str(tmp_path / "other" / "student.pt")})
    with pytest.raises(XkdError, match=r"another teacher; give the `teacher` that it had; .*`overwrite`"):
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


def test_a_checkpoint_becomes_the_best_when_the_state_says_so(recipe_of, copied):
    """A kill between the two writes must not leave one epoch's numbers and another's weights."""
    path = copied("result.json")
    directory = TrainingDirectory(path, recipe_of(epochs=1), resume=True, overwrite=False, write=True)
    former = (path / "best.pt").read_bytes()
    save_checkpoint(replace(read_checkpoint(path / "best.pt"), metrics={"epoch": 9}), path / "best.new.pt")
    new = (path / "best.new.pt").read_bytes()
    directory.settle_best(hashlib.sha256(former).hexdigest())
    assert (path / "best.pt").read_bytes() == former and not (path / "best.new.pt").exists()
    (path / "best.new.pt").write_bytes(new)
    directory.settle_best(hashlib.sha256(new).hexdigest())
    assert (path / "best.pt").read_bytes() == new and not (path / "best.new.pt").exists()


def negated(path):
    """The same metrics beside other weights."""
    checkpoint = read_checkpoint(path)
    weights = {**checkpoint.state_dict, "linear.weight": -checkpoint.state_dict["linear.weight"]}
    save_checkpoint(replace(checkpoint, state_dict=weights), path)


@pytest.mark.parametrize(("edit", "message"), [(negated, "is not the best epoch's"), (os.unlink, "is gone")])
def test_another_best_checkpoint_than_the_states_is_refused_before_training(copied, cifar10, edit, message):
    directory = copied("result.json")
    former = (directory / "best.pt").read_bytes()
    edit(directory / "best.pt")
    with pytest.raises(XkdError, match=rf"output .*best.pt {message}.*; restore it, or `overwrite` starts afresh"):
        train(values_of(cifar10, epochs=1), directory, device="cpu", resume=True)
    (directory / "best.pt").write_bytes(former)
    train(values_of(cifar10, epochs=1), directory, device="cpu", resume=True)


@pytest.mark.parametrize("file", ["recipe.yaml", "metrics.csv", "student.pt"])
@pytest.mark.parametrize("kept", [True, False], ids=["with last.pt", "without"])
def test_a_file_of_a_finished_run_that_is_gone_is_made_again_as_the_message_says(copied, cifar10, file, kept):
    directory = copied(*([] if kept else ["last.pt"]))
    expected = weights_of(directory)
    (directory / file).unlink()
    if file == "student.pt" and kept:
        train(values_of(cifar10, epochs=1), directory, device="cpu", resume=True)
    else:
        advice = "remove result.json, and `resume` makes it again" if kept else "`overwrite`"
        with pytest.raises(XkdError, match=rf"output .*; .*{advice}"):
            _ = train(values_of(cifar10, epochs=1), directory, device="cpu").metrics
        if kept:
            (directory / "result.json").unlink()
        train(values_of(cifar10, epochs=1), directory, device="cpu", resume=kept, overwrite=not kept)
    assert train(values_of(cifar10, epochs=1), directory, device="cpu").metrics.shape[0] == 1
    assert_same_bits(weights_of(directory), expected)


def test_an_edited_recipe_is_not_taken_for_the_one_that_was_trained(copied, cifar10):
    directory = copied()
    text = (directory / "recipe.yaml").read_text()
    (directory / "recipe.yaml").write_text(text.replace("epochs: 1", "epochs: 2"))
    for epochs in (1, 2):
        with pytest.raises(XkdError, match=r"recipe.yaml is not what the training wrote, .*; remove result.json, and"):
            train(values_of(cifar10, epochs=epochs), directory, device="cpu")
    (directory / "result.json").unlink()
    train(values_of(cifar10, epochs=1), directory, device="cpu", resume=True)
    assert (directory / "recipe.yaml").read_text() == text


def test_another_student_is_not_handed_out(copied, cifar10):
    result = train(values_of(cifar10, epochs=1), copied(), device="cpu")
    negated(result.path)
    with pytest.raises(XkdError, match=r"student.pt is not what the training wrote, .*; remove result.json, and"):
        result.student()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["best.pt", "student.pt"], "holds student.pt, and no last.pt"),
        (["recipe.yaml", "metrics.csv", "best.pt"], "holds best.pt, and no last.pt"),
        (["result.json"], "holds result.json, and no last.pt"),
        (["metrics.csv"], "holds metrics.csv, and no last.pt"),
        (["best.new.pt"], "holds best.new.pt, and no last.pt"),
        (["notes.txt"], "holds 'notes.txt', which is no run's; choose another directory"),
    ],
)
def test_files_that_are_not_this_trainings_are_left(finished, tmp_path, cifar10, files, message):
    for name in files:
        source = finished / name
        (tmp_path / name).write_bytes(source.read_bytes() if source.is_file() else b"mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for resume in (False, True):
        with pytest.raises(XkdError, match=f"output .*{message}"):
            train(values_of(cifar10, epochs=1, seed=9), tmp_path, device="cpu", resume=resume)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != LOCK} == before


@pytest.mark.parametrize(
    "content", ["# my own\nrecipe: {}\n", "# kept\n{}", "recipe: [", "3"], ids=["empty", "comment", "cut", "number"]
)
def test_a_recipe_of_the_users_is_not_replaced(finished, tmp_path, cifar10, content):
    content = content.replace("# kept\n{}", "# kept\n" + (finished / "recipe.yaml").read_text())
    (tmp_path / "recipe.yaml").write_text(content)
    with pytest.raises(XkdError, match=r"output .*: holds recipe.yaml, and no last.pt .*, or `overwrite`"):
        train(values_of(cifar10, epochs=1), tmp_path, device="cpu")
    assert (tmp_path / "recipe.yaml").read_text() == content


def test_a_run_without_an_epoch_is_begun_again_by_another_recipe(finished, tmp_path, cifar10):
    """As one whose first epoch failed: recipe.yaml alone is no result."""
    shutil.copy(finished / "recipe.yaml", tmp_path)
    train(values_of(cifar10, epochs=1, seed=9), tmp_path, device="cpu")
    assert load_recipe(str(tmp_path / "recipe.yaml")).seed == 9
    with pytest.raises(XkdError, match="these differ: seed"):
        train(values_of(cifar10, epochs=1), tmp_path, device="cpu")


def test_another_recipes_first_epoch_is_not_taken_over(finished, tmp_path, cifar10):
    shutil.copy(finished / "recipe.yaml", tmp_path)
    shutil.copy(finished / "best.pt", tmp_path / "best.new.pt")
    with pytest.raises(XkdError, match=r"holds recipe.yaml, and no last.pt|holds best.new.pt, and no last.pt"):
        train(values_of(cifar10, epochs=1, seed=9), tmp_path, device="cpu")


def test_what_was_refused_leaves_nothing_in_the_way(recipe_of, tmp_path):
    with pytest.raises(XkdError, match="expected at least one batch of 400"):
        train(recipe_of(batch_size=400), tmp_path, device="cpu")
    train(recipe_of(epochs=1), tmp_path, device="cpu")


def test_killed_before_its_first_state_a_run_goes_on(finished, tmp_path, cifar10):
    shutil.copy(finished / "recipe.yaml", tmp_path)
    shutil.copy(finished / "best.pt", tmp_path / "best.new.pt")
    train(values_of(cifar10, epochs=1), tmp_path, device="cpu")
    assert_same_bits(weights_of(tmp_path), weights_of(finished))


@pytest.mark.parametrize("name", ["student.pt", "last.pt", "result.json", "recipe.yaml"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_where_a_file_has_to_go_is_named_before_training(tmp_path, cifar10, name, overwrite):
    (tmp_path / name).mkdir()
    with pytest.raises(XkdError, match=f"output .*: {name} is no file, .*; remove it, or choose another directory"):
        train(values_of(cifar10), tmp_path, device="cpu", overwrite=overwrite, progress=lambda *where: 1 / 0)


def test_a_directory_may_be_called_like_a_variant(tmp_path, cifar10):
    directory = tmp_path / "a.yaml:b"
    first = train(values_of(cifar10, epochs=1), directory, device="cpu")
    assert train(values_of(cifar10, epochs=1), directory, device="cpu") == first


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
