"""Who says what a network is fed with, for every source; and a warning exactly where nobody says it of its weights."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from xkd_eval.classifiers import Classifier, Preprocess, architectures, load_classifier
from xkd_eval.classifiers.conventions import cifar_input, corrected
from xkd_eval.classifiers.input_source import CALLER, InputSource, input_line
from xkd_eval.classifiers.told import ToldInput
from xkd_eval.explainers.inspection import inspect_classifier

IMAGENET = Preprocess()
CIFAR10 = Preprocess(size=32, mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616))
CIFAR100 = Preprocess(size=32, mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761))

MODULES = """
import timm, torchvision
from xkd_eval import Classifier, Preprocess, load_classifier

def plain():
    return torchvision.models.squeezenet1_1(num_classes=4)

def of_timm():
    return timm.create_model("test_resnet", num_classes=4)

def made():
    return Classifier(plain(), Preprocess(size=64), name="mine", num_classes=4)

def loaded():
    return load_classifier(plain(), size=64)
"""


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Files of weights by the architecture that they are of, and nets.py, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("nets.py").write_text(MODULES)
    torch.save(timm.create_model("test_resnet", num_classes=4).state_dict(), "timm.pth")
    torch.save(models.squeezenet1_1(num_classes=4).state_dict(), "torchvision.pth")
    for classes in (10, 100, 7):
        torch.save(architectures.build("resnet8", num_classes=classes).state_dict(), f"{classes}.pth")
    return tmp_path


def warned(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("model", "source", "assumed"),
    [
        ("timm/test_resnet,weights=timm.pth", "timm's config of test_resnet", "size, mean and std"),
        (
            "torchvision/squeezenet1_1,weights=torchvision.pth",
            "torchvision's transforms of squeezenet1_1",
            "size, mean",
        ),
        (
            "torchvision/squeezenet1_1,weights=torchvision.pth,size=64,mean=0.5",
            "size, mean: option; the rest: torchvision's transforms of squeezenet1_1",
            "std is assumed",
        ),
        (
            "torchvision/squeezenet1_1,weights=torchvision.pth,size=64,mean=0.5,std=0.5",
            "size, mean, std: option; the rest: torchvision's transforms of squeezenet1_1",
            "",
        ),
        ("xkd/resnet8,weights=10.pth", "CIFAR-10's", ""),
        ("xkd/resnet8,weights=100.pth", "CIFAR-100's", ""),
        ("xkd/resnet8,weights=7.pth", "default", "size, mean and std are assumed"),
        ("xkd/resnet8,weights=10.pth,mean=0.5", "mean: option; the rest: CIFAR-10's", ""),
        ("xkd/resnet8,weights=10.pth,size=40", "size: option; the rest: default", "mean and std are assumed"),
        ("py:nets:plain,size=64", "size: option; the rest: default", "mean and std are assumed"),
        ("py:nets:of_timm", "timm's config of test_resnet", ""),
        ("py:nets:of_timm,weights=timm.pth", "timm's config of test_resnet", "size, mean and std are assumed"),
        ("py:nets:made", str(CALLER), ""),
        ("py:nets:made,mean=0.5", f"mean: option; the rest: {CALLER}", ""),
        ("py:nets:loaded", "size: option; the rest: default", "mean and std are assumed"),
        ("embedded/kd", "checkpoint", ""),
        ("embedded/kd,size=48,resize=crop", "size, resize: option; the rest: checkpoint", ""),
    ],
    ids=lambda value: value[:60],
)
def test_who_says_it(weights, caplog, model, source, assumed):
    classifier = load_classifier(model)
    assert str(classifier.input_from) == source
    assert f"({source})" in repr(classifier)
    assert inspect_classifier(classifier).input_from == source
    told = warned(caplog)
    assert len(told) == (1 if assumed else 0)  # of a function's parts nothing
    for line in told:
        assert assumed in line and input_line(classifier.preprocess, classifier.input_from) in line


def test_of_timms_image_size_the_argument_says_it(weights, caplog):
    torch.save(timm.create_model("test_vit", num_classes=4).state_dict(), "vit.pth")
    classifier = load_classifier("timm/test_vit", weights="vit.pth", arguments={"img_size": 64})
    assert str(classifier.input_from) == "size: img_size; the rest: timm's config of test_vit"
    (line,) = warned(caplog)
    assert "; mean and std are assumed, as nothing says" in line


def test_a_module_and_a_classifier(caplog):
    module = architectures.build("resnet8", num_classes=3)
    classifier = load_classifier(module, size=32)
    assert str(classifier.input_from) == "size: option; the rest: default"
    assert len(warned(caplog)) == 1
    assert load_classifier(classifier) is classifier and len(warned(caplog)) == 1  # it was said
    again = load_classifier(classifier, mean=0.5, std=0.5)
    assert again.input_from == classifier.input_from.but("option", ["mean", "std"])
    assert str(again.input_from) == "size, mean, std: option; the rest: default"
    assert len(warned(caplog)) == 1


def test_published_weights_are_of_their_librarys_convention(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub/checkpoints" / Path(models.get_model_weights("squeezenet1_1").DEFAULT.url).name
    cached.parent.mkdir(parents=True)
    torch.save(models.squeezenet1_1().state_dict(), cached)
    classifier = load_classifier("torchvision/squeezenet1_1")
    assert str(classifier.input_from) == "torchvision's transforms of squeezenet1_1"
    assert not warned(caplog)


@pytest.mark.parametrize(
    ("classes", "expected"), [(10, CIFAR10), (100, CIFAR100), (7, replace(IMAGENET, size=(32, 32)))], ids=str
)
def test_a_cifar_architecture_is_given_the_mean_of_its_data(weights, classes, expected):
    assert load_classifier("xkd/resnet8", weights=f"{classes}.pth").preprocess == expected


def test_at_another_size_than_cifars_nothing_is_known_of_its_mean():
    preprocess, source = corrected(*cifar_input(10), {"size": 64, "std": 0.5})
    assert preprocess == Preprocess(size=64, std=0.5)
    assert (source.assumed, str(source)) == (("mean",), "size, std: option; the rest: default")


def test_recipes_of_cifar_train_with_what_is_assumed():
    import distill

    for name, expected in (("ce/cifar10/resnet20", CIFAR10), ("teacher/cifar100/resnet56", CIFAR100)):
        said = distill.load_recipe(name).student.preprocess
        assert Preprocess(**{field: tuple(value) for field, value in said.items()}) == expected


def test_the_models_own_words_win():
    classifier = load_classifier("embedded/kd,size=48,mean=0.1", size=64, std=0.5)
    assert classifier.preprocess == Preprocess(size=48, mean=0.1, std=0.5)


def test_weights_and_classes_behind_the_name(weights):
    classifier = load_classifier("xkd/resnet8,weights=10.pth,num_classes=10", weights="no such file")
    assert classifier.name == "xkd/resnet8 (10)"


def test_a_line_says_all_that_a_photograph_goes_through():
    preprocess = Preprocess(64, "crop", "bicubic", (104, 117, 123), 1, "BGR", 255, 0.9)
    assert input_line(preprocess, InputSource("checkpoint")) == (
        "64x64 BGR, white = 255, crop of 0.9, bicubic, mean 104 117 123, std 1 1 1 (checkpoint)"
    )


def test_several_who_say_it():
    source = InputSource("checkpoint").but("option", ["mean", "size"]).but("protocol model", ["resize", "mean"])
    assert str(source) == "mean, resize: protocol model; size: option; the rest: checkpoint"
    assert str(source.but("protocol chefer", Preprocess().to_dict())) == "protocol chefer"


def test_what_is_missing_is_named_as_it_would_be_written():
    source = InputSource(is_assumed=True).but("option", ["size"])
    told = ToldInput("kd", "timm/a,weights=b.pth,size=64", None, IMAGENET, source)
    assert told.in_words() == "timm/a,weights=b.pth,size=64,mean=...,std=..."
    assert "(size: option; the rest: default); mean and std are assumed, as nothing says " in told.warning("do")


def test_a_classifier_of_ones_own_says_itself():
    classifier = Classifier(nn.Flatten(), IMAGENET, name="mine", num_classes=3)
    assert classifier.input_from is CALLER and not classifier.input_from.assumed
