"""A student in other formats, checked to be the same network."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.errors import XkdError
from xkd_eval.files import replacing

SUFFIXES = (".safetensors", ".onnx")

_OPSET = 18
_TOLERANCE = 1e-4  # of the largest logit
_BATCHES = (1, 3)


def export(model: Path, output: Path) -> float:
    """Write a checkpoint as .safetensors or .onnx, read it back, and compare the logits of random images.

    Both carry architecture, Preprocess and class names: safetensors as its metadata, ONNX as its properties. The ONNX
    graph takes normalised images (N, 3, H, W) as "images", N free, and gives "logits" (N, K).

    Args:
        model: student.pt.
        output: the suffix chooses the format.

    Returns:
        The largest difference of a logit, as a fraction of the largest logit.

    Raises:
        XkdError: no checkpoint of this project, another suffix, a missing package, or logits that differ by more than
            1e-4; then nothing is left behind.
    """
    if output.suffix not in SUFFIXES:
        raise XkdError(f"output {output}: {output.suffix or 'no'} suffix; expected {' or '.join(SUFFIXES)}")
    if output.suffix == ".onnx":
        _check_packages()
    description = _description(model)
    classifier = load_classifier(str(model)).eval()
    write, run = (_write_onnx, _run_onnx) if output.suffix == ".onnx" else (_write_tensors, _run_tensors)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as file:
            temporary = Path(file.name)  # the libraries take a path, and read it back before it takes its place
            write(classifier, temporary, description)
            difference = max(
                _difference(classifier, run(classifier, temporary, images), images) for images in _images(classifier)
            )
            if not difference <= _TOLERANCE:
                raise XkdError(
                    f"export: the logits of {output.name} differ by {difference:.1e} of the largest; not written"
                )
    except OSError as error:
        raise XkdError(f"output {output}: cannot be written ({error.strerror or error})") from None
    return difference


def _check_packages() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise XkdError(f"export: ONNX needs {', '.join(missing)}; install them by `pip install 'xkd[onnx]'`")


def _description(model: Path) -> dict[str, str]:
    """Texts by name, which is what both formats can hold."""
    checkpoint = read_checkpoint(model)
    described: dict[str, Any] = {
        "architecture": checkpoint.architecture,
        "arguments": checkpoint.arguments,
        "preprocess": checkpoint.preprocess.to_dict(),
        "class_names": checkpoint.class_names,
        "wordnet_ids": checkpoint.wordnet_ids,
    }
    return {name: json.dumps(value) for name, value in described.items() if value is not None}


def _images(classifier: Classifier) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, 3, *classifier.preprocess.size, generator=generator) for count in _BATCHES]


def _difference(classifier: Classifier, theirs: Tensor, images: Tensor) -> float:
    with torch.inference_mode():
        ours = classifier(images)
    return ((ours - theirs).abs().max() / ours.abs().max()).item()


def _write_tensors(classifier: Classifier, path: Path, description: dict[str, str]) -> None:
    weights = {name: value.contiguous() for name, value in classifier.model.state_dict().items()}
    save_file(weights, str(path), metadata=description)


@torch.inference_mode()
def _run_tensors(classifier: Classifier, path: Path, images: Tensor) -> Tensor:
    return torch.func.functional_call(classifier.model, load_file(str(path)), (images,))


def _write_onnx(classifier: Classifier, path: Path, description: dict[str, str]) -> None:
    import onnx

    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        _plain(classifier),
        (torch.zeros(2, 3, *classifier.preprocess.size),),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: batch},),
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, description)
    onnx.save(proto, str(path))


def _run_onnx(classifier: Classifier, path: Path, images: Tensor) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _plain(classifier: Classifier) -> nn.Module:
    return classifier.model.to(memory_format=torch.contiguous_format).eval()
