"""What the commands print: tables of scores, notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from xkd_eval.cli.console import console, errors
from xkd_eval.escapes import visible
from xkd_eval.study.floors import FLAG, FLOORS, ORACLE, best_floor, better_floors, floors_beside
from xkd_eval.study.stopping import stopping_note
from xkd_eval.wording import counted

if TYPE_CHECKING:
    from xkd_eval.comparison.result import Comparison
    from xkd_eval.evaluations.listing import TestInfo
    from xkd_eval.evaluations.scores import ScoreSpec
    from xkd_eval.explainers import ExplainerInfo
    from xkd_eval.explainers.inspection import Inspection
    from xkd_eval.study.result import EvaluationResult, Study


def warn_of_slow_precision(options: dict[str, Any]) -> None:
    """Say on stderr that bf16 costs time where the hardware does not multiply it."""
    if options.get("precision") != "bf16":
        return
    from xkd_eval.devices import resolve_device
    from xkd_eval.engines.bfloat16 import bf16_is_native

    if not bf16_is_native(resolve_device(options.get("device", "auto"))):
        errors.print("[yellow]--precision bf16 is emulated on this device[/yellow]: fp32 is faster, and exact")


def print_result(result: EvaluationResult) -> None:
    """The scores with their 95 % intervals, and what a reader must know beside them."""
    table = Table(title=escape(_title(result.summary)), title_justify="left")
    table.add_column("score")
    table.add_column("%", justify="right")
    table.add_column("95 % interval", justify="right")
    oracle = result.floors.get(ORACLE)
    if result.floors:
        table.add_column("best floor", justify="right")
    if oracle is not None:
        table.add_column(ORACLE, justify="right")
    table.add_column("")
    for spec in result.test.specs():
        found = spec.of(result.summary)
        if found is not None and spec.x is None and spec.is_at_least("shown"):
            cells = [_number(spec, found["value"]), _interval(spec, found["ci95"])]
            if result.floors:
                cells.append(_best_floor(spec, found["value"], result))
            if oracle is not None:
                cells.append(_number(spec, spec.of(oracle.summary)["value"]) if spec.of_maps else "")
            table.add_row(spec.head, *cells, f"[dim]{spec.note}[/dim]")
    console.print(table)
    if result.floors:
        known = ", ".join(name for name in result.floors if name in FLOORS)
        masks = "" if oracle is None else f"; {ORACLE}: the objects' masks themselves"
        console.print(f"floors know nothing of the model: {known}; {FLAG} where one is better{masks}", highlight=False)
    for note in _notes(result):
        console.print(note, highlight=False)


def _best_floor(spec: ScoreSpec, value: float | None, result: EvaluationResult) -> str:
    """The best of the maps that know nothing of the model."""
    found = best_floor(result, spec)
    if found is None:
        return ""
    name, number = found
    flag = f" [yellow]{FLAG}[/yellow]" if better_floors(spec, value, dict([found])) else ""
    return f"{name} {_number(spec, number)}{flag}"


def print_study(study: Study) -> None:
    """A table a test: a row a model and kind of maps, a column a score."""
    for name in dict.fromkeys(result.test_name for result in study.results):
        results = [result for result in study.results if result.test_name == name]
        shown = [spec for spec in results[0].test.specs() if spec.x is None and spec.is_at_least("shown")]
        summary = results[0].summary
        spelt = "" if name == results[0].test.name else f" ({name})"
        title = f"{results[0].test.title}{spelt}: {_images(summary)}"
        table = Table("Model", "Maps", title=escape(title), title_justify="left", box=None, header_style="underline")
        for spec in shown:
            table.add_column(spec.head, justify="right")
        wins: dict[str, list[str]] = {}
        for result in results:
            beside = floors_beside(result, results)
            cells = []
            for spec in shown:
                found = spec.of(result.summary)
                floors = {maps: spec.of(other.summary)["value"] for maps, other in beside.items()}
                better = better_floors(spec, found["value"], floors) if found else []
                for floor in better:
                    wins.setdefault(floor, []).append(f"{result.maps} of {result.model} ({spec.title})")
                flag = f" [yellow]{FLAG}[/yellow]" if better else ""
                cells.append(f"{_number(spec, found['value'])}{flag}" if found else "")
            table.add_row(escape(result.model), escape(result.maps), *cells)
        console.print(table)
        console.print()
        for floor, beaten in wins.items():
            console.print(f"[yellow]{FLAG} {floor} maps score better here[/yellow] than {escape(_some(beaten))}")
    for note in dict.fromkeys(note for result in study.results for note in _skips(result.summary)):
        console.print(note, highlight=False)
    for sentence in study.left_out:
        console.print(f"[yellow]{escape(sentence)}[/yellow]", highlight=False)


def _some(names: Sequence[str], most: int = 4) -> str:
    """The first of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def print_comparison(result: Comparison) -> None:
    """The verdict, and a table of the headline scores: a row a model. The report has the rest."""
    from xkd_eval.comparison.shown import headline_table, legend
    from xkd_eval.comparison.verdict import verdict

    found = headline_table(result, _COLUMNS)
    # Not the table's title, which is broken where a narrow table ends.
    console.print(escape(visible(verdict(result))), style="bold", highlight=False)
    table = Table(box=None, header_style="underline")
    for head in found.heads:
        table.add_column(escape(head), justify="left" if head == found.heads[0] else "right")
    for line in found.lines[:_MODELS]:
        cells = (f"{cell.value} {cell.symbol}".strip() for cell in line.cells)
        bold = ("b" if cell.marked else "" for cell in line.cells)
        styled = (f"[b]{text}[/b]" if style else text for text, style in zip(cells, bold, strict=True))
        table.add_row(escape(visible(line.head[0])), *styled)
    console.print(table)
    more = [f"{counted(len(found.lines) - _MODELS, 'more model')} in the report."] if len(found.lines) > _MODELS else []
    beaten = [f"{FLAG} some scores are won by maps that know nothing."] if result.scores["beaten_by"].any() else []
    left_out = [f"{visible(sentence)}." for sentence in result.left_out]
    console.print(
        escape(" ".join([legend(result, found, flags=False), *more, *beaten, *left_out])), style="dim", highlight=False
    )


