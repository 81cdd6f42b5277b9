"""What the commands print: bars, tables, scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from xkd_eval.cli.output import console, errors
from xkd_eval.errors import XkdError

if TYPE_CHECKING:
    from distill.recipe.files import RecipeFile
    from distill.runs.plan import PlannedRun
    from distill.runs.sweep import SweepResult
    from distill.runs.tables import Outcome
    from distill.students.scores import Scores


@contextmanager
def training_bar(run: PlannedRun) -> Iterator[Any]:
    """A bar on stderr for (images seen, images in all, where) callbacks."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    title = escape(f"{run.name}, seed {run.recipe.seed}")
    with Progress(*columns, console=errors, transient=True, disable=not _is_main()) as progress:
        task = progress.add_task(title, total=None, rate="starting")

        def report(done: int, total: int, where: str) -> None:
            speed = progress.tasks[0].speed
            rate = f"{speed:,.0f} images/s" if speed else ""
            progress.update(task, completed=done, total=total, description=f"{title}: {where}", rate=rate)

        yield report


@contextmanager
def sweep_bar() -> Iterator[Any]:
    """A bar on stderr for (runs done, runs in all, what is under way) callbacks."""
    columns = (TextColumn("{task.completed}/{task.total} runs"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, where: progress.update(task, completed=done, total=total, description=escape(where))


def print_recipes(files: Sequence[RecipeFile]) -> None:
    """A line a file, with the recipes in it."""
    table = Table("recipes", "rows")
    for file in files:
        names = ", ".join(file.rows)
        table.add_row(f"[b]{escape(file.name)}[/b]\n[dim]{escape(file.description)}[/dim]", escape(names))
    console.print(table)
    console.print("train NAME/ROW, or NAME for all of its rows; recipes NAME/ROW prints what it resolves to")


def print_methods() -> None:
    """A line a loss."""
    from inspect import signature

    from distill.methods import method_class, method_names

    table = Table("loss", "options", "paper")
    for name in method_names():
        found = method_class(name)
        options = [str(option).replace(" ", "") for option in map(_option, signature(found).parameters.values())]
        table.add_row(f"[b]{name}[/b]", escape(", ".join(options)), escape(found.citation))
    console.print(table)
    console.print("every loss also takes weight and ramp_epochs")


def print_outcomes(outcomes: Sequence[Outcome], directories: Sequence[Path]) -> None:
    """What the runs came to, by the one process that speaks."""
    if not _is_main():
        return
    _print_table(outcomes)
    for directory in directories:
        console.print(f"{directory / 'student.pt'}", highlight=False, soft_wrap=True)


def print_sweep(result: SweepResult, directory: Path) -> None:
    """The table, and what failed."""
    if result.outcomes:
        _print_table(result.outcomes)
        console.print(f"in {directory}", highlight=False, soft_wrap=True)
    for place, reason in result.failed:
        errors.print(f"[red]failed[/red] {place}: {escape(reason)}", highlight=False, soft_wrap=True)


def print_scores(scores: Mapping[str, Scores], data: str) -> None:
    """A line a model, in percent."""
    any_scores = next(iter(scores.values()))
    table = Table(title=f"{any_scores.n_images:,} images of {data}", title_justify="left")
    table.add_column("model")
    for label in ("top-1 %", "top-5 %", "loss", "calibration error %", "agrees with teacher %"):
        table.add_column(label, justify="right")
    for model, found in scores.items():
        shares = (found.top1, found.top5, found.calibration_error, found.agreement)
        top1, top5, calibration, agreement = ("" if share is None else f"{100 * share:.2f}" for share in shares)
        table.add_row(escape(model), top1, top5, f"{found.loss:.4f}", calibration, agreement)
    console.print(table)


def write_scores(scores: Mapping[str, Scores], path: Path) -> None:
    """As JSON: model to name to share or number."""
    text = json.dumps({model: found.to_dict() for model, found in scores.items()}, indent=2)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    except OSError as error:
        raise XkdError(f"-o {path}: cannot be written ({error.strerror or error})") from None


def _print_table(outcomes: Sequence[Outcome]) -> None:
    from distill.runs.tables import HEADER, legend, rows

    table = Table()
    table.add_column(HEADER[0], overflow="fold")
    for label in HEADER[1:]:
        table.add_column(label, justify="right")
    for row in rows(outcomes):
        table.add_row(*map(escape, row))
    console.print(table)
    console.print(legend(outcomes), highlight=False)


def _option(parameter: Any) -> str:
    return f"{parameter.name}={parameter.default!r}"


def _is_main() -> bool:
    from os import environ

    return environ.get("RANK", "0") == "0"
