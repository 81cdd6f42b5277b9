"""A comparison as tables to be read, a model a row: titles, intervals, what is claimed, which floors do as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from xkd_eval.comparison.agreement import ALL
from xkd_eval.comparison.cells import Cell, Column, Line, Table, band_of, cell_of, span_of
from xkd_eval.comparison.claims import SYMBOLS
from xkd_eval.comparison.headlines import Headline, foremost, headlines, heads_of
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.tables import WHERE_RIGHT
from xkd_eval.escapes import visible
from xkd_eval.study.floors import FLAG
from xkd_eval.wording import counted


def tables_to_read(comparison: Comparison) -> dict[str, Table]:
    """Name -> table, of those that a paper would print; see the functions here."""
    targets = dict.fromkeys(comparison.agreement["target"]) if len(comparison.agreement) else {}
    found = {
        "headlines": headline_table(comparison),
        **{f"scores-{name}": table for name, table in score_tables(comparison).items()},
        **{f"floors-{name}": table for name, table in floor_tables(comparison).items()},
        **{
            f"differences-{pairs}-{name}": table
            for pairs, tests in difference_tables(comparison).items()
            for name, table in tests.items()
        },
        **{f"agreement-{target}": agreement_table(comparison, target, ALL) for target in targets},
        "transfer": transfer_table(comparison),
        "score_agreement": score_agreement_table(comparison),
    }
    return {name: table for name, table in found.items() if table is not None}


def legend(comparison: Comparison, table: Table, *, bold: bool = True, flags: bool = True) -> str:
    """What the signs of a table mean, of those that it has; without bold and flags where these are not shown."""
    common, cells = common_images(comparison), [cell for line in table.lines for cell in line.cells]
    signed = any(cell.symbol for cell in cells)
    claimed = "at 95 %, corrected for all pairs"
    known = {
        f"{SYMBOLS[1]} better than {visible(comparison.models[0])}, {SYMBOLS[-1]} worse, {SYMBOLS[0]} not told apart "
        f"({claimed})": signed,
        "bold: better than every other student": bold and signed and any(cell.marked for cell in cells),
        f"bold: claimed {claimed}": bold and not signed and any(cell.marked for cell in cells),
        f"* on the {counted(common or 0, 'image')} that all classify correctly": any(
            head.endswith(" *") for head in table.heads
        ),
        f"{FLAG} maps that know nothing of the model score better": flags and any(cell.beaten_by for cell in cells),
    }
    parts = [part for part, is_needed in known.items() if is_needed]
    return f"{'; '.join(parts)}." if parts else ""


def common_images(comparison: Comparison) -> int | None:
    """How many images all models classify correctly."""
    rows = comparison.scores
    rows = rows[rows["score"].str.endswith(WHERE_RIGHT)]
    return int(rows["n_images"].iloc[0]) if len(rows) else None


def headline_table(comparison: Comparison, count: int | None = None) -> Table:
    """A row a model, a column a headline score: the value, and a symbol of what is claimed beside the reference.

    Marked are the values of which it is claimed that they are better than those of all other students. There are no
    more than `count` columns.
    """
    found = headlines(comparison)
    found = found if count is None else foremost(found, count)
    lines = [
        Line((model,), tuple(_headline_cell(comparison, one, model) for one in found)) for model in comparison.models
    ]
    return Table(("Model", *heads_of(found)), tuple(lines))


def _headline_cell(comparison: Comparison, headline: Headline, model: str) -> Cell:
    reference, *students = comparison.models
    row = headline.values.get(model)
    if row is None or pd.isna(row["value"]):
        return Cell("" if row is None else "undefined")
    others = [name for name in students if name != model]
    best = model != reference and bool(others) and all(headline.claim(model, other) == 1 for other in others)
    claimed = None if model == reference else headline.claim(model, reference)
    symbol = "" if claimed is None else SYMBOLS[claimed]
    return replace(cell_of(row, headline.spec), marked=best, symbol=symbol)


def score_tables(comparison: Comparison) -> dict[str, Table]:
    """Test -> a row a model, each figure drawn beside the floors."""
    return {
        name: Table(table.heads, tuple(line for line in table.lines if not line.floor))
        for name, table in _score_tables(comparison).items()
    }


def floor_tables(comparison: Comparison) -> dict[str, Table]:
    """Test -> a row a floor: once where it scores the same whatever the model, else once a model.

    Of the scores that depend on maps.
    """
    tables = {}
    for name, table in _score_tables(comparison, of_maps=True).items():
        floors = [line for line in table.lines if line.floor]
        said: dict[tuple[str, tuple[Cell, ...]], list[Line]] = {}
        for line in floors:
            said.setdefault((line.head[1], line.cells), []).append(line)
        n_models = len({line.head[0] for line in floors})
        lines = []
        for (maps, cells), same in said.items():
            heads = [("any", maps)] if len(same) == n_models > 1 else [line.head for line in same]
            lines += [Line(head, cells, floor=True) for head in heads]
        if lines:
            tables[name] = Table(table.heads, tuple(lines))
    return tables


def _score_tables(comparison: Comparison, *, of_maps: bool = False) -> dict[str, Table]:
    tables = {}
    for name, test in comparison.tests.items():
        columns: dict[str, Column] = {}
        for spec in test.specs():
            if spec.x is None and spec.is_at_least("shown") and (spec.of_maps or not of_maps):
                columns[spec.name] = Column(spec.head, spec)
                columns[f"{spec.name}{WHERE_RIGHT}"] = Column(f"{spec.head} *", spec)
        rows = comparison.scores
        table = _wide(comparison, rows[rows["test"] == name], columns, "score")
        if table is not None:
            tables[name] = table
    return tables


def agreement_table(comparison: Comparison, target: str, outcome: str) -> Table | None:
    """A row a model and one a floor of the reference; None where nothing was measured.

    Args:
        comparison: with its agreement.
        target: the class that is explained.
        outcome: by who is right.
    """
    table = comparison.agreement
    if not len(table):
        return None
    chosen = table[(table["target"] == target) & (table["outcome"] == outcome)]
    columns = {
        spec.name: Column(spec.head, spec)
        for test in comparison.tests.values()
        if test.is_of_pairs()
        for spec in test.specs()
        if spec.is_at_least("shown")
    }
    return _wide(comparison, chosen, columns, "measure")


def difference_tables(comparison: Comparison) -> dict[str, dict[str, Table]]:
    """Differences of models and the "reference", of "others", of maps and "floors": a table a test, claims in bold.

    A row a pair, a column a score.
    """
    found: dict[str, dict[str, dict[tuple[str, str], dict[str, Cell]]]] = {}
    heads: dict[str, dict[str, str]] = {}
    for row in comparison.differences.to_dict("records"):
        spec = comparison.spec(row["score"], row["test"])
        if spec is not None and spec.is_at_least("shown"):
            floor = row["model"] == row["other"]
            pairs = "floors" if floor else "reference" if row["other"] == comparison.models[0] else "others"
            pair = (row["model"], f"{row['other_maps']} maps" if floor else row["other"])
            heads.setdefault(row["test"], {})[row["score"]] = f"{spec.head}{'' if row['score'] == spec.name else ' *'}"
            cells = found.setdefault(pairs, {}).setdefault(row["test"], {}).setdefault(pair, {})
            cells[row["score"]] = cell_of(row, spec, signed=True)
    return {
        pairs: {test: _pivoted(rows, heads[test]) for test, rows in tests.items()} for pairs, tests in found.items()
    }


def _pivoted(rows: Mapping[tuple[str, str], Mapping[str, Cell]], heads: Mapping[str, str]) -> Table:
    present = [score for score in heads if any(score in cells for cells in rows.values())]
    lines = (Line(pair, tuple(cells.get(score, Cell()) for score in present)) for pair, cells in rows.items())
    return Table(("Model", "Less", *(heads[score] for score in present)), tuple(lines))


def transfer_table(comparison: Comparison) -> Table | None:
    """Who answers while whose maps choose the pixels: a model's own, another's, a floor's; None without transfer."""
    if not len(comparison.transfer):
        return None
    columns = {
        (test, score): spec
        for test, score in dict.fromkeys(zip(comparison.transfer["test"], comparison.transfer["score"], strict=True))
        if (spec := comparison.spec(score, test)) is not None
    }
    own = comparison.own(comparison.scores)
    rows = [row | {"maps_of": row["model"], "measured_on": row["model"]} for row in own.to_dict("records")]
    found: dict[tuple[str, str], dict[tuple[str, str], dict[Any, Any]]] = {}
    for row in (*rows, *comparison.transfer.to_dict("records")):
        found.setdefault((row["measured_on"], row["maps_of"]), {})[row["test"], row["score"]] = row
    lines = [
        Line(
            (model, maps if maps in comparison.models else f"{maps} maps"),
            tuple(cell_of(cells.get(name), spec) for name, spec in columns.items()),
            floor=maps not in comparison.models,
        )
        for model in comparison.models
        for (asked, maps), cells in found.items()
        if asked == model
    ]
    return Table(("Answers", "Maps of", *(spec.head for spec in columns.values())), tuple(lines))


