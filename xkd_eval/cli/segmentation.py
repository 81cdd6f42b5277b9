"""xkd-eval segmentation."""

from __future__ import annotations

from typing import Any

from xkd_eval.cli import options as o
from xkd_eval.cli.app import app
from xkd_eval.cli.console import Command
from xkd_eval.cli.processes import handed_out
from xkd_eval.cli.single import run_test
from xkd_eval.study.options import RunOptions

_EXAMPLES = """[b]Examples[/b]

xkd-eval segmentation

xkd-eval segmentation --model student.pt --paper single.pdf --paper double.pdf,svg

xkd-eval segmentation --model student.pt --data gtsegs_ijcv.mat

xkd-eval segmentation --model py:mypackage.models:make --data pictures_with_masks/ --explainer layercam"""


@app.command(cls=Command, epilog=_EXAMPLES)
@o.takes(RunOptions, without=("models_at_once",))
def segmentation(
    options: dict[str, Any],
    model: o.Model = "embedded",
    data: o.Data = "embedded",
    explainer: o.ExplainerName = "cam",
    floors: o.Floors = True,
    paper: o.Paper = [],  # noqa: B006 - typer copies it
    devices: o.Devices = 1,
    nodes: o.Nodes = 1,
) -> None:
    """Score maps against object masks: pixel accuracy, mIoU, mAP, F1, pointing game."""
    if not handed_out(devices, nodes):
        run_test("segmentation", model, data, explainer, floors, paper, options)
