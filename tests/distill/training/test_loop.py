"""Whole trainings: what they leave behind, that they continue to the same bits, and how they stop."""

import csv
import json
import os
import signal

import pytest
import torch
from torch.nn import functional as F

from distill.data.splits import open_splits
from distill.methods import create_method
from distill.methods.base import Method
from distill.recipe.files import load_recipe
from distill.runs.directory import TrainingDirectory
from distill.runs.interruption import TrainingInterruptedError
from distill.students.measure import measure
from distill.training.setup import set_up
from distill.training.step import OrdinaryStep
from distill.training.train import train
from tests.distill.conftest import EXP_KD, KD, write_cifar10
from tests.distill.processes import start, wait_for
from xkd_eval import load_classifier
from xkd_eval.classifiers.checkpoint import read_checkpoint, save_checkpoint
from xkd_eval.datasets import open_dataset
from xkd_eval.errors import XkdError


def weights_of(directory):
    return read_checkpoint(directory / "student.pt").state_dict


def assert_same_bits(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_a_run_leaves_what_it_came_to(recipe_of, tmp_path, cifar10):
    seen = []
    result = train(recipe_of(), tmp_path, device="cpu", progress=lambda *where: seen.append(where)).result
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["ce"]) > float(rows[1]["ce"]) > 0
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert (result["student"], result["best_on"]) == ("last", "test images")
    assert seen[-1][:2] == (640, 640)
    assert load_recipe(str(tmp_path / "recipe.yaml")) == recipe_of()
    measured = measure(str(tmp_path / "student.pt"), str(cifar10))
    assert measured.top1 == pytest.approx(result["last"]["test_top1"])
    assert measured.loss == pytest.approx(result["last"]["test_loss"], abs=1e-4)
    classifier = load_classifier(tmp_path / "student.pt")
    assert classifier.class_names[3] == "class 3"
    assert classifier.head is not None


def test_it_learns(recipe_of, tmp_path):
    result = train(recipe_of(epochs=8), tmp_path, device="cpu").result
    assert result["last"]["test_top1"] > 0.9


def test_the_same_seed_gives_the_same_bits_and_another_others(recipe_of, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(recipe_of(seed=seed, epochs=1), tmp_path / name, device="cpu")
    assert_same_bits(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))
    assert any(
        not torch.equal(value, weights_of(tmp_path / "c")[name]) for name, value in weights_of(tmp_path / "a").items()
    )


EVERYTHING = {
    "losses": [{"method": "ce", "label_smoothing": 0.1}, {"method": "crd", "negatives": 16}, {"method": "kd"}],
    "ema_decay": 0.9,
    "accumulate": 2,
    "clip_norm": 1.0,
    "epochs": 3,
}


def test_interrupted_within_an_epoch_it_continues_to_the_same_bits(recipe_of, tmp_path, teacher):
    recipe = recipe_of(**EVERYTHING, teacher={"model": str(teacher)})
    whole = train(recipe, tmp_path / "whole", device="cpu").result

    def stop(done, total, where):
        if done == 13 * 32:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError, match=r"epoch 2 after step 3; saved in .*`resume`"):
        train(recipe, tmp_path / "cut", device="cpu", progress=stop)
    with pytest.raises(XkdError, match="holds an unfinished run of 1 epochs; `resume` continues it"):
        train(recipe, tmp_path / "cut", device="cpu")
    continued = train(recipe, tmp_path / "cut", device="cpu", resume=True).result
    assert_same_bits(weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole"))
    for row in (continued["last"], whole["last"]):
        row.pop("seconds")
    assert continued["last"] == whole["last"]


def test_killed_it_continues_to_the_same_bits(recipe_file, tmp_path):
    file = recipe_file(epochs=6)
    train(load_recipe(str(file)), tmp_path / "whole", device="cpu")
    process = start("-m", "distill", "train", file, "--device", "cpu", "-o", tmp_path / "cut")
    wait_for(tmp_path / "cut" / "last.pt")
    process.kill()
    process.communicate()
    assert not (tmp_path / "cut" / "result.json").is_file()
    train(file, tmp_path / "cut", device="cpu", resume=True)
    assert_same_bits(weights_of(tmp_path / "cut"), weights_of(tmp_path / "whole"))


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


def test_a_loss_that_is_not_finite_stops_with_its_name(recipe_of, tmp_path):
    recipe = recipe_of(optimiser={"name": "sgd", "learning_rate": 1e12}, schedule={"name": "constant"})
    with pytest.raises(
        XkdError, match=r"the loss ce is not finite in step \d+ of epoch \d; the last good checkpoint is"
    ):
        train(recipe, tmp_path, device="cpu")
    assert not (tmp_path / "student.pt").exists()


class Nothing(Method):
    """A loss without a value, or without a gradient."""

    name = "nothing"
    requires = frozenset({"logits"})

    def __init__(self, value):
        super().__init__()
        self.value = value

    def losses(self, student, teacher, labels, indices):
        return {"nothing": self.value(student.logits)}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda logits: logits.sum() * 0, "nothing is zero for a student with random weights"),
        (lambda logits: logits.detach().square().sum(), "nothing gives the student no gradient"),
        (lambda logits: logits.sum() / 0, "nothing is (inf|-inf|nan) on the first batch"),
        (lambda logits: (logits - logits.detach()).abs().sqrt().sum() + 1, "nothing has a gradient .* not finite"),
    ],
)
def test_a_loss_that_teaches_nothing_stops_at_the_start(recipe_of, tmp_path, teacher, monkeypatch, value, message):
    make = create_method
    monkeypatch.setattr(
        "distill.training.objective.create_method",
        lambda name, **options: Nothing(value) if name == "kd" else make(name, **options),
    )
    with pytest.raises(XkdError, match=f"losses: {message}"):
        train(recipe_of(losses=KD, teacher={"model": str(teacher)}), tmp_path / "run", device="cpu")


