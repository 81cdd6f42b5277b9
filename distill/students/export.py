"""A classifier in other formats, checked to be the same network."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from distill.students.cam_output import CAM, with_cam
from distill.students.onnx_model import check_packages, onnx_model
from distill.students.openvino_model import openvino_files
from distill.students.quantised import Progress, Quantised, quantised_model
from xkd_eval.classifiers.checkpoint import FORMAT, VERSION, is_checkpoint, parsed_checkpoint, plain_content
from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.classifiers.graphs.head import find_graph_head
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.graphs.onnx_file import onnx_graph
from xkd_eval.classifiers.graphs.open import SUFFIXES as GRAPHS
from xkd_eval.classifiers.loading import load_classifier, open_classifier
from xkd_eval.classifiers.weights.files import SUFFIXES as WEIGHTS
from xkd_eval.classifiers.weights.files import read_weight_file
from xkd_eval.classifiers.weights.sealed import sealed, unsealed
from xkd_eval.classifiers.words import files_of, without_words
from xkd_eval.datasets import ImageDataset
from xkd_eval.errors import CamHeadError, XkdError
from xkd_eval.files import check_output, replacing, writing
from xkd_eval.foreign import short
from xkd_eval.packages import require

SUFFIXES = (".safetensors", *GRAPHS)

_DESCRIBED = ("format", "version", "architecture", "arguments", "preprocess", "class_names", "wordnet_ids")
_TOLERANCE = 1e-4  # of the largest logit, and of the largest value of a map
_BATCHES = (1, 3)


@dataclass(frozen=True)
class Exported:
    """What `export` has written.

    Attributes:
        difference: the largest difference of a logit, as a fraction of the largest: of random images, or of those that
            integers were calibrated on.
        cam: the proven CAM of the file as it is read back, or None.
        cam_refusal: why there is none.
        quantised: what became of it in integers, where that was asked for.
    """

    difference: float
    cam: CamHead | None = None
    cam_refusal: str = ""
    quantised: Quantised | None = None


def export(
    model: str | Path,
    output: Path,
    *,
    cam: bool = False,
    quantise: str | None = None,
    calibration: ImageDataset | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a classifier as .safetensors, .onnx or OpenVINO's .xml and .bin, once what is read back agrees with it.

    All carry Preprocess and class names: safetensors, of a checkpoint alone, as its metadata with a digest over all
    that it holds, ONNX as its properties, OpenVINO as rt_info. `load_classifier` reads each. The graph takes normalised
    images (N, 3, H, W) as "images", N free, and gives "logits" (N, K).

    Args:
        model: student.pt, or what else `load_classifier` takes, but for graphs; options behind its name, as in
            "student.pt,size=64", are what is written then.
        output: the suffix chooses the format.
        cam: a second output "cam" (N, K, h, w), the class activation maps, whose mean plus the head's bias is the
            logit.
        quantise: "int8" rounds weights and what lies between the layers to 8-bit integers.
        calibration: images that say which ranges the integers need. Not those that it is evaluated on: it would know
            them.
        progress: called with what is under way, how much of it is done and how much there is.

    Returns:
        How far it differs, and whether its CAM is proven.

    Raises:
        XkdError: no such classifier, another suffix, an `output` that is `model` or cannot be written, a missing
            package, no CAM where one is asked for, or logits or maps that differ by more than 1e-4 before anything is
            rounded; then nothing is left behind.
    """
    _check_arguments(output, cam, quantise, calibration)
    for written in [output, *([output.with_suffix(".bin")] if output.suffix == ".xml" else [])]:
        check_output(written, files_of(model))
    classifier = load_classifier(model).eval()
    if isinstance(classifier.model, GraphNetwork):
        raise XkdError(f"model: {str(model)!r} is a graph already; export what it was made of")
    texts = _description(str(model), classifier)
    if output.suffix == ".safetensors":
        return _export_tensors(classifier, texts, output)
    if cam and classifier.head is None:
        raise XkdError(f"cam: {classifier.name} has no class activation map in closed form: {classifier.head_refusal}")
    made, quantised = onnx_model(classifier, texts), None
    if calibration is not None:
        _check_logits(classifier, _network(made, classifier), output)
        made, quantised = quantised_model(made, classifier, calibration, progress)
    if cam:
        network = _network(made, classifier)
        made = with_cam(network, _proven(network, classifier))
    files = _files(made, output)
    exported = _checked(files, output, classifier, quantised, cam)
    with writing(f"output: {str(output)!r}"):
        output.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:  # each is renamed once all are written
            for suffix, content in files.items():
                opened.enter_context(replacing(output.with_suffix(suffix))).write(content)
    return exported


