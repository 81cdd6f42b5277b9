"""A teacher of weights from elsewhere teaches under the right words; under what is assumed it is at chance."""

import re
from pathlib import Path

import pytest
import torch

from distill.students.evaluate import evaluate
from distill.training.setup import set_up
from distill.training.store import store_answers
from distill.training.train import train
from tests.distill.conftest import KD, values_of
from xkd_eval import load_classifier
from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.errors import XkdError

ARCHITECTURE = "timm/test_resnet"
TRAINED_WITH = "size=64,mean=0.9,std=0.1,resize=squash"
"""Of timm's own, 160 pixels of mean 0.5, nothing is right."""


@pytest.fixture(scope="module")
def weights(cifar10, tmp_path_factory):
    """The file of a network that was trained at 64 pixels: tensors and no word of its input."""
    folder = tmp_path_factory.mktemp("foreign")
    preprocess = {"size": [64, 64], "mean": [0.9, 0.9, 0.9], "std": [0.1, 0.1, 0.1]}
    student = {"architecture": ARCHITECTURE, "preprocess": preprocess}
    optimiser = {"name": "sgd", "learning_rate": 0.1}
    train(values_of(cifar10, student=student, optimiser=optimiser, epochs=5), folder, device="cpu")
    torch.save(read_checkpoint(folder / "student.pt").state_dict, folder / "mine.pth")
    return folder / "mine.pth"


@pytest.fixture
def right(weights):
    return f"{ARCHITECTURE},weights={weights},{TRAINED_WITH}"


@pytest.fixture
def assumed(weights):
    return f"{ARCHITECTURE},weights={weights}"


def test_what_the_words_are_worth(weights, right, assumed, cifar10, caplog):
    found = evaluate({"right": right, "assumed": assumed}, cifar10)
    assert found.scores["right"].top1 > 0.95
    assert found.scores["assumed"].top1 < 0.2
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith(
        "assumed: input: 160x160 RGB, crop of 0.95, bilinear, mean 0.5 0.5 0.5, std 0.5 0.5 0.5 (timm"
    )
    assert "; size, mean and std are assumed, as nothing says what its weights were trained with: " in line
    options = {"size": 64, "mean": 0.9, "std": 0.1, "resize": "squash"}
    again = evaluate(ARCHITECTURE, cifar10, weights=weights, **options)
    assert again.models[0].scores == found.scores["right"]
    assert again.models[0].file_bytes == weights.stat().st_size == found.models[0].file_bytes


def test_a_models_words_win_over_the_options_of_all(right, cifar10):
    found = evaluate({"right": right}, cifar10, teacher=right, size=32, mean=0.1, limit=20)
    assert found.scores["right"].top1 > 0.9 and found.scores["right"].agreement == 1
    with pytest.raises(XkdError, match=r"^sise: unknown argument; nearest: size"):
        evaluate(right, cifar10, sise=32)


def test_a_teacher_at_chance_stops_and_one_that_is_told_its_input_teaches(right, assumed, recipe_of, tmp_path):
    notes: list[str] = []
    good = recipe_of(losses=KD, teacher={"model": right}, epochs=1)
    result = train(good, tmp_path / "good", device="cpu", progress=lambda point: notes.extend(point.notes)).result
    assert result["teachers"]["teacher"]["test_top1"] > 0.95
    assert f"teacher {ARCHITECTURE}: input: 64x64 RGB, squash, bilinear, mean 0.9 0.9 0.9, std 0.1 0.1 0.1 " in notes[0]
    assert re.fullmatch(rf"teacher {ARCHITECTURE}: right on \d+\.\d % of 100 test images", notes[1])
    bad = recipe_of(losses=KD, teacher={"model": assumed}, epochs=1)
    message = (
        rf"^teacher: {ARCHITECTURE} is right on 1?\d\.\d % of 100 test images, which guessing explains \(10\.0 %\); "
        r"its input was 160x160 RGB, .* \(timm's config of test_resnet\): give what it was trained with "
        rf"\({assumed},size=\.\.\.,mean=\.\.\.,std=\.\.\.\), or its classes in the data's order; `force` trains all "
        r"the same$"
    )
    with pytest.raises(XkdError, match=message):
        train(bad, tmp_path / "bad", device="cpu")
    notes.clear()
    bad = recipe_of(losses=KD, teacher={"model": f"{assumed},size=32"}, epochs=1)
    train(bad, tmp_path / "bad", device="cpu", force=True, progress=lambda point: notes.extend(point.notes))
    assert "; mean and std are assumed, as nothing says" in notes[0]
    assert notes[0].endswith(f": write it as {assumed},size=32,mean=...,std=...")


def test_several_teachers_go_by_their_names(right, assumed, recipe_of, tmp_path):
    teachers = {"good": {"model": right}, "wrong": {"model": assumed}}
    with pytest.raises(XkdError, match=r"^teacher: wrong is right on .*, which guessing explains"):
        train(recipe_of(losses=KD, teachers=teachers, epochs=1), tmp_path / "run", device="cpu")


def test_validation_images_are_what_it_is_measured_on(right, recipe_of, cifar10, tmp_path):
    data = {"loader": "device", "path": str(cifar10), "padding": 1, "flip": False, "val_split": 0.2}
    notes: list[str] = []
    recipe = recipe_of(losses=KD, teacher={"model": right}, epochs=1, data=data)
    train(recipe, tmp_path / "run", device="cpu", progress=lambda point: notes.extend(point.notes))
    assert any(note.endswith(" % of 70 validation images") for note in notes)


