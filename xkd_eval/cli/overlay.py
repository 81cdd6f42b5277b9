"""xkd-eval overlay."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from xkd_eval.arguments import MOST_WORKERS
from xkd_eval.cli import options as o
from xkd_eval.cli.app import app
from xkd_eval.cli.console import Command, console, separated
from xkd_eval.study.options import PREPROCESS, RunOptions

_TAKEN = (*PREPROCESS, "device", "precision", "seed")

_EXAMPLES = """[b]Examples[/b]

xkd-eval overlay --model student.pt photo.jpg

xkd-eval overlay --model teacher.pt --model student.pt a.jpg b.png -o figures/ --format pdf

xkd-eval overlay --model student.pt a.jpg b.png --explainer cam,integrated_gradients -o figures/

xkd-eval overlay --model student.pt photo.jpg --class "tabby" --colormap inferno --alpha 0.6

xkd-eval overlay --model student.pt a.jpg b.jpg c.jpg --paper single.pdf

xkd-eval overlay --data embedded --ids test-00003 --ids test-00017 --class top:3"""


@app.command(cls=Command, epilog=_EXAMPLES)
@o.takes(RunOptions, only=_TAKEN)
def overlay(
    options: dict[str, Any],
    photos: Annotated[list[Path] | None, typer.Argument(help="Image files.", show_default=False)] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help=o.MODEL_HELP + " Repeat it for columns.")
    ] = None,
    weights: Annotated[
        list[Path] | None, typer.Option(help="Weights, FILE or FILE#PART, one a --model, in the same order.")
    ] = None,
    classes: Annotated[str, typer.Option("--class", "-c", help="A name, an index, or top:K.")] = "top:1",
    explainer: Annotated[
        list[str],
        typer.Option(
            "--explainer", "-e", help="See `xkd-eval explainers`; several by commas, or repeat it: a column each."
        ),
    ] = ["cam"],  # noqa: B006 - typer copies it
    data: Annotated[str | None, typer.Option("--data", "-d", help="Take the photos from a data set.")] = None,
    ids: Annotated[list[str] | None, typer.Option("--ids", help="Image ids in --data; repeat it.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="A seeded, label-stratified sample of --data instead of its first images.")
    ] = None,
    colormap: Annotated[str | None, typer.Option(help="matplotlib's name.")] = None,
    alpha: Annotated[float | None, typer.Option(help="The map's share in the overlay, 0 to 1.")] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="A file (.png .pdf .svg), or a folder: one figure a photo, and overlays.html."
        ),
    ] = Path("overlay.png"),
    file_format: Annotated[str, typer.Option("--format", help="png, pdf or svg, where -o is a folder.")] = "png",
    paper: o.Paper = [],  # noqa: B006 - typer copies it
    workers: Annotated[
        int,
        typer.Option(min=0, max=MOST_WORKERS, help="Processes that decode photos; 0: this one.", rich_help_panel=o.HOW),
    ] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos explained at a time.", rich_help_panel=o.HOW)] = 32,
) -> None:
    """Photo, map and overlay side by side."""
    from xkd_eval.cli.output import warn_of_slow_precision
    from xkd_eval.report.overlays import write_overlays

    warn_of_slow_precision(options)
    preprocess = {name: options.pop(name) for name in list(options) if name in PREPROCESS}

    written = write_overlays(
        models=model or ["embedded"],
        weights=weights or [],
        photos=photos or [],
        data=data,
        ids=ids or [],
        output=output,
        file_format=file_format,
        preprocess=preprocess,
        limit=limit,
        paper=paper,
        workers=workers,
        classes=classes,
        explainer=separated(explainer),
        command=shlex.join(["xkd-eval", *sys.argv[1:]]),
        colormap=colormap,
        alpha=alpha,
        batch_size=batch_size,
        **options,
    )
    for path in written:
        said = f"report: {path}" if path.suffix == ".html" else str(path)
        console.print(said, highlight=False, markup=False, soft_wrap=True)
