"""xkd-eval demo: every evaluation on the embedded teacher and data, and the teacher compared with its students."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xkd_eval.assets import EMBEDDED
from xkd_eval.cli.app import app
from xkd_eval.cli.console import Command, console, keeping_what_is_done

_OVERLAID = 4
_IMAGES, _QUICK = 100, 40

_MODELS = [f"embedded/{name}" for name in EMBEDDED]


@app.command(cls=Command)
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the runs and figures go.")] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer images.")] = False,
) -> None:
    """All evaluations on the embedded data, and a teacher compared with its students: under a minute, offline."""
    from xkd_eval.cli.output import print_comparison, print_result
    from xkd_eval.cli.progress import progress_bar
    from xkd_eval.explanations.overlay import write_overlays
    from xkd_eval.report.compare import compare
    from xkd_eval.study.evaluate import evaluate_one

    limit, output = (_QUICK, output / "quick") if quick else (_IMAGES, output)
    with keeping_what_is_done():
        for test in ("perturbation", "segmentation"):
            with progress_bar() as report:
                result = evaluate_one(test, "embedded", limit=limit, output=output / test, progress=report)
            print_result(result)
            console.print(f"in {result.directory}\n", highlight=False, markup=False, soft_wrap=True)
        (overlays,) = write_overlays(
            models=["embedded/teacher", "embedded/plain", "embedded/exp_kd"],
            weights=[],
            photos=[],
            data="embedded",
            ids=[f"test-{number:05d}" for number in range(_OVERLAID)],
            output=output / "overlay.png",
        )
        console.print(f"overlays in {overlays}\n", highlight=False, markup=False, soft_wrap=True)
        place = output / "comparison"
        command = f"xkd-eval compare {' '.join(_MODELS)} --limit {limit}"
        with progress_bar() as report:
            comparison = compare(_MODELS, limit=limit, output=place, command=command, progress=report)
    print_comparison(comparison)
    console.print(f"report: {place / 'report.html'}", highlight=False, markup=False, soft_wrap=True)