def _check_arguments(output: Path, cam: bool, quantise: str | None, calibration: ImageDataset | None) -> None:
    if output.suffix not in SUFFIXES:
        listed = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise XkdError(f"output {output}: {output.suffix or 'no'} suffix; expected {listed}")
    if cam and output.suffix not in GRAPHS:
        raise XkdError(f"cam: found beside {output.suffix}, which holds no graph; give {' or '.join(GRAPHS)}")
    if quantise not in (None, "int8"):
        raise XkdError(f"quantise: {short(quantise)} found; expected int8")
    if quantise is not None and output.suffix != ".onnx":
        raise XkdError(f"quantise: found beside {output.suffix}; it is ONNX Runtime that quantises: give .onnx")
    if (quantise is None) != (calibration is None):
        missing = "no `data`, whose images say which ranges the integers need" if quantise else "`data` without it"
        raise XkdError(f"quantise: {missing}; give both, or leave both out")
    if output.suffix in GRAPHS:
        check_packages()
    if output.suffix == ".xml":
        require("export: OpenVINO", "openvino", "openvino")


def _description(model: str, classifier: Classifier) -> dict[str, str]:
    """Texts by name, which is what all formats can hold."""
    own = {"class_names": classifier.class_names, "wordnet_ids": classifier.wordnet_ids}
    content = {"format": FORMAT, "version": VERSION, "preprocess": classifier.preprocess.to_dict(), **own}
    file = Path(without_words(model))
    if file.suffix in WEIGHTS and is_checkpoint(stored := read_weight_file(file, "model")):
        content = plain_content(replace(parsed_checkpoint(stored, file), preprocess=classifier.preprocess))
    return {name: json.dumps(content[name]) for name in _DESCRIBED if content.get(name) is not None}


def _export_tensors(classifier: Classifier, texts: dict[str, str], output: Path) -> Exported:
    if "architecture" not in texts:
        raise XkdError(
            f"output {output}: .safetensors holds the architecture that a checkpoint names, and {classifier.name} is "
            f"none; expected {' or '.join(GRAPHS)}"
        )
    content = sealed(classifier.model.state_dict(), texts)
    difference = _check_logits(classifier, lambda images: _run_tensors(classifier, content, images), output)
    with writing(f"output: {str(output)!r}"):
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as file:
            file.write(content)
    return Exported(difference)


@torch.inference_mode()
def _run_tensors(classifier: Classifier, content: bytes, images: Tensor) -> Tensor:
    return torch.func.functional_call(classifier.model, unsealed(content, "output").tensors, (images,))


def _network(model: Any, classifier: Classifier) -> GraphNetwork:
    return GraphNetwork(onnx_graph(model.SerializeToString(), Path(), f"export: {classifier.name}"))


def _proven(network: GraphNetwork, classifier: Classifier) -> CamHead:
    try:
        return find_graph_head(network, classifier.preprocess)
    except CamHeadError as error:
        raise XkdError(f"cam: the graph of {classifier.name} has no map that its logits follow from: {error}") from None


def _files(model: Any, output: Path) -> dict[str, bytes]:
    """What is to be written, by suffix."""
    if output.suffix == ".onnx":
        return {".onnx": model.SerializeToString()}
    xml, weights = openvino_files(model)
    return {".bin": weights, ".xml": xml}


def _checked(
    files: dict[str, bytes], output: Path, classifier: Classifier, quantised: Quantised | None, cam: bool
) -> Exported:
    """What is read back, held against the classifier, or, where it was rounded, its maps against themselves."""
    with TemporaryDirectory() as folder:
        for suffix, content in files.items():
            Path(folder, f"model{suffix}").write_bytes(content)
        again = open_classifier(Path(folder, f"model{output.suffix}"))
    difference = _check_logits(classifier, again, output) if quantised is None else quantised.difference
    if cam:
        _check_maps(classifier if quantised is None else again, again, output)
    return Exported(difference, again.head, again.head_refusal, quantised)


def _check_logits(classifier: Classifier, theirs: Callable[[Tensor], Tensor], output: Path) -> float:
    with torch.inference_mode():
        pairs = [(classifier(images), theirs(images)) for images in _images(classifier)]
    difference = max(_difference(ours, found) for ours, found in pairs)
    if not difference <= _TOLERANCE:
        raise XkdError(f"export: the logits of {output.name} differ by {difference:.1e} of the largest; not written")
    return difference


def _check_maps(expected: Classifier, again: Classifier, output: Path) -> None:
    assert isinstance(again.model, GraphNetwork)
    run = again.model.graph.session([again.model.graph.outputs[CAM]])
    with torch.inference_mode():
        for images in _images(expected):
            ours = expected.cams(expected.forward_with_features(images).features)
            difference = _difference(ours, torch.from_numpy(run(images.numpy())[0]))
            if not difference <= _TOLERANCE:
                said = f"the maps of {output.name} differ by {difference:.1e} of the largest value"
                raise XkdError(f"export: {said}; not written")


def _images(classifier: Classifier) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(count, classifier.preprocess.channels, *classifier.preprocess.size, generator=generator)
        for count in _BATCHES
    ]


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / ours.abs().max()).item()
