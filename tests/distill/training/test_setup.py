"""Networks and data as a recipe names them, and what is refused before anything is written."""

import pytest
import torch

from distill.training.setup import set_up
from distill.training.train import train
from tests.distill.conftest import EXP_KD, KD
from xkd_eval import load_classifier
from xkd_eval.errors import XkdError


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
