"""report.html, figures/ and tables/ of a comparison."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import xkd_eval
from xkd_eval.comparison.agreement import ALL, OUTCOMES
from xkd_eval.comparison.findings import common_images, findings
from xkd_eval.comparison.result import Comparison
from xkd_eval.escapes import visible
from xkd_eval.files import replacing, writing
from xkd_eval.report import figures, view
from xkd_eval.report.gallery import ERRORS, Picture, pictures

REPORT = "report.html"

_MEANINGS = {
    "predicted": "the class that each predicts",
    "true": "the labelled class",
    "reference": "the class that the reference predicts",
}


def write_report(directory: Path, comparison: Comparison, *, pictured: int, command: str | None = None) -> Path:
    """Write the report, its figures as PDF and SVG, and the tables as CSV, Markdown and LaTeX.

    Args:
        directory: created where absent.
        comparison: what is reported.
        pictured: images in the gallery; there is none of run directories.
        command: what made it.

    Returns:
        The HTML file: no other file or network is needed to read it.

    Raises:
        XkdError: the directory cannot be written.
    """
    comparison.write(directory / "tables")
    drawn = figures.write(figures.draw(comparison), directory / "figures")
    source = comparison.pictured
    shown = [] if source is None or not len(comparison.images) else pictures(comparison, source, pictured)
    page = _page(comparison, drawn, shown, command)
    path = directory / REPORT
    with writing(f"output: {str(path)!r}"), replacing(path) as file:
        file.write(page.encode())
    return path


def _page(comparison: Comparison, drawn: dict[str, str], shown: list[Picture], command: str | None) -> str:
    environment = Environment(
        loader=PackageLoader("xkd_eval.report"),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The figures are our own drawings, in which names from data are outlines and not text.
    svgs = {name: Markup(svg) for name, svg in drawn.items()}
    return environment.get_template("report.html").render(
        comparison=comparison,
        version=xkd_eval.__version__,
        findings=list(findings(comparison)),
        figures=svgs,
        scores=view.score_tables(comparison),
        about=[test.about for test in comparison.tests.values() if test.about],
        captions={f"{name}_curves": test.curve_caption for name, test in comparison.tests.items()},
        agreement=_agreement(comparison),
        differences=view.difference_tables(comparison),
        transfer=view.transfer_table(comparison),
        score_agreement=view.score_agreement_table(comparison),
        health=view.health_table(comparison),
        rules=_rules(comparison),
        common=common_images(comparison),
        coarse=bool(len(comparison.agreement) and comparison.agreement["uninformative"].any()),
        pictures=shown,
        all_pictured=len(shown) == comparison.images["id"].nunique() if len(comparison.images) else False,
        errors=ERRORS,
        counts=Counter(picture.error for picture in shown),
        classes=sorted({picture.label for picture in shown}),
        command=command,
        style=Markup(_asset("report.css")),
        script=Markup(_asset("gallery.js")),
    )


def _agreement(comparison: Comparison) -> list[tuple[str, list[tuple[str, view.Table]]]]:
    """For which class, and by which outcome, with its table."""
    groups = []
    for target, meaning in _MEANINGS.items():
        tables = [
            (outcome, table)
            for outcome in (ALL, *OUTCOMES.values())
            if (table := view.agreement_table(comparison, target, outcome)) is not None
        ]
        if tables:
            groups.append((meaning, tables))
    return groups


def _rules(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "title": comparison.tests[test].title,
            "protocol": view.facts(rule["protocol"]),
            "data": view.facts(rule["data"]),
            "columns": [(model, view.facts(column)) for model, column in rule["columns"].items()],
        }
        for test, rule in comparison.rules.items()
    ]


def _asset(name: str) -> str:
    return (files("xkd_eval.report") / "templates" / name).read_text(encoding="utf-8")
