"""One HTML file: what all pages of this project share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

import xkd_eval
from xkd_eval.escapes import visible
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.figures.style import GRID, HAIRLINE, INK, MUTED
from xkd_eval.files import replacing, writing
from xkd_eval.wording import counted

REPORT = "report.html"
"""The page's name in the directory that it is about."""


# A page in dark mode shows the same drawing in its own ink.
_THEMED = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    HAIRLINE: "var(--rule)",
    GRID: "var(--grid)",
    "#000000": "var(--ink)",
}


def write_page(path: Path, template: str, command: str | None, **content: Any) -> Path:
    """Fill a template, and write it whole or not at all: no network is needed to read it.

    Args:
        path: of the file.
        template: of templates/.
        command: what made it.
        content: what the template reads.

    Returns:
        The path.

    Raises:
        XkdError: it cannot be written.
    """
    page = filled(template, command=command, **content)
    with writing(f"output: {str(path)!r}"), replacing(path) as file:
        file.write(page)
    return path


def filled(template: str, package: str = "xkd_eval.report", **content: Any) -> bytes:
    """A template of a package's templates/, which may extend those of the reports, as UTF-8.

    Args:
        template: its name.
        package: that has it.
        content: what the template reads: at least title, verdict and about_data.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys([package, "xkd_eval.report"])]),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template)
    return page.render(version=xkd_eval.__version__, counted=counted, **content).encode()


def inlined(svg: str) -> str:
    """Without the XML header and the white paper, in the page's colours."""
    svg = svg[svg.index("<svg") :]
    for colour, variable in _THEMED.items():
        svg = svg.replace(colour, variable)
    return svg.replace("fill: #ffffff", "fill: none")


def rules_of(rules: Mapping[str, Mapping[str, Any]], tests: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """Of each test protocol, data and columns as texts; what is recorded of every model alike is said once.

    Args:
        rules: test -> "protocol", "data" and "columns", as Comparison.rules has them.
        tests: by name.
    """
    found = []
    for test, rule in rules.items():
        columns = {model: facts(column) for model, column in rule["columns"].items()}
        alike = [fact for fact in next(iter(columns.values())) if all(fact in known for known in columns.values())]
        apart = {model: [fact for fact in known if fact not in alike] for model, known in columns.items()}
        found.append(
            {
                "title": tests[test].title,
                "protocol": facts(rule["protocol"]),
                "data": facts(rule["data"]),
                "columns": [("Every model", alike), *((model, known) for model, known in apart.items() if known)],
            }
        )
    return found


def facts(values: Any, path: str = "") -> list[tuple[str, str]]:
    """Nested plain values as dotted names and texts."""
    if isinstance(values, Mapping):
        return [
            fact for name, value in values.items() for fact in facts(value, f"{path}.{name}" if path else str(name))
        ]
    if isinstance(values, list | tuple):
        return [(path, ", ".join(str(value) for value in values))]
    return [(path, str(values))]