_MODELS, _COLUMNS = 6, 5  # for which a screen has room


def print_explainers(known: Sequence[ExplainerInfo]) -> None:
    """A line an explainer: F is a forward, B a backward of the classifier, per image."""
    table = Table("name", "cost an image", "paper")
    for explainer in known:
        table.add_row(f"[b]{explainer.name}[/b]", explainer.cost, explainer.citation)
    console.print(table)
    console.print("F = forward, B = backward, C = channels of the last spatial map", highlight=False)


def print_tests(known: Sequence[TestInfo]) -> None:
    """A block a test: what it asks; its scores, with an arrow towards better and their range; cost, needs, options."""
    table = Table("name", "", show_lines=True)
    for test in known:
        lines = [
            f"[b]{escape(test.question)}[/b]",
            f"scores: {escape('; '.join(map(_described_score, test.scores)))}" if test.scores else "",
            f"cost: {escape(test.cost)} forwards an image" if test.cost else "",
            f"needs: {', '.join(test.needs)}" if test.needs else "",
            f"options: {escape(', '.join(_described_option(*option) for option in test.options.items()))}"
            if test.options
            else "",
            f"[dim]{escape(test.citation)}[/dim]",
        ]
        core = "\n[dim]core[/dim]" if test.is_core else ""
        table.add_row(f"[b]{escape(test.name)}[/b]{core}", "\n".join(filter(None, lines)))
    console.print(table)
    console.print(
        "--test core runs those that are marked, as far as the data has what they need; one that is named beside it "
        "replaces the core's, and is not left out. E = an explanation. Options without a value are the preset's.",
        highlight=False,
    )


