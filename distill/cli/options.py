"""The options of the commands, each once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from xkd_eval.arguments import MOST_WORKERS
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short

WHAT = "What is trained"
HOW = "How it runs"


class PrecisionChoice(StrEnum):
    """--precision."""

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"
    fp16 = "fp16"


class SplitChoice(StrEnum):
    """--split."""

    test = "test"
    val = "val"
    train = "train"


class QuantiseChoice(StrEnum):
    """--quantise."""

    int8 = "int8"


Recipes = Annotated[list[str], typer.Argument(help="Recipes, or files of recipes for all of their variants.")]
Recipe = Annotated[str | None, typer.Argument(help="Print this recipe as it resolves.", show_default=False)]
Methods = Annotated[bool, typer.Option("--methods", help="The methods, their papers and options instead.")]
Sweep = Annotated[Path, typer.Argument(help="sweep.yaml, as below.")]
Models = Annotated[
    list[str],
    typer.Argument(
        help="student.pt, .onnx, .xml, timm/NAME, torchvision/NAME, xkd/NAME, py:package.module:f, or NAME=any; "
        "with options behind it: timm/NAME,weights=FILE,size=64,mean=0.5,std=0.5."
    ),
]
Exported = Annotated[
    str,
    typer.Argument(
        help="student.pt, timm/NAME, torchvision/NAME or py:package.module:f; student.pt,size=64 writes that."
    ),
]
Data = Annotated[
    str | None,
    typer.Option("--data", "-d", help="The data set's folder or file, or a URL of it.", rich_help_panel=WHAT),
]
TestData = Annotated[str, typer.Option("--data", "-d", help="The data set's folder or file, or a URL of it.")]
Split = Annotated[SplitChoice, typer.Option(help="The part of it that is evaluated.")]
Teacher = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        "-t",
        help="A model in place of the recipe's teacher; with options behind it: NAME,size=64,mean=0.5,std=0.5.",
        rich_help_panel=WHAT,
    ),
]
TeacherWeights = Annotated[
    Path | None,
    typer.Option(help="Weights for a timm, torchvision or xkd name: FILE or FILE#PART.", rich_help_panel=WHAT),
]
TeacherEngine = Annotated[
    str | None,
    typer.Option(
        help="What runs the frozen teacher, once it has given torch's outputs: torch, onnxruntime, openvino, or auto. "
        "By default as the recipe says.",
        rich_help_panel=HOW,
    ),
]
Weights = Annotated[list[Path] | None, typer.Option(help="Weights, FILE or FILE#PART, one a model, in the same order.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="key=value of the recipe, such as epochs=60; repeat it. Over the recipe's file and all other options, in "
        "the order given.",
        rich_help_panel=WHAT,
    ),
]
Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        help="mine.py or package.module, imported before names are looked up; repeat it.",
        rich_help_panel=WHAT,
    ),
]
Seeds = Annotated[str | None, typer.Option(help="One run each: 0,1,2.", rich_help_panel=WHAT)]
SweepSeeds = Annotated[
    str | None, typer.Option(help="Of all recipes, instead of the file's: 0,1,2.", rich_help_panel=WHAT)
]
TestSplit = Annotated[
    float | None,
    typer.Option(help="Fraction to test on, of a data set without test images.", rich_help_panel=WHAT),
]
ValSplit = Annotated[
    float | None,
    typer.Option(help="Fraction of the training images held out to select the epoch.", rich_help_panel=WHAT),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The run's directory; by default RUNS/RECIPE.", rich_help_panel=HOW),
]
SweepOutput = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Its directory; by default runs/ and the file's name.", rich_help_panel=HOW),
]
ExportOutput = Annotated[Path, typer.Option("--output", "-o", help="A file: .onnx, .xml or .safetensors.")]
Runs = Annotated[Path, typer.Option(help="Where runs lie, the teachers of other recipes too.", rich_help_panel=HOW)]
SweepRuns = Annotated[Path, typer.Option(help="Where teachers lie that the sweep does not train.", rich_help_panel=HOW)]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an unfinished run.", rich_help_panel=HOW)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start afresh.", rich_help_panel=HOW)]
Capture = Annotated[
    bool, typer.Option("--capture", help="Launch each step on a GPU as one CUDA graph.", rich_help_panel=HOW)
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Train by a teacher that is not surely better than guessing, too.", rich_help_panel=HOW
    ),
]
SelectOnTest = Annotated[
    bool,
    typer.Option(
        "--select-on-test",
        help="Without validation images, keep the epoch that is the best on the test images.",
        rich_help_panel=WHAT,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu.", rich_help_panel=HOW)]
Precision = Annotated[PrecisionChoice | None, typer.Option(help="By default the recipe's.", rich_help_panel=HOW)]
Compile = Annotated[
    bool, typer.Option("--compile", help="Run the networks through torch.compile.", rich_help_panel=HOW)
]
Devices = Annotated[int, typer.Option(min=1, help="Processes on each node.", rich_help_panel=HOW)]
Nodes = Annotated[int, typer.Option(min=1, help="Machines; start it once on each.", rich_help_panel=HOW)]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Runs at once on the one device.", rich_help_panel=HOW)]
Together = Annotated[
    int | None,
    typer.Option(
        "--together",
        min=1,
        help="Runs that a process makes in step, at most: those of one teacher and data seed, whose batches are drawn "
        "and put through the teacher once. 8, or 1 with --capture.",
        rich_help_panel=HOW,
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only a label-stratified sample of so many.")]
Workers = Annotated[int, typer.Option(min=0, max=MOST_WORKERS, help="Processes that decode images.")]


def seed_numbers(text: str | None) -> tuple[int, ...]:
    """ "0,1,2" -> (0, 1, 2); None -> ().

    Raises:
        XkdError: something else, or one seed twice.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    seeds = [int(part) for part in parts if part.isdecimal() and len(part) < 19]
    if len(seeds) < len(parts) or len(set(seeds)) < len(seeds):
        raise XkdError(f"seeds: {short(text)} found; expected different whole numbers, such as 0,1,2")
    return tuple(seeds)
