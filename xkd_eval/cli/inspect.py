"""xkd-eval inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xkd_eval.cli import options as o
from xkd_eval.cli.app import app
from xkd_eval.cli.console import Command
from xkd_eval.study.options import PREPROCESS, RunOptions


@app.command(cls=Command)
@o.takes(RunOptions, only=PREPROCESS)
def inspect(
    options: dict[str, Any],
    model: Annotated[str, typer.Argument(help=o.MODEL_HELP)] = "embedded",
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights for a timm, torchvision or xkd name: .pt .pth .th .safetensors; FILE#PART where it holds "
            "several networks."
        ),
    ] = None,
) -> None:
    """The CAM head found and its proof, the input convention, the classes, and which explainers hold."""
    from xkd_eval.classifiers.loading import load_classifier
    from xkd_eval.cli.output import print_inspection
    from xkd_eval.explainers.inspection import inspect_classifier

    print_inspection(inspect_classifier(load_classifier(model, weights=weights, **options)))
