"""The page of runs: one test of one model beside its floors, or a study of several."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from xkd_eval.comparison.cells import Line, Table, band_of, cell_of, span_of
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.figures.style import svg_of
from xkd_eval.report.page import REPORT, inlined, rules_of, write_page
from xkd_eval.study.figures import EXTREMES
from xkd_eval.study.floors import FLAG, FLOORS, ORACLE, best_floor, better_floors
from xkd_eval.study.records import COLUMN
from xkd_eval.study.result import EvaluationResult, Study, curves_of
from xkd_eval.study.stopping import stopping_note
from xkd_eval.wording import counted

_SKIPPED = 100  # of which a page has room for the reasons


def write_run_page(result: EvaluationResult, command: str | None = None) -> Path:
    """Write report.html into a run's directory: scores beside the floors', figures, what was skipped, the rules.

    Args:
        result: of a run that has a directory; with its floors where there are some.
        command: what made it.

    Raises:
        XkdError: the directory cannot be written.
    """
    assert result.directory is not None
    results = [result, *(replace(floor, model=result.model) for floor in result.floors.values())]
    return _write(result.directory, results, _sentence(result), command)


def write_study_page(study: Study, command: str | None = None) -> Path:
    """Write report.html into a study's directory: a table a test, a row a model and kind of maps.

    Args:
        study: that has a directory.
        command: what made it.

    Raises:
        XkdError: the directory cannot be written.
    """
    assert study.directory is not None
    tests = len({result.test_name for result in study.results})
    said = f"{counted(len(study.models), 'model')}, {counted(tests, 'test')}: {', '.join(study.models)}"
    return _write(study.directory, study.results, said, command, study.left_out)


def _write(
    directory: Path,
    results: Sequence[EvaluationResult],
    said: str,
    command: str | None,
    left_out: Sequence[str] = (),
) -> Path:
    by_test: dict[str, list[EvaluationResult]] = {}
    for result in results:
        by_test.setdefault(result.test_name, []).append(result)
    first = results[0].summary
    return write_page(
        directory / REPORT,
        "run.html",
        command,
        title=said,
        verdict=said,
        about_data=f"{counted(first['n_images'], 'image')} of {first['data']['name']}",
        sections=[_section(name, group) for name, group in by_test.items()],
        left_out=left_out,
        skipped=_skipped(results),
        limit=_SKIPPED,
        rules=rules_of(
            {name: _rules(group) for name, group in by_test.items()},
            {name: group[0].test for name, group in by_test.items()},
        ),
    )


def _sentence(result: EvaluationResult) -> str:
    """The headline scores, each beside the best map that knows nothing."""
    parts = []
    for spec in result.test.specs():
        found = spec.of(result.summary) if spec.x is None and spec.is_at_least("headline") else None
        if found is None or found["value"] is None:
            continue
        unit, best = " %" if spec.unit else "", best_floor(result, spec)
        floor = ""
        if best is not None:
            wins = f", which is better {FLAG}" if better_floors(spec, found["value"], dict([best])) else ""
            floor = f" (the best map that knows nothing, {best[0]}: {spec.text(best[1])}{unit}{wins})"
        parts.append(f"{spec.title} {spec.text(found['value'])}{unit}{floor}")
    return f"{result.model}, {result.maps}: {'; '.join(parts)}"


def _section(name: str, results: Sequence[EvaluationResult]) -> dict[str, Any]:
    test = results[0].test
    own = [result for result in results if not _is_floor(result)] or list(results)
    return {
        "title": test.title if name == test.name else f"{test.title} ({name})",
        "about": getattr(test, "about", ""),
        "table": _table(own, results),
        "floors": _table([result for result in results if result not in own], results),
        "figures": [(caption, Markup(svg)) for caption, svg in _figures(own)],
        "extremes": [(_named(result), uri) for result in own if (uri := _extremes(result)) is not None],
        "notes": list(_notes(own)),
    }


def _notes(results: Sequence[EvaluationResult]) -> Iterator[str]:
    for result in results:
        for note in (*stopping_note(result.summary), *result.test.notes(result.summary)):
            yield note if len(results) == 1 else f"{_named(result)}: {note}"


def _table(chosen: Sequence[EvaluationResult], results: Sequence[EvaluationResult]) -> Table | None:
    """A row a model and kind of maps, each figure beside those of the maps that know nothing of the model."""
    if not chosen:
        return None
    specs = [spec for spec in chosen[0].test.specs() if spec.x is None and spec.is_at_least("shown")]
    rows = {(result.model, result.maps): dict(_rows(result, specs)) for result in results}
    known = [spec for spec in specs if any(spec.name in row for row in rows.values())]
    spans = {
        spec.name: span_of([row.get(spec.name) for row in rows.values()], lambda maps: maps not in (*FLOORS, ORACLE))
        for spec in known
    }
    lines = []
    for result in chosen:
        row = rows[result.model, result.maps]
        cells = (
            replace(
                cell_of(_flagged(row.get(spec.name), spec, rows, result), spec),
                band=band_of(row.get(spec.name), spans[spec.name], rows, result.model, spec.name),
            )
            for spec in known
        )
        lines.append(Line((result.model, result.maps), tuple(cells), floor=_is_floor(result)))
    return Table(("Model", "Maps", *(spec.head for spec in known)), tuple(lines))


def _rows(result: EvaluationResult, specs: Sequence[ScoreSpec]) -> Iterator[tuple[str, dict[str, Any]]]:
    for spec in specs:
        found = spec.of(result.summary)
        if found is not None:
            low, high = found["ci95"] or (None, None)
            yield spec.name, {"maps": result.maps, "value": found["value"], "low": low, "high": high}


def _flagged(
    row: dict[str, Any] | None,
    spec: ScoreSpec,
    rows: Mapping[tuple[str, str], Mapping[str, Mapping[str, Any]]],
    result: EvaluationResult,
) -> dict[str, Any] | None:
    if row is None or _is_floor(result):
        return row
    beside = {
        maps: found[spec.name]["value"]
        for (model, maps), found in rows.items()
        if model == result.model and maps in FLOORS and spec.name in found
    }
    return row | {"beaten_by": ", ".join(better_floors(spec, row["value"], beside))}


def _is_floor(result: EvaluationResult) -> bool:
    return result.summary["explainer"]["name"] in (*FLOORS, ORACLE)


def _named(result: EvaluationResult) -> str:
    return f"{result.model}, {result.maps}"


def _figures(results: Sequence[EvaluationResult]) -> Iterator[tuple[str, str]]:
    """The curves of all runs in one figure; of a single run whatever its test draws."""
    test = results[0].test
    if len(results) == 1:
        drawn = list(test.figures(_named(results[0]), results[0].summary, results[0].columns).values())
    else:
        drawn = [figure] if (figure := curves_of(results)) is not None else []
    for figure in drawn:
        yield getattr(test, "curve_caption", ""), inlined(svg_of(figure))


def _extremes(result: EvaluationResult) -> str | None:
    """The best, the median and the worst maps, where the run has drawn them."""
    path = None if result.directory is None else result.directory / EXTREMES
    if path is None or not path.is_file():
        return None
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _skipped(results: Sequence[EvaluationResult]) -> list[dict[str, str]]:
    return list({entry["id"]: entry for result in results for entry in result.summary["skipped"]["images"]}.values())


def _rules(results: Sequence[EvaluationResult]) -> dict[str, Any]:
    described = results[0].description
    columns = {_named(result): {name: result.description[name] for name in COLUMN} for result in results}
    return {"protocol": described["protocol"], "data": described["data"], "columns": columns}
