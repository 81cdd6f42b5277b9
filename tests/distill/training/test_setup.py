"""Networks and data as a recipe names them, and what is refused before anything is written."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from distill.data.splits import Labelled, open_splits
from distill.methods.kd import Kd
from distill.training.checks import check_held_out
from distill.training.setup import set_up
from distill.training.train import train
from tests.distill.conftest import EXP_KD, KD
from xkd_eval import load_classifier
from xkd_eval.errors import XkdError


def test_the_teacher_sees_its_own_input_and_stays_as_it_is(recipe_of, tmp_path, teacher, monkeypatch):
    """Mean, std and channel order are the teacher's: its answers during training are those of the evaluator."""
    recipe = recipe_of(losses=EXP_KD, teacher={"model": str(teacher)})
    setup = set_up(recipe, "cpu", tmp_path)
    teacher_there = setup.teachers.by_name["teacher"]
    digest = teacher_there.classifier.digest()
    batch = next(iter(setup.test.batches(50)))
    alone = load_classifier(teacher)
    expected = alone(alone.preprocess.normalise(batch.pixels))
    torch.testing.assert_close(teacher_there(batch.pixels).logits, expected, rtol=1e-4, atol=1e-4)
    setup.wrapped.train()
    passed = (teacher_there(batch.pixels),)
    losses = setup.wrapped(setup.normalise(batch.pixels), passed, batch.labels, batch.indices, [1.0, 1.0])
    losses["total"].backward()
    assert teacher_there.classifier.digest() == digest
    assert not teacher_there.classifier.model.training
    assert all(parameter.grad is None for parameter in teacher_there.classifier.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in setup.student.parameters())
    known = {id(parameter) for parameter in setup.wrapped.parameters()}
    assert not any(id(parameter) in known for parameter in teacher_there.classifier.parameters())


@pytest.mark.parametrize("loader", ["device", "workers"])
def test_methods_are_told_the_class_of_each_image_by_the_places_that_indices_are(
    recipe_of, cifar10, tmp_path, teacher, monkeypatch, loader
):
    told = []
    monkeypatch.setattr(Kd, "see_labels", lambda method, labels: told.append(labels))
    more = {"workers": 0} if loader == "workers" else {"padding": 1}
    data = {"path": str(cifar10), "val_split": 0.2, "loader": loader, **more}
    recipe = recipe_of(losses=KD, teacher={"model": str(teacher)}, data=data)
    train_images = set_up(recipe, "cpu", tmp_path).train
    (labels,) = told
    assert len(labels) == train_images.n_images and labels.dtype == torch.int64
    for batch in train_images.batches(1, 0):
        assert torch.equal(labels[batch.indices], batch.labels)


