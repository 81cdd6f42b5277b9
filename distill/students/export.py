"""A student in other formats, checked to be the same network."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from xkd_eval.classifiers.checkpoint import Checkpoint, plain_content, read_checkpoint
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.classifiers.sealed import sealed, unsealed
from xkd_eval.classifiers.words import files_of, without_words
from xkd_eval.errors import XkdError
from xkd_eval.files import check_output, replacing, writing
from xkd_eval.foreign import reading

SUFFIXES = (".safetensors", ".onnx")

_DESCRIBED = ("format", "version", "architecture", "arguments", "preprocess", "class_names", "wordnet_ids")
_OPSET = 18
_TOLERANCE = 1e-4  # of the largest logit
_BATCHES = (1, 3)


def export(model: str | Path, output: Path) -> float:
    """Write a checkpoint as .safetensors or .onnx, once the logits of random images agree with what was read back.

    Both carry architecture, Preprocess and class names: safetensors as its metadata, with a digest over all that it
    holds, ONNX as its properties. `load_classifier("student.safetensors")` reads it as it reads student.pt. The ONNX
    graph takes normalised images (N, 3, H, W) as "images", N free, and gives "logits" (N, K).

    Args:
        model: student.pt; options behind its name, as in "student.pt,size=64", are what is written then.
        output: the suffix chooses the format.

    Returns:
        The largest difference of a logit, as a fraction of the largest logit.

    Raises:
        XkdError: no checkpoint of this project, another suffix, an `output` that is `model` or cannot be written, a
            missing package, or logits that differ by more than 1e-4; then nothing is left behind.
    """
    if output.suffix not in SUFFIXES:
        raise XkdError(f"output {output}: {output.suffix or 'no'} suffix; expected {' or '.join(SUFFIXES)}")
    if output.suffix == ".onnx":
        _check_packages()
    check_output(output, files_of(model))
    checkpoint = read_checkpoint(without_words(model))
    classifier = load_classifier(model).eval()
    description = _description(replace(checkpoint, preprocess=classifier.preprocess))
    write, run = (_write_onnx, _run_onnx) if output.suffix == ".onnx" else (_write_tensors, _run_tensors)
    content = write(classifier, description)
    difference = max(
        _difference(classifier, run(classifier, content, images), images) for images in _images(classifier)
    )
    if not difference <= _TOLERANCE:
        raise XkdError(f"export: the logits of {output.name} differ by {difference:.1e} of the largest; not written")
    with writing(f"output: {str(output)!r}"):
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as file:
            file.write(content)
    return difference


def _check_packages() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise XkdError(f"export: ONNX needs {', '.join(missing)}; install them by `pip install 'xkd[onnx]'`")


def _description(checkpoint: Checkpoint) -> dict[str, str]:
    """Texts by name, which is what both formats can hold."""
    content = plain_content(checkpoint)
    return {name: json.dumps(content[name]) for name in _DESCRIBED if content[name] is not None}


def _images(classifier: Classifier) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, 3, *classifier.preprocess.size, generator=generator) for count in _BATCHES]


def _difference(classifier: Classifier, theirs: Tensor, images: Tensor) -> float:
    with torch.inference_mode():
        ours = classifier(images)
    return ((ours - theirs).abs().max() / ours.abs().max()).item()


def _write_tensors(classifier: Classifier, description: dict[str, str]) -> bytes:
    return sealed(classifier.model.state_dict(), description)


@torch.inference_mode()
def _run_tensors(classifier: Classifier, content: bytes, images: Tensor) -> Tensor:
    return torch.func.functional_call(classifier.model, unsealed(content, "output").tensors, (images,))


def _write_onnx(classifier: Classifier, description: dict[str, str]) -> bytes:
    import onnx

    batch = torch.export.Dim("batch", min=1)
    with reading("export: torch cannot write this network as ONNX", "export it as .safetensors"):
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
        return proto.SerializeToString()


def _run_onnx(classifier: Classifier, content: bytes, images: Tensor) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _plain(classifier: Classifier) -> nn.Module:
    return classifier.model.to(memory_format=torch.contiguous_format).eval()
