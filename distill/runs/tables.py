"""Finished runs as a table: one line a recipe, mean and standard deviation over seeds."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.runs.outcome_file import read_result, test_score
from xkd_eval import escapes


@dataclass(frozen=True)
class Outcome:
    """What one finished training came to.

    Attributes:
        name: of the run without its seed.
        result: see `distill.training.loop.train`.
        settings: what a sweep's grid has set of it, by key.
    """

    name: str
    result: dict[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


def finished(runs: Iterable[tuple[str, Path]]) -> list[Outcome]:
    """What the finished ones among runs came to, given the name and the directory of each."""
    results = ((name, read_result(directory)) for name, directory in runs)
    return [Outcome(name, result) for name, result in results if result is not None]


_FIRST, _OTHERS = "recipe", ("seeds", "teacher", "last", "best", "loss", "ECE", "agrees")
# What a results table calls its own columns: a setting of that name is called as the sweep's file writes it, {seed}.
_TAKEN = {_FIRST, *_OTHERS, "run", "seed", "student"}


def columns(outcome: Outcome) -> dict[str, str]:
    """What a sweep's grid has set of a training, by the name of its column; true, null and numbers as YAML has them."""
    return {
        f"{{{key}}}" if key in _TAKEN else key: value if isinstance(value, str) else json.dumps(value)
        for key, value in outcome.settings.items()
    }


def header(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """The columns of `cells`: those of a sweep's grid behind the first."""
    return (_FIRST, *dict.fromkeys(key for outcome in outcomes for key in columns(outcome)), *_OTHERS)


def legend(outcomes: Sequence[Outcome]) -> str:
    """What the columns mean, in particular what the best epoch was best on, and what else a reader must know."""
    grounds = sorted({outcome.result["best_on"] for outcome in outcomes})
    said = (
        f"last, best: top-1 % on the test images, after the last epoch and the best one on {' or '.join(grounds)}; "
        "loss, expected calibration error % and agreement with the teacher % of student.pt"
    )
    return "\n".join([said, *dict.fromkeys(note for outcome in outcomes for note in _notes(outcome))])


def _notes(outcome: Outcome) -> Iterator[str]:
    """What tells a number of this run from what one would take it for; sentences."""
    result = outcome.result
    if result["student"] == "best" and result["best_on"] == "test images":
        yield (
            f"{outcome.name}: student.pt is the epoch that is the best on the test images, so its accuracy on them is "
            "optimistic"
        )
    if len(result["teachers"]) > 1:
        yield f"{outcome.name}: agrees is with the average of the logits of its {len(result['teachers'])} teachers"
    average = result["average"]
    if average is not None and average["saved"] != average["better"]:
        yield (
            f"{outcome.name}: student.pt holds the moving average of the weights; the weights that were trained are "
            "better: lower ema_decay, or train longer"
        )


def cells(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """A line a name, in order of appearance, its cells as `header` names them; accuracies in percent."""
    settings = header(outcomes)[1 : -len(_OTHERS)]
    alike: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        alike.setdefault(outcome.name, []).append(outcome)
    return [
        (name, *(columns(its[0]).get(key, "") for key in settings), *_figures([outcome.result for outcome in its]))
        for name, its in alike.items()
    ]


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table as Markdown."""
    names = header(outcomes)
    texts = len(names) - len(_OTHERS)  # from outside: the recipe, and what a grid sets
    rows = ((*map(escapes.markdown_text, line[:texts]), *line[texts:]) for line in cells(outcomes))
    first = (*map(escapes.markdown_text, names[:texts]), *names[texts:])
    lines = [first, ("---",) * (texts + 1) + ("---:",) * (len(_OTHERS) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{legend(outcomes)}\n"


def csv_text(lines: Sequence[Mapping[str, Any]]) -> str:
    """Lines as CSV under all of their keys, in order of appearance; a key that a line lacks is empty.

    Texts are no formulas, see `xkd_eval.escapes.csv_text`.
    """
    text = io.StringIO()
    names = list(dict.fromkeys(name for line in lines for name in line))
    writer = csv.writer(text, lineterminator="\n")
    for line in ({name: name for name in names}, *lines):
        cells = (line.get(name, "") for name in names)
        writer.writerow([escapes.csv_text(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue()


def mean_and_deviation(values: Sequence[float], digits: int = 2) -> str:
    """ "71.40 ± 0.20", the sample standard deviation; one value stands alone, none is empty."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def _figures(results: list[dict[str, Any]]) -> tuple[str, ...]:
    def percent(epoch: str, score: str) -> str:
        return mean_and_deviation([100 * value for value in _values(results, epoch, score)])

    return (
        ", ".join(str(result["seed"]) for result in results),
        ", ".join(_teachers(results)),
        percent("last", "top1"),
        percent("best", "top1"),
        mean_and_deviation(_values(results, results[0]["student"], "loss"), digits=3),
        percent(results[0]["student"], "calibration_error"),
        percent(results[0]["student"], "agreement"),
    )


def _teachers(results: list[dict[str, Any]]) -> Iterator[str]:
    """The accuracy of each teacher in percent, over the runs."""
    for teacher in results[0]["teachers"]:
        yield _percent_range([100 * result["teachers"][teacher]["test_top1"] for result in results])


def _percent_range(values: list[float]) -> str:
    """One figure, where all runs have one teacher, or the least and the largest."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _values(results: list[dict[str, Any]], epoch: str, score: str) -> list[float]:
    found = [test_score(result, epoch, score) for result in results]
    return [value for value in found if value is not None]
