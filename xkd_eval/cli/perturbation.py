"""xkd-eval perturbation."""

from __future__ import annotations

from typing import Any

from xkd_eval.cli import options as o
from xkd_eval.cli.app import app
from xkd_eval.cli.console import Command
from xkd_eval.cli.processes import handed_out
from xkd_eval.cli.single import run_test
from xkd_eval.evaluations.perturbation.options import PerturbationOptions
from xkd_eval.study.options import RunOptions

_EXAMPLES = """[b]Examples[/b]

xkd-eval perturbation

xkd-eval perturbation --model student.pt --paper single.pdf --paper double.pdf,svg

xkd-eval perturbation --model student.pt --data imagenet/val --devices 8

xkd-eval perturbation --model timm/resnet50.a1_in1k --data imagenet/val --limit 2000 --protocol exp-kd

xkd-eval perturbation --model student.pt --explainer integrated_gradients:steps=200

xkd-eval perturbation --model torchvision/resnet18 --weights mine.pth --data cifar10/ --explainer gradcam++"""


@app.command(cls=Command, epilog=_EXAMPLES)
@o.takes(RunOptions, PerturbationOptions, without=("models_at_once",))
def perturbation(
    options: dict[str, Any],
    model: o.Model = "embedded",
    data: o.Data = "embedded",
    explainer: o.ExplainerName = "cam",
    floors: o.Floors = True,
    paper: o.Paper = [],  # noqa: B006 - typer copies it
    devices: o.Devices = 1,
    nodes: o.Nodes = 1,
) -> None:
    """Remove the most (positive) or least (negative) relevant pixels and classify again."""
    if not handed_out(devices, nodes):
        run_test("perturbation", model, data, explainer, floors, paper, options)
