"""xkd-distill export."""

from __future__ import annotations

from typing import Annotated

import typer

from distill.cli import options as o

EXAMPLES = """[b]Examples[/b]

xkd-distill export student.pt -o student.onnx --cam

xkd-distill export student.pt -o student.xml

xkd-distill export student.pt -o int8.onnx --quantise int8 --data cifar10/

xkd-distill export torchvision/resnet18 -o resnet18.onnx

[b]Formats[/b]

.onnx runs in ONNX Runtime, .xml (with its .bin) in OpenVINO, .safetensors holds the weights of a checkpoint.

xkd-eval takes all of them as models."""

INTEGERS = "In 8-bit integers"

_Cam = Annotated[
    bool, typer.Option("--cam", help="The class activation maps as a second output, for devices that show them.")
]
_Quantise = Annotated[
    o.QuantiseChoice | None,
    typer.Option("--quantise", help="To .onnx alone, with ranges from --data.", rich_help_panel=INTEGERS),
]
_Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        "-d",
        help="Calibration images. Not those that the network is evaluated on: it would know their ranges.",
        rich_help_panel=INTEGERS,
    ),
]
_Split = Annotated[o.SplitChoice, typer.Option(help="The part of the data.", rich_help_panel=INTEGERS)]
_Calibration = Annotated[int, typer.Option(min=1, help="So many of them, label-stratified.", rich_help_panel=INTEGERS)]


def export(
    model: o.Exported,
    output: o.ExportOutput,
    cam: _Cam = False,
    quantise: _Quantise = None,
    data: _Data = None,
    split: _Split = o.SplitChoice.train,
    calibration: _Calibration = 128,
    imports: o.Imports = None,
) -> None:
    """Write a classifier in another format, and check that it gives the same logits."""
    from distill.cli.output import print_export
    from distill.recipe.imports import import_all
    from distill.students.export import export as write
    from xkd_eval.cli.progress import progress_bar
    from xkd_eval.datasets import limit, open_dataset

    import_all(imports or ())
    images = None if data is None else limit(open_dataset(data, split=split.value), calibration)
    chosen = None if quantise is None else quantise.value
    with progress_bar("images") as progress:
        made = write(model, output, cam=cam, quantise=chosen, calibration=images, progress=progress)
    print_export(output, made)
