"""How an evaluation shows on the terminal: one table of models, the classes and mistakes that cost most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from xkd_eval.cli.console import console, errors, told
from xkd_eval.cli.progress import ProgressLines, Report, stderr_bar
from xkd_eval.escapes import visible

if TYPE_CHECKING:
    from distill.students.evaluation import Evaluation

_CLASSES, _MISTAKES = 5, 5


@contextmanager
def evaluation_bar() -> Iterator[Report]:
    """Shows on stderr how far an evaluation is: bars, one after the other, or lines."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    progress, lines = stderr_bar(*columns), ProgressLines("done")

    def report(what: str, done: int, total: int) -> None:
        if done:
            told.say_inputs()
        if not errors.is_interactive:
            lines(what, done, total)
            return
        progress.start()  # not before: bad input is one line, and no bar beside it
        description = escape(visible(what))
        if not progress.tasks or progress.tasks[-1].description != description:
            for task in progress.task_ids:
                progress.remove_task(task)
            progress.add_task(description)
        progress.update(progress.task_ids[-1], completed=done, total=total)

    try:
        yield report
    finally:
        progress.stop()


def print_evaluation(found: Evaluation, all_classes: bool) -> None:
    """Everything of every model in one table; then classes, mistakes, and what a reader must know.

    Args:
        found: with at least one model.
        all_classes: print each class, not only those that are found worst.
    """
    console.print(_models(found))
    console.print(_classes(found, all_classes))
    if len(found.mistakes):
        console.print(_mistakes(found))
    for line in _said(found):
        console.print(escape(line), highlight=False, soft_wrap=True)
    for note in found.notes:
        errors.print(f"[yellow]note:[/yellow] {escape(note)}", highlight=False, soft_wrap=True)


def _models(found: Evaluation) -> Table:
    """A line a measure while there are fewer models than measures, and else a line a model."""
    names = list(found.scores)
    head = ["", *names]
    lines = [
        [measure.heading, *(measure.shown(measure.values[name]) if name in measure.values else "" for name in names)]
        for measure in found.measures
    ]
    if len(names) > len(lines):
        head, *lines = (list(line) for line in zip(head, *lines, strict=True))
    table = Table(title=escape(f"{found.data}, split {found.split}"), title_justify="left")
    for place, name in enumerate(head):
        table.add_column(escape(name), justify="right" if place else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(escape, line))
    return table


def _classes(found: Evaluation, every: bool) -> Table:
    """The classes by accuracy, the worst first: of one model in full, of several each one's accuracy."""
    table = found.per_class
    students = [model.name for model in found.models if not model.is_teacher]
    present = table[(table["images"] > 0) | every]
    worst = present[present["model"].isin(students)].groupby("class", sort=True)["accuracy"].mean()
    order = worst.sort_values(kind="stable").index[: None if every else _CLASSES]
    title = "classes, the worst first" if every else f"the {len(order)} classes that are found worst (--per-class: all)"
    shown = Table("class", title=title, title_justify="left")
    one = len(found.models) == 1
    columns = ("accuracy", "precision", "f1") if one else tuple(found.scores)
    for heading in ("images", *(("accuracy, %", "precision, %", "F1, %") if one else columns)):
        shown.add_column(escape(heading), justify="right", overflow="fold")
    for index in order:
        rows = present[present["class"] == index]
        first = rows.iloc[0]
        values = [first[name] for name in columns] if one else [_accuracy(rows, name) for name in columns]
        shown.add_row(escape(str(first["name"])), f"{first['images']:,}", *map(_percent, values))
    return shown


def _accuracy(rows: Any, model: str) -> float:
    found = rows.loc[rows["model"] == model, "accuracy"]
    return float(found.iloc[0]) if len(found) else float("nan")


def _mistakes(found: Evaluation) -> Table:
    """Each student's most frequent mistakes."""
    table = found.mistakes
    students = [model.name for model in found.models if not model.is_teacher]
    one = len(students) == 1
    shown = Table(
        *(() if one else ("model",)), "true", "taken for", title="most frequent mistakes", title_justify="left"
    )
    shown.add_column("images", justify="right")
    shown.add_column("of the class, %", justify="right")
    for name in students:
        for row in table[table["model"] == name].head(_MISTAKES if one else 2).itertuples():
            texts = (*(() if one else (name,)), row.true, row.predicted)
            shown.add_row(*map(escape, texts), f"{row.images:,}", _percent(row.share))
    return shown


def _said(found: Evaluation) -> Iterator[str]:
    """What explanations were tested on, and how costs were found."""
    yield "multiply-accumulates: of convolutions and matrix products, one image at each model's own size"
    results = () if found.study is None else found.study.results
    for test in dict.fromkeys(result.test_name for result in results):
        summary = next(result.summary for result in results if result.test_name == test)
        yield f"{test}: {summary['n_images']:,} images of {summary['data']['name']}"
    for text in dict.fromkeys(str(model.latency) for model in found.models if model.latency is not None):
        yield f"latency: {text}"


def _percent(value: float) -> str:
    return "" if value != value else f"{100 * value:.1f}"
