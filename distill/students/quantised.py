"""An ONNX model in 8-bit integers, by ranges that images of the user's are seen to need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.graphs.engine_words import without_remarks
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.graphs.onnx_file import onnx_graph
from xkd_eval.classifiers.preprocess import stacked
from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.loader import Item, stream
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading

Progress = Callable[[str, int, int], None]
"""Called with what is under way, how much of it is done, and how much there is."""

_AT_ONCE = 8


@dataclass(frozen=True)
class Quantised:
    """What became of a network in 8-bit integers.

    Attributes:
        bytes_before, bytes_after: of the model in float32 and in integers.
        images: how many it was calibrated on.
        agreement: the fraction of them of which both networks say the same class.
        difference: the largest difference of a logit on them, as a fraction of the largest logit.
    """

    bytes_before: int
    bytes_after: int
    images: int
    agreement: float
    difference: float


def quantised_model(
    model: Any, classifier: Classifier, dataset: ImageDataset, progress: Progress | None
) -> tuple[Any, Quantised]:
    """A model's weights, a scale a channel, and what lies between its layers as 8-bit integers (QDQ).

    Args:
        model: an onnx.ModelProto in float32 that takes "images".
        classifier: that it was made of.
        dataset: of whose images the ranges are taken; those that cannot be decoded are left out.
        progress: told after every batch.

    Returns:
        An onnx.ModelProto with the same metadata, and what became of it.

    Raises:
        XkdError: no image can be decoded, or ONNX Runtime cannot quantise the model.
    """
    report = progress or (lambda what, done, total: None)
    batches = _calibration_images(classifier, dataset)
    before = model.SerializeToString()
    rounded = _rounded(model, before, batches, report)
    after = rounded.SerializeToString()
    network = GraphNetwork(onnx_graph(after, Path(), f"quantise: {classifier.name}"))
    same, difference = _agreement(classifier, network, batches, report)
    return rounded, Quantised(len(before), len(after), sum(map(len, batches)), same, difference)


def _calibration_images(classifier: Classifier, dataset: ImageDataset) -> list[Tensor]:
    """Batches (n, 3, H, W) normalised."""
    found = stream(dataset, range(len(dataset)), classifier.preprocess)
    pixels = [item.pixels for item in found if isinstance(item, Item)]
    if not pixels:
        raise XkdError(f"data: no image of {dataset.name} can be decoded; give others")
    return [classifier.preprocess.normalise(stacked(part)) for part in _batches(pixels)]


def _rounded(model: Any, content: bytes, batches: list[Tensor], progress: Progress) -> Any:
    import onnx
    from onnxruntime.quantization import QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder, without_remarks("onnxruntime"):
        plain, inferred, rounded = (str(Path(folder, f"{name}.onnx")) for name in ("plain", "inferred", "rounded"))
        Path(plain).write_bytes(content)
        with reading("quantise: ONNX Runtime cannot quantise this network", "leave `quantise` out"):
            quant_pre_process(plain, inferred)
            quantize_static(
                inferred, rounded, _reader(batches, progress), quant_format=QuantFormat.QDQ, per_channel=True
            )
            made = onnx.load(rounded)
    onnx.helper.set_model_props(made, {entry.key: entry.value for entry in model.metadata_props})
    return made


def _agreement(
    ours: Classifier, theirs: GraphNetwork, batches: list[Tensor], progress: Progress
) -> tuple[float, float]:
    """The fraction of images of which both say the same class, and the largest difference of a logit."""
    pairs = []
    with torch.inference_mode():
        for done, images in enumerate(batches, start=1):
            pairs.append((ours(images), theirs(images)))
            progress("comparing", sum(map(len, batches[:done])), sum(map(len, batches)))
    own, other = (torch.cat(logits) for logits in zip(*pairs, strict=True))
    same = (own.argmax(1) == other.argmax(1)).float().mean().item()
    return same, ((own - other).abs().max() / own.abs().max()).item()


def _batches(pixels: list[Tensor]) -> Iterator[list[Tensor]]:
    for start in range(0, len(pixels), _AT_ONCE):
        yield pixels[start : start + _AT_ONCE]


def _reader(batches: list[Tensor], progress: Progress) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """Batch after batch, as ONNX Runtime asks for them."""

        def __init__(self) -> None:
            self._done = 0

        def get_next(self) -> dict[str, np.ndarray] | None:
            if self._done == len(batches):
                return None
            self._done += 1
            progress("calibrating", sum(map(len, batches[: self._done])), sum(map(len, batches)))
            return {"images": batches[self._done - 1].numpy()}

    return Reader()