def score_agreement_table(comparison: Comparison) -> Table | None:
    """A row a pair of scores, a column a model: do two tests rank the images alike? None for a single test."""
    table = comparison.score_agreement
    if not len(table):
        return None
    models = list(dict.fromkeys(table["model"]))
    pairs: dict[tuple[str, str], dict[str, Cell]] = {}
    for row in table.to_dict("records"):
        names = [(row["test"], row["score"]), (row["other_test"], row["other_score"])]
        first, second = (_pair_head(comparison, *name) for name in names)
        pairs.setdefault((first, second), {})[row["model"]] = _correlation(row)
    lines = [Line(heads, tuple(cells.get(model, Cell()) for model in models)) for heads, cells in pairs.items()]
    return Table(("Score", "and", *models), tuple(lines))


def _pair_head(comparison: Comparison, test: str, score: str) -> str:
    spec = comparison.spec(score, test)
    return score if spec is None else spec.heading


def _correlation(row: Mapping[Any, Any]) -> Cell:
    if pd.isna(row["spearman"]):
        return Cell("undefined")
    shown = f"{row['spearman'] + 0.0:.2f}"
    return Cell(shown) if pd.isna(row["low"]) else Cell(shown, f"{row['low']:.2f} to {row['high']:.2f}")


def health(comparison: Comparison) -> tuple[list[str], Table | None]:
    """What went wrong, or might have: a line a test, and a row a run that has more to tell; None where none has."""
    table = comparison.health
    said = []
    for name, rows in table.groupby("test", sort=False):
        skipped, images = int(rows["skipped"].max()), int(rows["n_images"].max())
        runs = f", in each of {len(rows)} runs" if len(rows) > 1 else ""
        none = "none" if skipped == 0 else f"up to {skipped:,}"
        said.append(f"{comparison.tests[str(name)].title}: {counted(images, 'image')} scored, {none} skipped{runs}")
    own = [comparison.is_own(maps) for maps in table["maps"]]
    told = table[(table["degenerate_maps"] > 0) | (table["skipped"] > 0) | (pd.Series(own) & (table["notes"] != ""))]
    lines = [
        Line(
            (row["model"], comparison.tests[row["test"]].title, row["maps"]),
            (Cell(f"{row['skipped']:,}"), Cell(f"{row['degenerate_maps']:,}"), Cell(row["notes"])),
            floor=not comparison.is_own(row["maps"]),
        )
        for row in told.to_dict("records")
    ]
    return said, Table(
        ("Model", "Test", "Maps", "Skipped", "Degenerate maps", "Notes"), tuple(lines)
    ) if lines else None