def test_a_teacher_that_is_not_the_expected_one_is_said_to_be_another(right, recipe_of, cifar10):
    """By its accuracy on the test images, whichever select the epoch: those of training it may have seen."""
    data = {"loader": "device", "path": str(cifar10)}
    split = data | {"val_split": 0.2}

    def lines(data, which, expected):
        recipe = recipe_of(losses=KD, teacher={"model": right, "expected_top1": expected}, data=data)
        return set_up(recipe, "cpu", Path()).answers.accuracy("teacher", which)

    (line,) = lines(data, "test", 72.34)
    found = re.fullmatch(
        rf"teacher {ARCHITECTURE}: right on (\d+\.\d) % of 100 test images, where the recipe expects 72\.3 %: "
        "published figures are of such a teacher",
        line,
    )
    top1 = float(found[1])
    for near in (top1 - 1, min(top1 + 1, 100.0)):
        assert lines(data, "test", near) == [f"teacher {ARCHITECTURE}: right on {top1:.1f} % of 100 test images"]
    assert lines(data, "test", top1 - 1.5)[0].count("where the recipe expects") == 1
    validated, tested = lines(split, "val", 72.34)
    assert validated.endswith("% of 70 validation images") and tested == line
    assert len(lines(split, "val", None)) == 1


def test_what_is_expected_of_a_teacher_makes_no_other_training(right, recipe_of, tmp_path):
    recipes = [
        recipe_of(losses=KD, teacher={"model": right, "expected_top1": expected}, epochs=1)
        for expected in (50, 60, None)
    ]
    first, *others = [train(recipe, tmp_path, device="cpu") for recipe in recipes]
    assert all(other.result == first.result for other in others)


def test_a_training_that_goes_on_does_not_measure_it_again(assumed, recipe_of, tmp_path):
    recipe = recipe_of(losses=KD, teacher={"model": f"{assumed},size=32"}, epochs=2)

    def stop(point):
        if point.metrics is not None and point.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", device="cpu", force=True, progress=stop)
    notes: list[str] = []
    train(recipe, tmp_path / "run", device="cpu", resume=True, progress=lambda point: notes.extend(point.notes))
    assert notes and not any("right on" in note for note in notes)


def test_stored_answers_are_held_to_the_same(assumed, right, values, tmp_path):
    for model, name in ((f"{assumed},size=32", "wrong"), (right, "good")):
        recipe = values | {"teacher": {"model": model, "stored": str(tmp_path / name)}}
        if name == "good":
            store_answers(recipe, device="cpu")
            train(recipe, tmp_path / "run", device="cpu")
            continue
        with pytest.raises(XkdError, match=rf"^teacher: {ARCHITECTURE} is right on .*; `force` stores all the same$"):
            store_answers(recipe, device="cpu")
        assert not list((tmp_path / name).glob("round-*"))
        store_answers(recipe, device="cpu", force=True)
        store_answers(recipe | {"data": {**recipe["data"], "rounds": 2}}, device="cpu")  # which goes on
        with pytest.raises(XkdError, match=rf"^teacher: {ARCHITECTURE} is right on .*, which guessing explains"):
            train(recipe, tmp_path / "run", device="cpu")


@pytest.fixture
def values(cifar10):
    data = {"loader": "device", "path": str(cifar10), "padding": 1, "flip": False, "rounds": 1}
    return values_of(cifar10, data=data, losses=KD, epochs=1)


def test_the_commands_say_what_each_model_is_given(right, assumed, weights, recipe_file, xkd_distill, cifar10):
    file = recipe_file(losses=KD, teacher={"model": "embedded"}, epochs=1)
    code, _, told = xkd_distill("train", file, "--teacher", assumed, "--device", "cpu")
    assert code == 2 and told.startswith(f"error: --teacher: {ARCHITECTURE} is right on ") and told.count("\n") == 1
    assert told.endswith("; --force trains all the same\n")
    options = ("--size", "64", "--mean", "0.9", "--std", "0.1", "--resize", "squash", "--data", cifar10)
    code, _, told = xkd_distill("evaluate", ARCHITECTURE, "--weights", weights, *options)
    assert code == 0 and told.startswith(f"{ARCHITECTURE}: input: 64x64 RGB, squash, ") and told.count("\n") == 1
    code, _, told = xkd_distill("evaluate", assumed, "--data", cifar10)
    assert told.startswith(f"warning: {ARCHITECTURE}: ") and told.endswith(": give --size, --mean and --std\n")
    storing = ("store", file, "--teacher", f"{assumed},size=32", "--set", "data.rounds=1", "-o", "answers")
    code, _, told = xkd_distill(*storing)
    assert code == 2 and told.startswith(f"error: --teacher: {ARCHITECTURE} is right on ") and told.count("\n") == 1
    assert told.endswith("; --force stores all the same\n")
    code, _, told = xkd_distill(*storing, "--force")
    assert code == 0 and told.splitlines()[0].startswith(f"warning: teacher {ARCHITECTURE}: input: 32x32 ")
    assert told.splitlines()[0].endswith(f": write it as {assumed},size=32,mean=...,std=...")


def test_a_teacher_that_is_written_over_is_known_behind_its_words(right, recipe_of, tmp_path, teacher):
    (tmp_path / "student.pt").write_bytes(teacher.read_bytes())
    recipe = recipe_of(losses=KD, teacher={"model": f"{tmp_path / 'student.pt'},size=32"}, epochs=1)
    with pytest.raises(XkdError, match=r"student.pt' is one of the inputs"):
        train(recipe, tmp_path, device="cpu")


def test_what_stands_behind_a_name_is_exported(teacher, tmp_path):
    from distill.students.export import export

    export(f"{teacher},size=48,mean=0.5", tmp_path / "a.safetensors")
    exported, given = load_classifier(tmp_path / "a.safetensors"), load_classifier(teacher, size=48, mean=0.5)
    assert exported.preprocess == given.preprocess and exported.digest() == given.digest()
