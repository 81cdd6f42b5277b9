"""Vision transformers of timm as students: built for the recipe's size, or refused by what to change."""

from __future__ import annotations

import pytest
import torch

from distill.data.splits import Classes
from distill.recipe.networks import Student
from distill.training.networks import build_student, student_preprocess
from distill.training.train import train
from tests.distill.conftest import EXP_KD
from xkd_eval import load_classifier
from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.errors import XkdError

VIT, LEVIT = "timm/vit_tiny_patch16_224", "timm/levit_128s"
AVERAGED = {"depth": 1, "patch_size": 8, "global_pool": "avg", "class_token": False}


def built(architecture, size=(32, 32), needs=(), **arguments):
    preprocess = {} if size is None else {"size": list(size)}
    if architecture == VIT:
        arguments = {"depth": 1, **arguments}
    recipe = Student(architecture=architecture, arguments=arguments, preprocess=preprocess)
    return build_student(recipe, Classes(10), frozenset(needs))


def test_the_recipes_size_is_the_networks_and_is_said():
    student = built(VIT)
    assert student.arguments == {"num_classes": 10, "depth": 1, "img_size": 32}
    assert student.classifier.model.patch_embed.grid_size == (2, 2)
    assert student.notes == (f"student.arguments.img_size: 32, since {VIT} is built for one size",)
    assert student.classifier(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_a_size_that_is_no_square():
    assert built(VIT, (32, 64)).arguments["img_size"] == [32, 64]


@pytest.mark.parametrize("arguments", [{"img_size": 32}, {"dynamic_img_size": True}], ids=["told", "of any size"])
def test_a_network_that_takes_the_size_is_as_it_was_asked_for(arguments):
    student = built(VIT, **arguments)
    assert (student.arguments, student.notes) == ({"num_classes": 10, "depth": 1, **arguments}, ())


def test_the_size_that_it_is_built_for_is_its_input_unless_the_recipe_says_another():
    assert built(VIT, None, img_size=48).classifier.preprocess.size == (48, 48)
    told = Student(architecture=VIT, arguments={"img_size": 48}, preprocess={"size": [32, 32]})
    assert student_preprocess(told).size == (32, 32)
    assert student_preprocess(Student(architecture="resnet20", arguments={"img_size": 48})).size == (224, 224)


@pytest.mark.parametrize(
    ("architecture", "size", "arguments", "message"),
    [
        (
            VIT,
            (32, 32),
            {"img_size": 64},
            rf"^student: {VIT} built with img_size=64 takes no images of 32x32 \(.*\), and takes those of 64x64; give "
            r"student\.preprocess\.size=\[64, 64\], or leave student\.arguments\.img_size out$",
        ),
        (
            LEVIT,
            (40, 40),
            {},
            rf"^student: {LEVIT} takes no images of 40x40 \(.*\), and takes those of 64x64; give "
            r"student\.preprocess\.size=\[64, 64\]$",
        ),
        ("timm/test_resnet", (32, 32), {"in_chans": 1}, r"^student: \S+ takes images of 1 channels; expected 3, RGB"),
    ],
    ids=["another size", "a size that it is not built for", "not the size"],
)
def test_a_size_that_does_not_do_is_refused_with_one_that_does(architecture, size, arguments, message):
    with pytest.raises(XkdError, match=message):
        built(architecture, size, **arguments)


def test_pixels_that_no_patch_sees_are_named():
    student = built(VIT, (40, 36))
    assert student.notes[1] == (
        "student.preprocess.size: of 40x36 pixels patches of 16x16 leave the last 8 rows and 4 columns unseen; "
        "[48, 48], or a student.arguments.patch_size that divides it, shows them whole"
    )
    network = student.classifier.eval()
    images = torch.rand(1, 3, 40, 36)
    others = images.clone()
    others[:, :, 32:], others[:, :, :, 32:] = 0, 0
    assert torch.equal(network(images), network(others))
    others[:, :, 31] = 0
    assert not torch.equal(network(images), network(others))
    assert len(built(VIT, (40, 40), patch_size=8).notes) == 1


def test_a_cam_that_another_pool_would_have_is_named():
    with pytest.raises(XkdError, match=r"class token, not the .* map; with student\.arguments\.global_pool=avg it has"):
        built(VIT, needs=["features"])
    assert built(VIT, needs=["features"], **AVERAGED).classifier.head.map_size == (4, 4)
    with pytest.raises(XkdError, match=r"its head reads tokens, not a spatial map$"):
        built("timm/deit_tiny_distilled_patch16_224", needs=["features"], depth=1)


def test_a_trained_transformer_is_read_back_as_it_was(recipe_of, tmp_path, teacher):
    student = {"architecture": VIT, "arguments": AVERAGED, "preprocess": {"size": [32, 32]}}
    recipe = recipe_of(student=student, losses=EXP_KD, teacher={"model": str(teacher)}, epochs=1)
    train(recipe, tmp_path / "run", device="cpu")
    path = tmp_path / "run" / "student.pt"
    assert read_checkpoint(path).arguments == {"num_classes": 10, "img_size": 32, **AVERAGED}
    classifier = load_classifier(path)
    assert (classifier.preprocess.size, classifier.head.map_size) == ((32, 32), (4, 4))