def test_a_process_without_an_image_to_score_is_refused(recipe_of):
    splits = open_splits(recipe_of())
    few = replace(splits, test=Labelled(splits.test.dataset, splits.test.labels[:1]))
    with pytest.raises(XkdError, match=r"^data: 1 test images found for 2 processes; expected one each: take fewer"):
        check_held_out(few, 2)
    check_held_out(few, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": KD}, "teacher: missing; kd distils from one"),
        ({"losses": KD, "teacher": {"model": "none.pt"}}, "teacher: .*none.pt"),
        ({"losses": KD, "teacher": {"recipe": "teacher/cifar10/resnet56"}}, "make it by `xkd-distill train teacher/"),
        ({"losses": KD, "teacher": {"model": "xkd/resnet8", "weights": "none.pt"}}, "teacher_weights: .*none.pt"),
        ({"teacher": {"model": "embedded"}}, "teacher: nothing reads it"),
        (
            {"losses": KD, "teacher": {"model": "embedded"}},
            "teacher: embedded.* does not know 10 of the 10 classes of the data",
        ),
        ({"batch_size": 400}, "350 training images; expected at least one batch of 400"),
        ({"batch_size": 30, "accumulate": 4}, "30 images cannot be split into 4 equal parts"),
        ({"student": {"architecture": "resnet9"}}, "architecture: unknown 'resnet9'; nearest"),
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
        ({"losses": [{"method": "ce", "wieght": 1}]}, r"^ce: unknown option 'wieght'; nearest: .*weight"),
        (
            {"losses": KD, "teacher": {"model": f"py:{__name__}:Fails"}},
            r"^teacher: the model rejects images of 224x224 \(one\)",
        ),
        ({"losses": [{"method": "ce", "smoothing": 1}]}, "smoothing"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_written(recipe_of, tmp_path, changes, message):
    with pytest.raises(XkdError, match=message) as error:
        train(recipe_of(**changes), tmp_path / "run", device="cpu", runs=tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("run/*.pt"))


class Pooled(nn.Module):
    """The mean colours, and a head."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, images):
        return self.head(images.mean((2, 3)))


class Five(Pooled):
    def __init__(self, num_classes=10):
        super().__init__(5)


class Double(Pooled):
    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.double()


class Lazy(Pooled):
    def __init__(self, num_classes=10):
        super().__init__(num_classes)
        self.head = nn.LazyLinear(num_classes)


class Pair(Pooled):
    def forward(self, images):
        return super().forward(images), 1


class PairInTraining(Pooled):
    def forward(self, images):
        logits = super().forward(images)
        return (logits, logits) if self.training else logits


class Nan(Pooled):
    def forward(self, images):
        return super().forward(images) * float("nan")


class Drops(Pooled):
    def forward(self, images):
        return functional.dropout(super().forward(images), 0.5)


class Fails(Pooled):
    def forward(self, images):
        raise RuntimeError("one\ntwo")


class NanLater(Pooled):
    """A number for the first batches alone."""

    calls = 0

    def forward(self, images):
        NanLater.calls += 1
        return super().forward(images) * (float("nan") if NanLater.calls > 20 else 1)


def nothing(num_classes=10):
    return 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Five", r"student: \S+Five gives a float32 tensor \(2, 5\); expected an nn.Module .* logits \(B, 10\)"),
        ("Double", "student: .*Double has weights of another precision; expected"),
        ("Lazy", "student: .*Lazy cannot be evaluated .*uninitialized"),
        ("Pair", "student: .*Pair gives a tuple for 2 images; expected logits"),
        ("PairInTraining", "student: .*PairInTraining gives a tuple in training mode; expected"),
        ("Nan", "student: .*Nan gives logits that are not finite on noise"),
        ("Drops", "student: .*Drops answers otherwise when an image is classified again"),
        ("Fails", r"student: .*Fails cannot be evaluated \(one\); expected"),
        ("nothing", "architecture: .*nothing' returned a int; expected an nn.Module"),
    ],
)
def test_a_student_that_could_not_be_evaluated_is_refused_by_name(recipe_of, tmp_path, name, message):
    student = {"architecture": f"py:{__name__}:{name}", "preprocess": {"size": [32, 32]}}
    with pytest.raises(XkdError, match=f"^{message}") as error:
        set_up(recipe_of(student=student), "cpu", tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["Nan", "NanLater"])
def test_a_teacher_that_answers_no_numbers_is_named(recipe_of, tmp_path, monkeypatch, name):
    monkeypatch.setattr(NanLater, "calls", 0)
    teacher = {"model": f"py:{__name__}:{name}", "preprocess": {"size": [32, 32]}}
    with pytest.raises(XkdError, match=rf"^teacher: \S+{name} gives logits that are not finite; check its weights"):
        train(recipe_of(losses=KD, teacher=teacher), tmp_path / "run", device="cpu", force=True)


def test_a_missing_compiler_is_one_line(recipe_of, tmp_path, monkeypatch):
    def fails(function):
        def call(values):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\n\nand a page more")

        return call

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(XkdError, match=r"compile: torch.compile fails here \(.* compiler found\); install") as error:
        train(recipe_of(compile=True), tmp_path / "run", device="cpu")
    assert "\n" not in str(error.value)


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