def _described_score(spec: ScoreSpec) -> str:
    """positive.auc ↓ [0, 0.9]"""
    arrow = {1: " ↑", -1: " ↓", 0: ""}[spec.sign]
    if spec.range is None:
        return f"{spec.name}{arrow}"
    low, high = spec.range
    least, most = "(-∞" if low is None else f"[{low:g}", "∞)" if high is None else f"{high:g}]"
    return f"{spec.name}{arrow} {least}, {most}"


def _described_option(name: str, known: tuple[Any, tuple[str, ...]]) -> str:
    """preset=rise (or torch-cam, latec); without a value where the preset has one."""
    default, words = known
    others = ", ".join(word for word in words if word != default)
    if default is None:
        return f"{name} ({others})" if others else name
    return f"{name}={_plain(default)}{f' (or {others})' if others else ''}"


def print_inspection(found: Inspection) -> None:
    """What `xkd-eval inspect` shows."""
    table = Table(title=escape(found.name), title_justify="left", show_header=False)
    for label, value in inspection_lines(found):
        table.add_row(label, escape(value))
    console.print(table)


def inspection_lines(found: Inspection) -> Iterator[tuple[str, str]]:
    """Label and text of every line."""
    from xkd_eval.classifiers.input_source import input_line

    yield "parameters", f"{found.n_parameters:,}"
    yield "digest", found.digest[:12]
    yield from _head_lines(found)
    for note in found.notes:
        yield "note", note
    yield "input", input_line(found.preprocess, found.input_from)
    two = " of one logit, whose sigmoid is the second one's probability" if found.is_of_one_logit else ""
    yield "classes", f"{found.num_classes}{two}: {', '.join(found.first_class_names) or 'no names'}"
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
    averaged = f" and {head.averaged}, whose average the logits are" if head.averaged else ""
    yield "CAM head", (head.linear or "the map's channels are the classes") + averaged
    for step in head.steps:
        how = "the CAM holds with its statistics frozen per image" if step.measures else "applied to each place"
        yield step.kind, f"{' and '.join(step.paths) or 'a function'} between pool and head: {how}"
    if head.cosine is not None:
        yield "cosine", f"logits are {head.cosine.scale:.4g} times the products with the pooled vector's direction"
    said = f"logits re-derived from the maps to {head.proof_error:.1e} of the largest"
    yield "proof", f"{said}; {head.tolerance:.1e} is allowed"


def _title(summary: dict[str, Any]) -> str:
    protocol = summary["protocol"]
    return (
        f"{summary['test']}: {summary['model']['name']}, {summary['explainer']['name']}, "
        f"{_images(summary)}; protocol {protocol['name']} ({protocol['hash']})"
    )


def _images(summary: dict[str, Any]) -> str:
    data, count = summary["data"], summary["n_images"]
    if (sets := data.get("label_sets")) is None:
        return f"{counted(count, 'image')} of {data['name']}"
    return f"{counted(count, 'label')} of {counted(sets['photographs'], 'photograph')} of {data['name']}"


def _notes(result: EvaluationResult) -> Iterator[str]:
    yield from result.test.notes(result.summary)
    if degenerate := result.summary["degenerate_maps"]:
        said = counted(degenerate, "constant or non-finite map")
        yield f"[yellow]{said}[/yellow], scored in the protocol's random order"
    if without := (result.summary["data"].get("label_sets") or {}).get("unlabelled"):
        yield f"[yellow]{counted(without, 'photograph')}[/yellow] left out, without a label"
    yield from _skips(result.summary)


def _skips(summary: dict[str, Any]) -> Iterator[str]:
    yield from stopping_note(summary)
    skipped = summary["skipped"]
    if skipped["count"]:
        first = skipped["images"][0]
        said = escape(f"{first['id']}: {first['reason']}")
        yield f"[yellow]{counted(skipped['count'], 'image')} skipped[/yellow], the first {said}"


def _number(spec: ScoreSpec, value: float | None) -> str:
    return "undefined" if value is None or value != value else spec.text(value)


def _interval(spec: ScoreSpec, interval: list[float] | None) -> str:
    if interval is None or None in interval or interval[0] != interval[0]:
        return ""
    return " to ".join(map(spec.text, interval))


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
