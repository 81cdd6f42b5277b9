"""What the commands print: bars, tables, scores."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from xkd_eval.cli.console import console, errors
from xkd_eval.launch import is_first_process
from xkd_eval.wording import counted

if TYPE_CHECKING:
    from distill.recipe.files import RecipeFile
    from distill.recipe.schema import Recipe
    from distill.runs.sweep import SweepResult
    from distill.runs.tables import Outcome
    from distill.students.export import Exported

_WIDEST = 10_000  # characters of a table's line in a log file


def print_recipes(files: Sequence[RecipeFile]) -> None:
    """A line a file; those of the same variants together, with these above them."""
    together: dict[tuple[str, ...], list[RecipeFile]] = {}
    for file in files:
        together.setdefault(tuple(file.variants), []).append(file)
    width = max(len(file.name) for file in files)
    for variants, alike in sorted(together.items(), key=lambda group: len(group[0])):
        table = Table.grid(padding=(0, 2))
        table.add_column(min_width=width, no_wrap=True)
        for file in alike:
            table.add_row(f"[b]{escape(file.name)}[/b]", f"[dim]{escape(file.description)}[/dim]")
        which = f"{counted(len(variants), 'variant')}: {', '.join(variants)}" if variants else "without variants:"
        console.print(which, highlight=False, markup=False)
        console.print(table)
        console.print()
    console.print("train NAME/VARIANT, or NAME for all of them; recipes NAME/VARIANT prints what it resolves to")


def print_recipe(name: str, recipe: Recipe) -> None:
    """A recipe as a file that `train` takes again."""
    from distill.recipe.files import recipe_text

    console.print(f"# {name}\n{recipe_text(recipe)}", highlight=False, markup=False)


def print_methods() -> None:
    """A line a method; on stderr a line a method of another package that cannot be used."""
    from inspect import signature

    from distill.methods.registry import METHODS

    table = Table("method", "options", "paper")
    with warnings.catch_warnings(record=True) as broken:
        warnings.simplefilter("always")
        for name, method in METHODS.items():
            options = [str(option).replace(" ", "") for option in map(_option, signature(method).parameters.values())]
            table.add_row(f"[b]{escape(name)}[/b]", escape(", ".join(options)), escape(method.citation))
    console.print(table)
    console.print("every loss also takes weight, ramp_epochs, schedule, name, and teacher where there are several")
    for warning in broken:
        errors.print(f"[yellow]warning[/yellow]: {escape(str(warning.message))}", highlight=False, soft_wrap=True)


def print_outcomes(outcomes: Sequence[Outcome], directories: Sequence[Path]) -> None:
    """What the runs came to, by the one process that speaks."""
    if not is_first_process():
        return
    _print_table(outcomes)
    for directory in directories:
        console.print(f"{directory / 'student.pt'}", highlight=False, markup=False, soft_wrap=True)


def print_sweep(result: SweepResult, directory: Path) -> None:
    """The table, and what failed."""
    if result.outcomes:
        _print_table(result.outcomes)
        console.print(f"in {directory}", highlight=False, markup=False, soft_wrap=True)
    for place, reason in result.failed:
        errors.print(f"[red]failed[/red] {escape(str(place))}: {escape(reason)}", highlight=False, soft_wrap=True)


def print_export(output: Path, made: Exported) -> None:
    """Where it lies, how far its logits differ, and whether its CAM is proven."""
    if made.quantised is None:
        said = [f"{output}: logits equal to {made.difference:.1e} of the largest"]
    else:
        found = made.quantised
        images = counted(found.images, "calibration image")
        said = [
            f"{output}: {found.bytes_before:,} bytes in float32, {found.bytes_after:,} in 8-bit integers",
            f"on {images}: the same class of {100 * found.agreement:.1f} %, logits equal to {found.difference:.1e} of "
            "the largest",
        ]
    if made.cam is not None:
        proof = f"logits re-derived from the maps to {made.cam.proof_error:.1e}, {made.cam.tolerance:.1e} is allowed"
        said.append(f"CAM: proven in the file, {proof}")
    elif made.cam_refusal:
        said.append(f"CAM: none: {made.cam_refusal}")
    for line in said:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_table(outcomes: Sequence[Outcome]) -> None:
    from distill.runs.tables import cells, header, legend

    table = Table()
    first, *others = header(outcomes)
    table.add_column(first, overflow="fold")
    for column in others:
        table.add_column(escape(column), justify="right")
    for line in cells(outcomes):
        table.add_row(*map(escape, line))
    _print_whole(table)
    console.print(legend(outcomes), highlight=False)


def _print_whole(table: Table) -> None:
    """Print a table; a log file has room for whole names, which on a terminal are folded."""
    width = console.width
    if not console.is_interactive:
        console.width = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    try:
        console.print(table)
    finally:
        console.width = width


def _option(parameter: Any) -> str:
    return f"{parameter.name}={parameter.default!r}"
