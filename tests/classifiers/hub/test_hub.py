"""Repositories of the hub, in its cache and in folders: timm's and transformers', written by those libraries."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xkd_eval.classifiers import load_classifier
from xkd_eval.errors import XkdError

SMALL = {"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 48}
# Configuration, model, processor, and what makes the network small.
FAMILIES = {
    "resnet": (
        "ResNetConfig",
        "ResNetForImageClassification",
        "ConvNextImageProcessor",
        {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 24], "depths": [1] * 4, "layer_type": "basic"},
    ),
    "convnext": (
        "ConvNextConfig",
        "ConvNextForImageClassification",
        "ConvNextImageProcessor",
        {"hidden_sizes": [8, 12, 16, 24], "depths": [1] * 4},
    ),
    "mobilenet_v2": (
        "MobileNetV2Config",
        "MobileNetV2ForImageClassification",
        "MobileNetV2ImageProcessor",
        {"depth_multiplier": 0.35},
    ),
    "vit": ("ViTConfig", "ViTForImageClassification", "ViTImageProcessor", SMALL),
    "deit": ("DeiTConfig", "DeiTForImageClassificationWithTeacher", "DeiTImageProcessor", SMALL),
    "swin": (
        "SwinConfig",
        "SwinForImageClassification",
        "ViTImageProcessor",
        {"embed_dim": 12, "depths": [1] * 4, "num_heads": [1, 1, 2, 2]},
    ),
    "dinov2": ("Dinov2Config", "Dinov2ForImageClassification", "BitImageProcessor", {**SMALL, "image_size": 224}),
}
CAMS = {"resnet", "convnext", "mobilenet_v2", "swin"}
ROLLED = {"vit", "deit", "dinov2"}


def saved(family: str, folder: Path, **processor) -> Path:
    import transformers

    config, model, kind, options = FAMILIES[family]
    torch.manual_seed(0)
    labels = {index: f"class {index}" for index in range(5)}
    described = getattr(transformers, config)(num_labels=5, id2label=labels, **options)
    made = getattr(transformers, model)(described)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    made.save_pretrained(folder)
    getattr(transformers, kind)(**processor).save_pretrained(folder)
    return folder


def photograph() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_repository_of_transformers_gives_what_its_library_gives(family, tmp_path):
    """Logits of one photograph: their image processor and their network, ours and ours."""
    import transformers

    folder = saved(family, tmp_path / family)
    classifier = load_classifier(f"hf:{folder}")
    ours = classifier(classifier.preprocess.normalise(classifier.preprocess.pixels(photograph())[None]))
    processor = transformers.AutoImageProcessor.from_pretrained(folder, use_fast=False)
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        theirs = model(**processor(photograph(), return_tensors="pt")).logits
    # Their resizing of tensors rounds otherwise than PIL's.
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02 * float(theirs.abs().max()))
    assert classifier.class_names == tuple(f"class {index}" for index in range(5))
    assert (classifier.head is not None) == (family in CAMS), classifier.head_refusal


def kept(monkeypatch, cache: Path, repository: str, files: Path) -> None:
    """Put a folder into the hub's cache, as its library lays it out, and let the hub be out of reach."""
    from huggingface_hub import constants

    place = cache / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    shutil.copytree(files, place / "snapshots" / ("0" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_a_repository_that_is_kept_needs_no_hub(tmp_path, monkeypatch):
    kept(monkeypatch, tmp_path / "cache", "somebody/small-resnet", saved("resnet", tmp_path / "made"))
    assert load_classifier("hf:somebody/small-resnet").num_classes == 5


def test_a_repository_of_timm(tmp_path, monkeypatch):
    import timm
    from timm.models import save_for_hf

    model = timm.create_model("resnet10t", num_classes=3).eval()
    config = {"input_size": (3, 96, 96), "mean": (0.4,) * 3, "std": (0.3,) * 3, "label_names": ["a", "b", "c"]}
    save_for_hf(model, tmp_path / "made", model_config=config)
    written = json.loads((tmp_path / "made" / "config.json").read_text())
    assert written["architecture"] == "resnet10t"
    kept(monkeypatch, tmp_path / "cache", "timm/small", tmp_path / "made")
    classifier = load_classifier("hf-hub:timm/small")
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(classifier(images), model(images))
    assert classifier.class_names == ("a", "b", "c") and classifier.head is not None


@pytest.fixture
def waited(monkeypatch) -> list[float]:
    """The seconds that the library sleeps between its tries, which nobody sleeps."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def test_what_is_not_kept_and_cannot_be_had_is_said_in_seconds(tmp_path, monkeypatch, waited):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for name in ("hf:somebody/none", "hf-hub:timm/none.in1k"):
        with pytest.raises(
            XkdError, match=rf"^model: {name} is not kept here, and the hub cannot be reached \(.*\); conn"
        ):
            load_classifier(name)
    assert sum(waited) < 10  # the library's own tries take a minute


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("[1]"), r"its config.json holds \[1\]"),
        (lambda folder: (folder / "config.json").write_text("{"), "its config.json cannot be read"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "zzz"}'), "is no image classifier"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "has no preprocessor_config.json"),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text("{"),
            "preprocessor_config.json cannot be read",
        ),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"short"), "is no image classifier"),
        (lambda folder: (folder / "model.safetensors").unlink(), "is no image classifier"),
    ],
    ids=[
        "no config",
        "a list",
        "no JSON",
        "unknown",
        "no processor",
        "broken processor",
        "broken weights",
        "no weights",
    ],
)
def test_a_broken_folder_is_one_line(spoil, message, tmp_path):
    folder = saved("resnet", tmp_path / "made")
    spoil(folder)
    with pytest.raises(XkdError, match=rf"^model: hf:\S+ ?.*{message}") as error:
        load_classifier(f"hf:{folder}")
    assert "\n" not in str(error.value)


def test_a_backbone_without_a_head_is_refused(tmp_path):
    """Its library would draw one at random."""
    import transformers

    folder = saved("resnet", tmp_path / "made")
    transformers.ResNetModel(transformers.ResNetConfig(**FAMILIES["resnet"][3])).save_pretrained(folder)
    with pytest.raises(XkdError, match=r"holds no whole classifier: 'classifier.1.bias' is missing; name a repository"):
        load_classifier(f"hf:{folder}")


@pytest.mark.parametrize("name", ["hf:nothing", "hf:a/b/c", "hf:", "hf-hub:../up"])
def test_a_name_that_is_no_repository(name):
    with pytest.raises(XkdError, match=r"is no folder and no repository; expected ORG/MODEL"):
        load_classifier(name)


def test_published_weights_that_are_kept_need_no_hub(tmp_path, monkeypatch):
    import timm
    from safetensors.torch import save_file

    model = timm.create_model("resnet10t").eval()
    (tmp_path / "made").mkdir()
    save_file(model.state_dict(), tmp_path / "made" / "model.safetensors")
    kept(monkeypatch, tmp_path / "cache", "timm/resnet10t.c3_in1k", tmp_path / "made")
    classifier = load_classifier("timm/resnet10t.c3_in1k", size=64)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(classifier(images), model(images))


def test_published_weights_that_cannot_be_had_are_said_in_seconds(tmp_path, monkeypatch, waited):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(XkdError, match=r"^model: the pretrained weights of timm/resnet10t\S+ cannot be downloaded"):
        load_classifier("timm/resnet10t.c3_in1k")
    assert sum(waited) < 10