@pytest.mark.parametrize("method", ["kd", "dkd", "dist", "fitnet", "at", "sp", "rkd", "crd", "reviewkd", "cat_kd"])
def test_every_method_trains(recipe_of, tmp_path, teacher, method):
    # crd's own 16,384 negatives an image are 7 s of gathering.
    options = {"negatives": 256} if method == "crd" else {}
    check_trains(recipe_of, tmp_path, teacher, method, **options)


@pytest.mark.parametrize("method", ["sdd", "e2kd", "exp_kd", "pkt", "nst"])
def test_every_other_method_trains(recipe_of, tmp_path, teacher, method):
    check_trains(recipe_of, tmp_path, teacher, method)


def test_ofd_trains_on_what_precedes_an_activation(recipe_of, tmp_path, teacher):
    taps = [f"layer{number}.0.bn2" for number in (1, 2, 3)]
    check_trains(recipe_of, tmp_path, teacher, "ofd", student_taps=taps, teacher_taps=taps)


def check_trains(recipe_of, tmp_path, teacher, method, **options):
    losses = [{"method": "ce"}, {"method": method, "weight": 0.01, **options}]
    recipe = recipe_of(losses=losses, teacher={"model": str(teacher)}, epochs=1, precision="bf16")
    result = train(recipe, tmp_path / "run", device="cpu").result
    assert any(name.startswith(method) and value > 0 for name, value in result["last"].items())
    assert 0 <= result["last"]["test_agreement"] <= 1
    student = load_classifier(tmp_path / "run" / "student.pt")
    assert {name.partition(".")[0] for name in student.model.state_dict()} == {
        "conv1", "bn1", "layer1", "layer2", "layer3", "linear"
    }  # fmt: skip


def test_the_teacher_sees_its_own_input_and_stays_as_it_is(recipe_of, tmp_path, teacher, monkeypatch):
    """Mean, std and channel order are the teacher's: its answers during training are those of the evaluator."""
    recipe = recipe_of(losses=EXP_KD, teacher={"model": str(teacher)})
    setup = set_up(recipe, "cpu", tmp_path)
    digest = setup.teacher.classifier.digest()
    batch = next(iter(setup.test.batches(50)))
    alone = load_classifier(teacher)
    expected = alone(alone.preprocess.normalise(batch.pixels))
    torch.testing.assert_close(setup.teacher(batch.pixels).logits, expected, rtol=1e-4, atol=1e-4)
    setup.wrapped.train()
    passed = setup.teacher(batch.pixels)
    losses = setup.wrapped(setup.normalise(batch.pixels), passed, batch.labels, batch.indices, [1.0, 1.0])
    losses["total"].backward()
    assert setup.teacher.classifier.digest() == digest
    assert not setup.teacher.classifier.model.training
    assert all(parameter.grad is None for parameter in setup.teacher.classifier.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in setup.student.parameters())
    known = {id(parameter) for parameter in setup.wrapped.parameters()}
    assert not any(id(parameter) in known for parameter in setup.teacher.classifier.parameters())


