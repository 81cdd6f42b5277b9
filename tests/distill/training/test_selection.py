"""Which epoch and which weights are kept, when a training ends, and when it goes on for longer."""

import csv
import os
import signal

import pytest

from distill.runs.interruption import TrainingInterruptedError
from distill.runs.tables import Outcome, cells, legend
from distill.students.evaluate import evaluate
from distill.training.evaluation import better_weights
from distill.training.train import train
from tests.distill.conftest import assert_same_bits, values_of, weights_of
from xkd_eval.errors import XkdError

CONSTANT = {"schedule": {"name": "constant"}, "optimiser": {"name": "sgd", "learning_rate": 0.1}}


def rows_of(directory):
    return list(csv.DictReader((directory / "metrics.csv").open()))


def test_it_stops_after_as_many_epochs_without_a_better_one(recipe_of, tmp_path, cifar10):
    data = {"loader": "device", "path": str(cifar10), "val_split": 0.2}
    recipe = recipe_of(data=data, epochs=40, patience=2, **CONSTANT)
    result = train(recipe, tmp_path, device="cpu").result
    accuracies = [float(row["val_top1"]) for row in rows_of(tmp_path)]
    assert result["epochs"] == len(accuracies) < 40
    assert accuracies.index(max(accuracies)) == len(accuracies) - 3
    assert result["best"]["epoch"] == len(accuracies) - 2


def test_patience_without_validation_images_is_refused(recipe_of, tmp_path):
    with pytest.raises(XkdError, match=r"^patience: no validation images .*`val_split`"):
        train(recipe_of(patience=2), tmp_path / "run", device="cpu")


def test_the_epoch_is_selected_on_test_images_only_if_asked_and_it_is_said(recipe_of, tmp_path, cifar10):
    recipe = recipe_of(epochs=6, **CONSTANT)
    last = train(recipe, tmp_path / "last", device="cpu").result
    best = train(recipe, tmp_path / "best", device="cpu", overrides=["select_on_test=true"]).result
    assert (last["student"], best["student"]) == ("last", "best")
    assert best["best"]["epoch"] == last["best"]["epoch"]
    assert evaluate(tmp_path / "best" / "student.pt", cifar10).models[0].scores.top1 == best["best"]["test_top1"]
    assert "is the epoch that is the best on the test images" in legend([Outcome("mine", best)])
    assert "is the epoch that is the best" not in legend([Outcome("mine", last)])


def test_selection_on_test_images_beside_validation_images_is_refused(recipe_of, tmp_path, cifar10):
    data = {"loader": "device", "path": str(cifar10), "val_split": 0.2}
    with pytest.raises(XkdError, match=r"^select_on_test: there are validation images"):
        train(recipe_of(data=data, select_on_test=True), tmp_path / "run", device="cpu")


@pytest.mark.parametrize("val_split", [0.0, 0.3])
def test_the_average_and_the_trained_weights_are_both_measured_and_the_better_named(
    recipe_of, tmp_path, cifar10, val_split
):
    """An average that hardly moves from the random weights: the trained ones are better."""
    data = {"loader": "device", "path": str(cifar10), "val_split": val_split}
    trained = train(recipe_of(data=data, epochs=3, ema_decay=0.9), tmp_path, device="cpu")
    result = trained.result
    split = "val" if val_split else "test"
    epoch = result[result["student"]]
    assert result["average"]["better"] == better_weights(epoch, split)
    assert result["average"]["saved"] == (result["average"]["better"] if val_split else "average")
    measured = evaluate(tmp_path / "student.pt", cifar10).models[0].scores.top1
    suffix = "_trained" if result["average"]["saved"] == "trained" else ""
    assert measured == pytest.approx(epoch["test_top1" + suffix])
    assert epoch[f"{split}_loss"] != epoch[f"{split}_loss_trained"]
    assert f"{100 * measured:.1f} %" in repr(trained)
    assert f"{100 * measured:.2f}" in cells([Outcome("mine", result)])[0][4 if result["student"] == "best" else 3]


def test_more_epochs_go_on_where_the_schedule_does_not_depend_on_them(recipe_of, tmp_path):
    train(recipe_of(epochs=4, **CONSTANT), tmp_path / "whole", device="cpu")
    train(recipe_of(epochs=2, **CONSTANT), tmp_path / "grown", device="cpu")
    with pytest.raises(XkdError, match=r"these differ: epochs; `resume` goes on with it"):
        train(recipe_of(epochs=4, **CONSTANT), tmp_path / "grown", device="cpu")
    result = train(recipe_of(epochs=4, **CONSTANT), tmp_path / "grown", device="cpu", resume=True).result
    assert result["epochs"] == len(rows_of(tmp_path / "grown")) == 4
    assert_same_bits(weights_of(tmp_path / "grown"), weights_of(tmp_path / "whole"))
    for fewer in (3, 2):
        with pytest.raises(XkdError, match=r"these differ: epochs; another directory"):
            train(recipe_of(epochs=fewer, **CONSTANT), tmp_path / "grown", device="cpu", resume=True)


def test_more_epochs_of_a_schedule_that_ends_are_refused(recipe_of, tmp_path):
    train(recipe_of(epochs=1), tmp_path, device="cpu")
    with pytest.raises(XkdError, match=r"these differ: epochs; another directory"):
        train(recipe_of(epochs=2), tmp_path, device="cpu", resume=True)


def test_an_average_interrupted_is_the_same_average(recipe_of, few_images, tmp_path):
    recipe = recipe_of(epochs=2, ema_decay=0.99, data=values_of(few_images)["data"])
    train(recipe, tmp_path / "whole", device="cpu")

    def stop(point):
        if point.images == 100 + 2 * 32:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError):
        train(recipe, tmp_path / "cut", device="cpu", progress=stop)
    train(recipe, tmp_path / "cut", device="cpu", resume=True)
    assert_same_bits(weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole"))
