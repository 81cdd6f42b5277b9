"""What the commands print: progress bars, tables of scores, notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from xkd_eval.cli.console import console, errors

if TYPE_CHECKING:
    from xkd_eval.classifiers.inspection import Inspection
    from xkd_eval.comparison import Comparison
    from xkd_eval.explainers import ExplainerInfo

_PERTURBATION = {
    "clean_accuracy": ("clean accuracy", ""),
    "positive.auc": ("positive AUC", "lower is better"),
    "positive.auc_relative": ("positive AUC / (range x clean)", "lower is better"),
    "negative.auc": ("negative AUC", "higher is better"),
    "negative.auc_relative": ("negative AUC / (range x clean)", "higher is better"),
}
_SEGMENTATION = {
    "pixel_accuracy": ("pixel accuracy", ""),
    "miou": ("mIoU", ""),
    "map": ("mAP (published rule)", "not rank-invariant"),
    "foreground_ap": ("foreground AP", ""),
    "f1": ("F1 over pixels", ""),
    "f1_rows": ("F1 over rows (published)", ""),
    "pointing_game": ("pointing game", ""),
    "energy_pointing_game": ("energy pointing game", ""),
}
_ROWS = {"perturbation": _PERTURBATION, "segmentation": _SEGMENTATION}


@contextmanager
def progress_bar(description: str) -> Iterator[Any]:
    """A bar on stderr for (done, total) callbacks, with the time left; nothing of it stays in a log file."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def comparison_bar() -> Iterator[Any]:
    """A bar on stderr for (what, done, total) callbacks, one run after the other."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("images"))
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda what, done, total: progress.update(task, description=escape(what), completed=done, total=total)


def warn_of_slow_precision(precision: str, device: str) -> None:
    """Say on stderr that bf16 costs time where the hardware does not multiply it."""
    from xkd_eval.devices import resolve_device
    from xkd_eval.engines.eager import bf16_is_native

    if precision == "bf16" and not bf16_is_native(resolve_device(device)):
        errors.print("[yellow]--precision bf16 is emulated on this device[/yellow]: fp32 is faster, and exact")


def print_summary(summary: dict[str, Any]) -> None:
    """The scores in percent with their 95 % intervals, and what a reader must know beside them."""
    table = Table(title=_title(summary), title_justify="left")
    table.add_column("score")
    table.add_column("%", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("")
    for path, (label, remark) in _ROWS[summary["test"]].items():
        score = _score(summary, path)
        if score is not None:
            table.add_row(label, _percent(score["value"]), _interval(score["ci95"]), f"[dim]{remark}[/dim]")
    console.print(table)
    for note in _notes(summary):
        console.print(note, highlight=False)


def print_comparison(result: Comparison) -> None:
    """Each model's scores, what its difference from the reference carries, and how far maps agree."""
    from xkd_eval.comparison.words import findings

    own = result.own(result.scores)
    table = Table()
    table.add_column("score, %", no_wrap=True)
    for model in result.models:
        table.add_column(escape(model), justify="right")
    for score, rows in own.groupby("score", sort=False):
        cells = {
            row.model: f"{_percent(row.value)} [dim]{_interval([row.low, row.high])}[/dim]" for row in rows.itertuples()
        }
        table.add_row(str(score), *(cells.get(model, "") for model in result.models))
    console.print(table)
    for finding in findings(result):
        console.print(f"\n[b]{escape(finding.title)}[/b]", highlight=False)
        for sentence in finding.against_reference:
            console.print(escape(sentence), highlight=False)
        if finding.others:
            console.print(f"[dim]{len(finding.others)} other pairs: see the report[/dim]", highlight=False)


def print_explainers(known: Sequence[ExplainerInfo]) -> None:
    """A line an explainer: F is a forward, B a backward of the classifier, per image."""
    table = Table("name", "cost an image", "paper")
    for explainer in known:
        table.add_row(f"[b]{explainer.name}[/b]", explainer.cost, explainer.citation)
    console.print(table)
    console.print("F = forward, B = backward, C = channels of the last spatial map", highlight=False)


def print_inspection(found: Inspection) -> None:
    """What `xkd-eval inspect` shows."""
    table = Table(title=found.name, title_justify="left", show_header=False)
    for label, value in inspection_lines(found):
        table.add_row(label, escape(value))
    console.print(table)


def inspection_lines(found: Inspection) -> Iterator[tuple[str, str]]:
    """Label and text of every line."""
    yield "parameters", f"{found.n_parameters:,}"
    yield "digest", found.digest[:12]
    yield from _head_lines(found)
    preprocess = found.preprocess
    height, width = preprocess.size
    yield "input", f"{height}x{width} {preprocess.channel_order}, white = {preprocess.value_range:g}"
    crop = f", keeps {preprocess.crop_fraction:g} of the short side" if preprocess.resize == "crop" else ""
    yield "resize", f"{preprocess.resize}, {preprocess.interpolation}{crop}"
    yield "mean", ", ".join(f"{value:.4g}" for value in preprocess.mean)
    yield "std", ", ".join(f"{value:.4g}" for value in preprocess.std)
    yield "classes", f"{found.num_classes}: {', '.join(found.first_class_names) or 'no names'}"
    yield "WordNet ids", "yes" if found.has_wordnet_ids else "no"
    yield "explainers", ", ".join(found.explainers)
    for name, reason in found.refused.items():
        yield f"not {name}", reason


def _head_lines(found: Inspection) -> Iterator[tuple[str, str]]:
    head = found.head
    if head is None:
        yield "CAM head", f"none: {found.head_refusal}"
        return
    height, width = head.map_size
    yield "CAM map", f"{head.features} ({head.layout}{', then ReLU' if head.relu else ''}), {height}x{width}"
    yield "CAM head", head.linear or "the map's channels are the classes"
    if head.norm:
        yield "norm", f"{head.norm} between pool and head: the CAM holds with its statistics frozen per image"
    yield "proof", f"logits re-derived from the maps to {head.proof_error:.1e} of the largest"


def _title(summary: dict[str, Any]) -> str:
    protocol = summary["protocol"]
    return (
        f"{summary['test']}: {summary['model']['name']}, {summary['explainer']['name']}, "
        f"{summary['n_images']:,} images of {summary['data']['name']}; protocol {protocol['name']} ({protocol['hash']})"
    )


def _notes(summary: dict[str, Any]) -> Iterator[str]:
    if "tie_share" in summary:
        yield f"ties: {_percent(summary['tie_share']['value'])} % of the pixels share their value with another"
    if summary["degenerate_maps"]:
        yield (
            f"[yellow]{summary['degenerate_maps']} constant or non-finite maps[/yellow], scored in the protocol's "
            "random order"
        )
    skipped = summary["skipped"]
    if skipped["count"]:
        first = skipped["images"][0]
        yield f"[yellow]{skipped['count']} images skipped[/yellow], the first {first['id']}: {first['reason']}"


def _score(summary: dict[str, Any], path: str) -> dict[str, Any] | None:
    value: Any = summary
    for key in path.split("."):
        if key not in value:
            return None
        value = value[key]
    return value


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:.1f}"


def _interval(interval: list[float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
