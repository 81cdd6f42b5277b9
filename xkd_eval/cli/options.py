"""The options that several commands share, said once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from xkd_eval.errors import XkdError


class ProtocolChoice(StrEnum):
    """--protocol."""

    model = "model"
    chefer = "chefer"
    exp_kd = "exp-kd"


class TargetChoice(StrEnum):
    """--target."""

    predicted = "predicted"
    true = "true"


class FillChoice(StrEnum):
    """--fill."""

    black = "black"
    mean = "mean"
    blur = "blur"


class DirectionChoice(StrEnum):
    """--direction."""

    both = "both"
    positive = "positive"
    negative = "negative"


class PrecisionChoice(StrEnum):
    """--precision."""

    fp32 = "fp32"
    bf16 = "bf16"


class ResizeChoice(StrEnum):
    """--resize."""

    squash = "squash"
    crop = "crop"


class InterpolationChoice(StrEnum):
    """--interpolation."""

    nearest = "nearest"
    box = "box"
    bilinear = "bilinear"
    hamming = "hamming"
    bicubic = "bicubic"
    lanczos = "lanczos"


class ChannelOrderChoice(StrEnum):
    """--channel-order."""

    rgb = "RGB"
    bgr = "BGR"


WHAT = "What is evaluated"
_MODEL = "The model's input (by default its own)"
_RULES = "Rules (they change the protocol's hash)"
HOW = "How it runs"

MODEL_HELP = (
    "student.pt, [b]timm/NAME[/b], [b]torchvision/NAME[/b], [b]xkd/NAME[/b], [b]embedded/NAME[/b] or "
    "[b]py:package.module:function[/b]; by default the embedded teacher."
)

Model = Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP, rich_help_panel=WHAT)]
Weights = Annotated[
    Path | None,
    typer.Option(help="Weights for a timm, torchvision or xkd name: .pt .pth .th .safetensors.", rich_help_panel=WHAT),
]
Data = Annotated[
    str,
    typer.Option("--data", "-d", help="A folder, archive or file; recognised by what is in it.", rich_help_panel=WHAT),
]
Labels = Annotated[
    Path | None, typer.Option(help="Labels of a flat image archive: NAME,class lines.", rich_help_panel=WHAT)
]
ClassMap = Annotated[
    Path | None,
    typer.Option(help="Maps WordNet ids or class names to class indices: CSV or JSON.", rich_help_panel=WHAT),
]
ExplainerName = Annotated[
    str, typer.Option("--explainer", "-e", help="See `xkd-eval explainers`.", rich_help_panel=WHAT)
]
Maps = Annotated[
    Path | None,
    typer.Option(help="Score the maps of this folder instead: ID.npy, (h, w).", rich_help_panel=WHAT),
]
SaveMaps = Annotated[Path | None, typer.Option(help="Write the raw maps there as well.", rich_help_panel=WHAT)]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="Only a seeded, label-stratified sample of so many images.", rich_help_panel=WHAT),
]

Size = Annotated[str | None, typer.Option(help="Input size: 224 or 224x320 (height x width).", rich_help_panel=_MODEL)]
Resize = Annotated[
    ResizeChoice | None,
    typer.Option(help="squash: ignore the aspect ratio (default); crop: short side + centre.", rich_help_panel=_MODEL),
]
Interpolation = Annotated[InterpolationChoice | None, typer.Option(rich_help_panel=_MODEL)]
Mean = Annotated[str | None, typer.Option(help="Such as 0.485,0.456,0.406, or one value.", rich_help_panel=_MODEL)]
Std = Annotated[str | None, typer.Option(help="Such as 0.229,0.224,0.225, or one value.", rich_help_panel=_MODEL)]
ChannelOrder = Annotated[ChannelOrderChoice | None, typer.Option(rich_help_panel=_MODEL)]
ValueRange = Annotated[float | None, typer.Option(help="The value of white: 1 or 255.", rich_help_panel=_MODEL)]

Protocol = Annotated[
    ProtocolChoice,
    typer.Option(help="model: each model's own input; chefer, exp-kd: as published.", rich_help_panel=_RULES),
]
Target = Annotated[TargetChoice, typer.Option(help="The class that is explained.", rich_help_panel=_RULES)]
Fractions = Annotated[str, typer.Option(help="Of the pixels, removed one after the other.", rich_help_panel=_RULES)]
Fill = Annotated[FillChoice, typer.Option(help="What a removed pixel becomes.", rich_help_panel=_RULES)]
Direction = Annotated[
    DirectionChoice,
    typer.Option(help="positive: most relevant pixels first; negative: least.", rich_help_panel=_RULES),
]

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Run directory; by default one under runs/.", rich_help_panel=HOW),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Start afresh instead of continuing.", rich_help_panel=HOW)
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.", rich_help_panel=HOW)]
Precision = Annotated[
    PrecisionChoice,
    typer.Option(help="bf16 is faster where the hardware has it; it moves areas by about 0.002.", rich_help_panel=HOW),
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that decode images; by default by the set's size.", rich_help_panel=HOW),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Changes memory, never a result.", rich_help_panel=HOW)]
Seed = Annotated[int, typer.Option(help="Of the sample and of random explainers.", rich_help_panel=HOW)]
Strict = Annotated[
    bool, typer.Option("--strict", help="An unreadable image is an error, not skipped.", rich_help_panel=HOW)
]


def preprocess_overrides(
    size: str | None,
    resize: ResizeChoice | None,
    interpolation: InterpolationChoice | None,
    mean: str | None,
    std: str | None,
    channel_order: ChannelOrderChoice | None,
    value_range: float | None,
) -> dict[str, Any]:
    """The Preprocess fields that the user set, parsed."""
    given = {
        "size": None if size is None else _size(size),
        "resize": None if resize is None else resize.value,
        "interpolation": None if interpolation is None else interpolation.value,
        "mean": None if mean is None else _per_channel("--mean", mean),
        "std": None if std is None else _per_channel("--std", std),
        "channel_order": None if channel_order is None else channel_order.value,
        "value_range": value_range,
    }
    return {name: value for name, value in given.items() if value is not None}


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Comma-separated numbers; a quotient such as 127/255 is one."""
    try:
        return tuple(_number(part) for part in text.split(","))
    except (ValueError, ZeroDivisionError):
        raise XkdError(f"{option}: got {text!r}; expected numbers separated by commas") from None


def _number(text: str) -> float:
    numerator, _, denominator = text.partition("/")
    return float(numerator) / float(denominator) if denominator else float(numerator)


def _per_channel(option: str, text: str) -> tuple[float, ...]:
    values = numbers(option, text)
    if len(values) not in (1, 3):
        raise XkdError(f"{option}: got {len(values)} values; expected one a channel, such as 0.485,0.456,0.406")
    return values * 3 if len(values) == 1 else values


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise XkdError(f"--size: got {text!r}; expected 224, or 224x320 (height x width)")
    return int(sides[0]), int(sides[-1])
