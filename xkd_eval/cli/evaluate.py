"""xkd-eval evaluate."""

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
from xkd_eval.study.options import RunOptions

_EXAMPLES = """[b]Examples[/b]

xkd-eval evaluate embedded/teacher embedded/kd --test perturbation,segmentation

xkd-eval evaluate teacher.pt student.pt --explainer cam,gradcam++ --data imagenet/val --masks gtsegs_ijcv.mat

xkd-eval evaluate student.pt --explainer integrated_gradients:steps=200 --test perturbation:fill=blur --limit 500

xkd-eval evaluate teacher.pt student.pt --test core --explainer cam,gradcam,random --data imagenet/val

xkd-eval evaluate teacher.pt student.pt --data imagenet/val --devices 8 --paper single.pdf

xkd-eval evaluate student.pt --explainer py:mine:MyExplainer --test py:mine:MyTest"""


@app.command(cls=Command, epilog=_EXAMPLES)
@o.takes(RunOptions, PerturbationOptions, without=("maps", "save_maps"))
def evaluate(
    options: dict[str, Any],
    models: Annotated[
        list[str],
        typer.Argument(help="MODEL, or NAME=MODEL, with options behind it: MODEL,size=64; the reference first."),
    ],
    data: o.Data = "embedded",
    masks: o.Masks = None,
    explainers: Annotated[
        list[str],
        typer.Option(
            "--explainer",
            "-e",
            help="Several by commas, or repeat it; with options: NAME:steps=200.",
            rich_help_panel=o.WHAT,
        ),
    ] = ["cam"],  # noqa: B006 - typer copies it
    tests: Annotated[
        list[str],
        typer.Option(
            "--test",
            help="See `xkd-eval tests`; several by commas, or repeat it; core: what a paper's table needs, of which "
            "one that is named too goes by its own options.",
            rich_help_panel=o.WHAT,
        ),
    ] = ["perturbation"],  # noqa: B006
    runs: o.Runs = None,
    paper: o.Paper = [],  # noqa: B006
    devices: o.Devices = 1,
    nodes: o.Nodes = 1,
) -> None:
    """Models x explainers x tests in one stream: each photograph is read, classified and explained once."""
    from xkd_eval.cli.output import print_study, warn_of_slow_precision
    from xkd_eval.cli.papers import check_papers, print_papers
    from xkd_eval.cli.progress import progress_bar
    from xkd_eval.report.runs import leave_page
    from xkd_eval.study.evaluate import evaluate as evaluate_models

    check_papers(paper)
    if handed_out(devices, nodes):
        return
    warn_of_slow_precision(options)
    shared = runs or (None if "output" in options else Path("runs"))
    with keeping_what_is_done(), progress_bar() as report:
        study = evaluate_models(
            models,
            data,
            explainers=separated(explainers),
            tests=separated(tests),
            masks=masks,
            runs=shared,
            progress=report,
            **{"output": Path("runs/evaluate"), **options},
        )
    if is_silent():
        return
    print_study(study)
    console.print(f"table: {study.directory}/scores.csv", highlight=False, markup=False, soft_wrap=True)
    if options.get("figures") is not False:
        page = leave_page(study, shlex.join(["xkd-eval", *sys.argv[1:]]))
        console.print(f"report: {page}", highlight=False, markup=False, soft_wrap=True)
    print_papers(study, study.directory, paper)