def _wide(comparison: Comparison, table: pd.DataFrame, columns: Mapping[str, Column], key: str) -> Table | None:
    """A row a model and kind of maps, a column a score that is there."""
    rows: dict[tuple[str, str], dict[str, dict[Any, Any]]] = {}
    for row in table.to_dict("records"):
        rows.setdefault((row["model"], row["maps"]), {})[row[key]] = row
    present = [name for name in columns if any(name in found for found in rows.values())]
    if not present:
        return None
    place = {name: number for number, name in enumerate(comparison.models)}
    spans = {name: span_of([found.get(name) for found in rows.values()], comparison.is_own) for name in present}
    lines = [
        Line(
            _row_head(comparison, *names, next(iter(found.values()))),
            tuple(
                replace(
                    cell_of(found.get(name), columns[name].spec),
                    # The column spans the models' intervals: a floor's own could reach past it.
                    band=band_of(
                        *(found.get(name), spans[name], rows, names[0], name), of_maps=columns[name].spec.of_maps
                    )
                    if comparison.is_own(names[1])
                    else None,
                )
                for name in present
            ),
            floor=not comparison.is_own(names[1]),
        )
        # The sort is stable: a model's own maps come first, as they did in the table.
        for names, found in sorted(rows.items(), key=lambda item: place[item[0][0]])
    ]
    if key == "measure":  # there the floors are not each model's, but the reference's alone
        lines.sort(key=lambda line: line.floor)
    return Table(("Model", "Maps", *(columns[name].head for name in present)), tuple(lines))


def _row_head(comparison: Comparison, model: str, maps: str, row: Mapping[Any, Any]) -> tuple[str, str]:
    seeds = int(row.get("seeds", 1))
    return (f"{model}, {seeds} seeds" if seeds > 1 else model, maps)
