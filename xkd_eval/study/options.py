"""RunOptions: what every evaluation takes, with its defaults and its help, said once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from xkd_eval.arguments import Within, Workers, fields_taken
from xkd_eval.errors import XkdError
from xkd_eval.launch import own_cores

if TYPE_CHECKING:
    import torch

PREPROCESS = (
    *("size", "resize", "interpolation", "channels", "mean", "std", "channel_order", "value_range", "crop_fraction"),
)
"""The options that correct a model's Preprocess."""


_MOST_BY_DEFAULT = 16  # docs/scaling.md

Side = Annotated[int, Within(1, 2**15)]
"""Of a network's input, in pixels."""


@dataclass(frozen=True)
class RunOptions:
    """What every evaluation takes beside models, data, explainers and tests.

    What is evaluated:
        weights: a file of weights for a timm, torchvision or xkd name (.pt .pth .th .safetensors; FILE#PART
            where it holds several networks), one a model in order.
        labels: labels of a flat folder of images: NAME,class lines; NAME,class;class lines, or COCO's JSON of objects,
            where a photograph may hold several classes.
        boxes: of the objects: LOC_val_solution.csv, annotation XML (a folder or tar), COCO JSON, or
            image,x0,y0,x1,y1 lines.
        class_map: maps WordNet ids or class names to class indices: CSV or JSON.
        maps: score the maps of this folder instead of an explainer's: ID.npy, (h, w).
        save_maps: write the raw maps there as well.
        limit: only a seeded, label-stratified sample of so many images.
        until: end a test once the 95 % interval of each of its headline scores reaches no further than so many points
            to either side, after 200 images at the earliest; they come in a seeded random order, and all models are
            scored on the same ones.

    What the model is fed with in place of its own input:
        size: input size: 224 or 224x320 (height x width).
        resize: squash: ignore the aspect ratio (default); crop: short side + centre; squash_crop: squash, then centre.
        interpolation: PIL's filter.
        channels: of the network's input, by default its first convolution's; one is the luminance, others than one and
            three take .npy or .tif images of as many.
        mean: such as 0.485,0.456,0.406, or one value.
        std: such as 0.229,0.224,0.225, or one value.
        channel_order: what the network was trained on.
        value_range: the value of white: 1 or 255.
        crop_fraction: share of the short side that the centre crop keeps.

    Rules that change the protocol hash:
        protocol: model: each model's own input; chefer, exp-kd: as published.
        target: the class that is explained: by default the predicted one, and of photographs with several labels each.

    How it runs:
        output: where results are written; by default under runs/.
        overwrite: start afresh instead of continuing.
        figures: draw them into the run's directory, by default of a single test alone; where they are refused
            there is no report.html.
        device: auto, cpu, cuda, cuda:1.
        precision: of images that a test makes; bf16 is faster where the hardware has it, and moves areas by about
            0.002; tf32 is of NVIDIA GPUs, whose fp32 is float32 here.
        engine: of images that a test makes: torch; onnxruntime or openvino, on a CPU, where they are installed and give
            torch's logits; auto, the first of them that does, else torch.
        models_at_once: networks in memory at a time; by default as many as fit. Others take their turn.
        workers: processes that decode images; by default one for each core but one, 16 at most, and none for fewer than
            256 images.
        batch_size: images read at a time, by default 32, and 256 for an accelerator; changes memory, never a result.
        seed: of the sample and of random explainers.
        strict: an unreadable image is an error, not skipped.

    Example:
        >>> from xkd_eval import RunOptions
        >>> RunOptions(size=64, mean=0.5, batch_size=8).overrides
        {'size': 64, 'mean': 0.5}
    """

    weights: str | Path | Sequence[str | Path] | None = None
    labels: Path | None = None
    boxes: Path | None = None
    class_map: Path | None = None
    maps: Path | None = None
    save_maps: Path | None = None
    limit: Annotated[int, Within(1)] | None = None
    until: Annotated[float, Within(0)] | None = None

    size: Side | tuple[Side, Side] | None = None
    resize: Literal["squash", "crop", "squash_crop"] | None = None
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] | None = None
    channels: Annotated[int, Within(1)] | None = None
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] | None = None
    channel_order: Literal["RGB", "BGR"] | None = None
    value_range: float | None = None
    crop_fraction: float | None = None

    protocol: Literal["model", "chefer", "exp-kd"] = "model"
    target: Literal["predicted", "true"] | None = None

    output: Path | None = None
    overwrite: bool = False
    figures: bool | None = None
    device: str = "auto"
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    engine: str = "torch"
    models_at_once: Annotated[int, Within(1)] | None = None
    workers: Workers | None = None
    batch_size: Annotated[int, Within(1, 2**31 - 1)] | None = None
    seed: Annotated[int, Within(0, 2**63 - 1)] = 0
    strict: bool = False

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in fields_taken(RunOptions, given).items():
            object.__setattr__(self, name, value)
        if self.maps is not None and self.save_maps is not None and self.maps.resolve() == self.save_maps.resolve():
            raise XkdError(f"save_maps: '{self.save_maps}' is the folder that `maps` are read from; give another")

    @property
    def overrides(self) -> dict[str, Any]:
        """The Preprocess fields that are set."""
        return {name: value for name in PREPROCESS if (value := getattr(self, name)) is not None}

    def batch_size_on(self, device: torch.device) -> int:
        """`batch_size`; by default on an accelerator as many as make whole forwards of what a test makes of them."""
        return self.batch_size or (32 if device.type == "cpu" else 256)

    def workers_for(self, n_images: int) -> int:
        """`workers`; by default none for what is decoded before one has started, else the process's cores but one."""
        if self.workers is not None:
            return self.workers
        return 0 if n_images < 256 else min(_MOST_BY_DEFAULT, max(1, own_cores() - 1))

    def weights_of(self, n_models: int) -> list[str | Path | None]:
        """One file a model, None where there is none.

        Raises:
            XkdError: another number of files than of models.
        """
        if self.weights is None:
            return [None] * n_models
        given = [self.weights] if isinstance(self.weights, str | Path) else list(self.weights)
        if len(given) != n_models:
            raise XkdError(f"weights: got {len(given)} for {n_models} models; expected one a model, in order")
        return list(given)


def helps(kind: type) -> dict[str, tuple[str, str]]:
    """Field -> (section, help), as the class's docstring has them.

    Args:
        kind: a dataclass whose docstring lists its fields under headings: "Attributes:", or any line that ends in ":".
    """
    found: dict[str, tuple[str, str]] = {}
    section, name = "", ""
    for line in inspect.cleandoc(kind.__doc__ or "").splitlines():
        heading, entry = re.fullmatch(r"(\S.*):", line), re.fullmatch(r" {4}(\w+): (.*)", line)
        if heading:
            section, name = heading[1], ""
        elif entry:
            name = entry[1]
            found[name] = (section, entry[2])
        elif name and line.startswith(" " * 8):
            found[name] = (section, f"{found[name][1]} {line.strip()}")
    return found