def test_weights_combine_and_grow(recipe_of, tmp_path, teacher):
    losses = [{"method": "ce", "weight": 0.5}, {"method": "kd", "weight": 2, "ramp_epochs": 4}]
    setup = set_up(recipe_of(losses=losses, teacher={"model": str(teacher)}), "cpu", tmp_path)
    batch = next(iter(setup.train.batches(0, 0)))
    passed = setup.teacher(batch.pixels)
    for epoch, share in ((1, 0.25), (3, 0.75), (4, 1.0), (9, 1.0)):
        weights = setup.objective.weights(epoch)
        values = setup.wrapped(setup.normalise(batch.pixels), passed, batch.labels, batch.indices, weights)
        torch.testing.assert_close(values["total"], 0.5 * values["ce"] + share * 2 * values["kd"])


def test_micro_batches_give_the_gradient_of_the_whole_batch(recipe_of, tmp_path):
    """With batch norm in eval mode, where micro-batches see what the whole sees."""

    gradients = []
    for accumulate in (1, 4):
        recipe = recipe_of(accumulate=accumulate, optimiser={"name": "sgd", "learning_rate": 1.0, "momentum": 0.0})
        setup = set_up(recipe, "cpu", tmp_path)
        setup.wrapped.eval()
        before = setup.student.model.linear.weight.clone()
        OrdinaryStep(setup)(next(iter(setup.train.batches(0, 0))), 1.0, [1.0])
        gradients.append(before - setup.student.model.linear.weight)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)


def test_held_out_images_select_and_are_not_trained_on(recipe_of, tmp_path, cifar10):
    data = {"loader": "device", "path": str(cifar10), "val_split": 0.2}
    result = train(recipe_of(data=data, epochs=3), tmp_path, device="cpu").result
    assert (result["student"], result["best_on"], result["train_images"]) == ("best", "held-out training images", 280)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert max(float(row["val_top1"]) for row in rows) == result["best"]["val_top1"]
    assert not any("test_top1" in row for row in rows)
    assert measure(str(tmp_path / "student.pt"), str(cifar10)).top1 == pytest.approx(result["best"]["test_top1"])
    splits = open_splits(recipe_of(data=data))
    assert not set(splits.train.dataset.ids) & set(splits.val.dataset.ids)
    assert torch.bincount(torch.tensor(splits.val.labels)).tolist() == [7] * 10


