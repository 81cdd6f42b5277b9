"""xkd-eval compare."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from xkd_eval.cli import options as o
from xkd_eval.cli.app import app
from xkd_eval.cli.console import Command, console, keeping_what_is_done, separated
from xkd_eval.cli.processes import handed_out
from xkd_eval.evaluations.perturbation.options import PerturbationOptions
from xkd_eval.launch import is_silent
from xkd_eval.report import IN_PAGE
from xkd_eval.study.options import RunOptions

_EXAMPLES = """[b]Examples[/b]

xkd-eval compare embedded/teacher embedded/plain embedded/kd embedded/exp_kd

xkd-eval compare teacher.pt plain.pt kd.pt exp_kd.pt --data imagenet/val --masks gtsegs_ijcv.mat -o report/

xkd-eval compare teacher.pt kd=kd-0.pt kd=kd-1.pt kd=kd-2.pt exp_kd=exp-0.pt exp_kd=exp-1.pt --data cifar100/

xkd-eval compare teacher.pt kd.pt --data imagenet/val --paper single.pdf --paper double.pdf,svg -o report/

xkd-eval compare runs/perturbation/teacher runs/perturbation/student"""


@app.command(cls=Command, epilog=_EXAMPLES)
@o.takes(RunOptions, PerturbationOptions, without=("maps", "save_maps", "figures"))
def compare(
    options: dict[str, Any],
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two or more, the teacher first: MODEL, or NAME=MODEL (several of one NAME are training seeds), with "
            "options behind it: MODEL,size=64; or finished run directories."
        ),
    ],
    data: o.Data = "embedded",
    masks: o.Masks = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", "-t", help="The reference, before all MODELS.", rich_help_panel=o.WHAT)
    ] = None,
    explainer: o.ExplainerName = "cam",
    tests: Annotated[
        list[str],
        typer.Option(
            "--test",
            help="By default all for which the data has what they need; several by commas, or repeat it.",
            rich_help_panel=o.WHAT,
        ),
    ] = [],  # noqa: B006 - typer copies it
    floors: o.Floors = True,
    gallery: Annotated[
        str,
        typer.Option(
            metavar="N|all",
            help="Images in the report's gallery, within its one file; all: every image, as small files in a folder "
            "beside the report, which a browser loads as one scrolls.",
            rich_help_panel=o.HOW,
        ),
    ] = str(IN_PAGE),
    runs: o.Runs = None,
    paper: o.Paper = [],  # noqa: B006
    devices: o.Devices = 1,
    nodes: o.Nodes = 1,
) -> None:
    """Which model explains itself better, is the difference real, and does it look where its teacher looks?"""
    from xkd_eval.cli.output import print_comparison, warn_of_slow_precision
    from xkd_eval.cli.papers import check_papers, print_papers
    from xkd_eval.cli.progress import progress_bar
    from xkd_eval.report.compare import compare as compare_models

    check_papers(paper)
    if handed_out(devices, nodes):
        return
    warn_of_slow_precision(options)
    shared = runs or (None if "output" in options else Path("runs"))
    output = options.pop("output", Path("runs/compare"))
    with keeping_what_is_done(), progress_bar() as report:
        result = compare_models(
            models if teacher is None else [teacher, *(model for model in models if model != teacher)],
            data,
            masks=masks,
            explainer=explainer,
            tests=separated(tests) or None,
            floors=floors,
            output=output,
            runs=shared,
            gallery=int(gallery) if gallery.isdecimal() and len(gallery) < 10 else gallery,  # type: ignore[arg-type]
            command=shlex.join(["xkd-eval", *sys.argv[1:]]),
            progress=report,
            **options,
        )
    if is_silent():
        return
    print_comparison(result)
    console.print(f"report: {output / 'report.html'}", highlight=False, markup=False, soft_wrap=True)
    print_papers(result, output, paper)
