"""xkd-eval demo: a teacher compared with two of its students on the embedded data, and their maps over photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xkd_eval.cli.app import app
from xkd_eval.cli.console import Command, console, keeping_what_is_done

_OVERLAID = 4
_IMAGES, _QUICK = 200, 40  # as many as tell the students apart

_MODELS = ["embedded/teacher", "embedded/plain", "embedded/exp_kd"]


@app.command(cls=Command)
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the runs and figures go.")] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer images.")] = False,
) -> None:
    """A teacher, a student trained without it and one on its maps: who explains itself best? Two minutes, offline."""
    from xkd_eval.cli.output import print_comparison
    from xkd_eval.cli.progress import progress_bar
    from xkd_eval.report.compare import compare
    from xkd_eval.report.overlays import write_overlays

    limit, output = (_QUICK, output / "quick") if quick else (_IMAGES, output)
    with keeping_what_is_done():
        (overlays,) = write_overlays(
            models=_MODELS,
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