def test_measured_by_hand(teacher, cifar10):
    """Against a loop over single images."""
    classifier, dataset = load_classifier(teacher), open_dataset(str(cifar10), split="test")
    pixels = torch.stack([classifier.preprocess.pixels(dataset.load(place).image) for place in range(len(dataset))])
    with torch.inference_mode():
        logits = torch.cat([classifier(classifier.preprocess.normalise(image[None])) for image in pixels])
    labels = torch.tensor(dataset.labels)
    scores = measure(str(teacher), str(cifar10), teacher=str(teacher))
    assert scores.top1 == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert scores.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)
    assert scores.agreement == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": KD}, "teacher: missing; kd distils from one"),
        ({"losses": KD, "teacher": {"model": "none.pt"}}, "teacher: .*none.pt"),
        ({"losses": KD, "teacher": {"recipe": "teacher/cifar10/resnet56"}}, "make it by `xkd-distill train teacher/"),
        ({"losses": KD, "teacher": {"model": "xkd/resnet8", "weights": "none.pt"}}, "teacher_weights: .*none.pt"),
        ({"teacher": {"model": "embedded"}}, "teacher: nothing reads it"),
        ({"losses": KD, "teacher": {"model": "embedded"}}, "teacher: .*classes"),
        ({"batch_size": 400}, "350 training images; expected at least one batch of 400"),
        ({"batch_size": 30, "accumulate": 4}, "30 images cannot be split into 4 equal parts"),
        ({"student": {"architecture": "resnet9"}}, "architecture: 'resnet9' is unknown; nearest"),
        ({"student": {"architecture": "resnet8", "arguments": {"width": 3}}}, "unknown argument 'width'"),
        ({"student": {"architecture": "resnet8", "arguments": {"widths": [4, 4]}}}, r"widths: \[4, 4\] found"),
        (
            {"student": {"architecture": "resnet8", "preprocess": {"sise": 3}}},
            r"^student\.preprocess: nothing reads the key 'sise'; nearest: size",
        ),
        (
            {"losses": KD, "teacher": {"model": "embedded", "preprocess": {"men": 3}}},
            r"^teacher\.preprocess: nothing reads the key 'men'; nearest: mean",
        ),
        ({"losses": [{"method": "kdd"}]}, "kdd"),
        ({"losses": [{"method": "ce", "smoothing": 1}]}, "smoothing"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_written(recipe_of, tmp_path, changes, message):
    with pytest.raises(XkdError, match=message) as error:
        train(recipe_of(**changes), tmp_path / "run", device="cpu", runs=tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("run/*.pt"))


def test_a_missing_compiler_is_one_line(recipe_of, tmp_path, monkeypatch):
    def fails(function):
        def call(values):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\n\nand a page more")

        return call

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(XkdError, match=r"compile: torch.compile fails here \(.* compiler found\); install") as error:
        train(recipe_of(compile=True), tmp_path / "run", device="cpu")
    assert "\n" not in str(error.value)


def test_bad_data_is_one_line(recipe_of, tmp_path, cifar10):
    def data(path, **changes):
        return {"loader": "device", "path": str(path), **changes}

    with pytest.raises(XkdError, match="leaves an empty split"):
        train(recipe_of(data=data(cifar10, val_split=0.001)), tmp_path / "run", device="cpu")
    with pytest.raises(XkdError, match="data: missing"):
        train(recipe_of(data={"loader": "device"}), tmp_path / "run", device="cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(XkdError, match="data"):
        train(recipe_of(data=data(tmp_path / "empty")), tmp_path / "run", device="cpu")


def test_a_student_without_a_cam_head_is_refused_for_a_cam_loss(recipe_of, tmp_path, teacher):
    student = {"architecture": "timm/mobilenetv3_small_050", "preprocess": {"size": [32, 32]}}
    with pytest.raises(XkdError, match="student: timm/mobilenetv3_small_050 has no CAM head, which a method needs: "):
        train(
            recipe_of(losses=EXP_KD, teacher={"model": str(teacher)}, student=student), tmp_path / "run", device="cpu"
        )


@pytest.mark.parametrize("whose", ["student", "teacher"])
def test_a_tap_that_is_no_module_says_whose(recipe_of, tmp_path, teacher, whose):
    losses = [{"method": "ce"}, {"method": "at", f"{whose}_taps": ["layr1"]}]
    with pytest.raises(XkdError, match=f"{whose}_taps: the {whose} has no module 'layr1'; nearest: layer1"):
        train(recipe_of(losses=losses, teacher={"model": str(teacher)}), tmp_path / "run", device="cpu")


def test_a_student_from_another_library(recipe_of, tmp_path, teacher):
    student = {"architecture": "timm/resnet10t", "preprocess": {"size": [64, 64]}}
    recipe = recipe_of(losses=EXP_KD, teacher={"model": str(teacher)}, student=student, epochs=1)
    result = train(recipe, tmp_path / "run", device="cpu").result
    assert result["last"]["exp_kd"] > 0
    assert load_classifier(tmp_path / "run" / "student.pt").preprocess.size == (64, 64)


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
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_data_of_other_classes_than_the_test_images(recipe_of, tmp_path):
    folder = write_cifar10(tmp_path / "few", classes=10)
    (folder / "test_batch").unlink()
    with pytest.raises(XkdError, match="data"):
        train(recipe_of(data={"loader": "device", "path": str(folder)}), tmp_path / "run", device="cpu")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"widths": [8, 8, 16, 32]}, torch.contiguous_format),
        ({"widths": [8, 8, 16, 32], "shortcut": "A"}, torch.channels_last),
        ({"widths": [16, 16, 32, 64]}, torch.channels_last),
    ],
)
def test_channels_last_is_left_where_onednn_overruns_its_buffer(recipe_of, tmp_path, arguments, expected):
    student = {"architecture": "resnet8", "arguments": arguments, "preprocess": {"size": [32, 32]}}
    setup = set_up(recipe_of(student=student), "cpu", tmp_path)
    batch = next(iter(setup.train.batches(0, 0)))
    assert setup.student.model.layer1[0].conv1.weight.is_contiguous(memory_format=expected)
    assert setup.normalise(batch.pixels).is_contiguous(memory_format=expected)
