"""report.html, figures/ and tables/ of a comparison."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from xkd_eval.comparison import shown
from xkd_eval.comparison.agreement import ALL, OUTCOMES
from xkd_eval.comparison.cells import Table
from xkd_eval.comparison.drawing import figures_of
from xkd_eval.comparison.result import Comparison
from xkd_eval.comparison.verdict import verdict
from xkd_eval.escapes import file_names
from xkd_eval.figures.style import PALETTE, save_figure
from xkd_eval.report import IN_PAGE
from xkd_eval.report.first_screen import forest
from xkd_eval.report.gallery import ERRORS, Gallery, Size, gallery, ranked
from xkd_eval.report.page import REPORT, inlined, rules_of, write_page
from xkd_eval.report.photographs import PHOTOGRAPHS, remove_photographs
from xkd_eval.wording import counted

_MEANINGS = {
    "predicted": "the class that each predicts",
    "true": "the labelled class",
    "reference": "the class that the reference predicts",
}


def write_report(directory: Path, comparison: Comparison, *, size: Size, command: str | None = None) -> Path:
    """Write the report, its figures as PDF and SVG, and the tables as CSV, Markdown and LaTeX.

    Args:
        directory: created where absent.
        comparison: what is reported.
        size: images in the gallery, which run directories have none of; "all" puts them into a folder beside the page.
        command: what made it.

    Returns:
        The HTML file: no network is needed to read it, nor another file but for the pictures of all images.

    Raises:
        XkdError: the directory cannot be written.
    """
    comparison.write(directory / "tables")
    drawn = _written(figures_of(comparison), directory / "figures")
    found, beside = gallery(comparison, size, directory)
    page = write_comparison_page(directory, comparison, drawn, found, command)
    # Only now that no page names them.
    if beside is None:
        remove_photographs(directory)
    else:
        beside.tidy()
    return page


def write_comparison_page(
    directory: Path, comparison: Comparison, drawn: dict[str, str], found: Gallery, command: str | None = None
) -> Path:
    """Write report.html alone.

    Args:
        directory: that exists.
        comparison: what is reported.
        drawn: name -> SVG, ready for a page.
        found: the images that it shows, whose files, if they have any, are there.
        command: what made it.

    Raises:
        XkdError: it cannot be written.
    """
    return write_page(directory / REPORT, "report.html", command, **_content(comparison, drawn, found))


def _written(figures: dict[str, Figure], folder: Path) -> dict[str, str]:
    """Save each as PDF and SVG.

    Returns:
        Name -> SVG to put into a page, whose colours follow the page's.

    Raises:
        XkdError: the folder cannot be written.
    """
    inline = {}
    files = file_names(figures)
    for name, figure in figures.items():
        save_figure(figure, folder / f"{files[name]}.pdf")
        inline[name] = inlined(save_figure(figure, folder / f"{files[name]}.svg").read_text())
    return inline


def _content(comparison: Comparison, drawn: dict[str, str], found: Gallery) -> dict[str, Any]:
    # The figures are our own drawings, in which names from data are outlines and not text.
    svgs = {name: Markup(svg) for name, svg in drawn.items()}
    captions = {f"{name}_curves": test.curve_caption for name, test in comparison.tests.items()}
    healthy, unlike = shown.health(comparison)
    return {
        "comparison": comparison,
        "title": f"{', '.join(comparison.models)}: who explains itself best?",
        "verdict": verdict(comparison),
        "about_data": _about_data(comparison),
        "forest": forest(comparison),
        "legend": shown.legend(comparison, shown.headline_table(comparison), bold=False, flags=False),
        "legend_of": partial(shown.legend, comparison),
        "colours": [PALETTE[place % len(PALETTE)] for place in range(len(comparison.models))],
        "figures": svgs,
        "curves": next((name for name in captions if name in svgs), None),
        "scores": shown.score_tables(comparison),
        "floors": shown.floor_tables(comparison),
        "about": [test.about for test in comparison.tests.values() if test.about],
        "captions": captions,
        "agreement": _agreement(comparison),
        "starred": shown.common_images(comparison) is not None,
        "differences": shown.difference_tables(comparison),
        "transfer": shown.transfer_table(comparison),
        "score_agreement": shown.score_agreement_table(comparison),
        "healthy": healthy,
        "health": unlike,
        "rules": rules_of(comparison.rules, comparison.tests),
        "coarse": bool(len(comparison.agreement) and comparison.agreement["uninformative"].any()),
        "gallery": found,
        "pictures": found.pictures,
        "photographs": PHOTOGRAPHS,
        "on_paper": IN_PAGE,
        "ranked": ranked(comparison),
        "errors": ERRORS,
        "counts": Counter(picture.error for picture in found.pictures),
        "classes": sorted({picture.label for picture in found.pictures}),
    }


def _about_data(comparison: Comparison) -> str:
    """What was compared on what, in a line."""
    rule = next(iter(comparison.rules.values()))
    images = int(comparison.health["n_images"].max())
    maps = f"{comparison.explainer} maps" if comparison.explainer else "maps of finished runs"
    tests = ", ".join(test.title.lower() for test in comparison.tests.values())
    return f"{counted(images, 'image')} of {rule['data']['name']} · {maps} · {tests}"


def _agreement(comparison: Comparison) -> list[tuple[str, list[tuple[str, Table]]]]:
    """For which class, and by which outcome, with its table."""
    groups = []
    for target, meaning in _MEANINGS.items():
        tables = [
            (outcome, table)
            for outcome in (ALL, *OUTCOMES.values())
            if (table := shown.agreement_table(comparison, target, outcome)) is not None
        ]
        if tables:
            groups.append((meaning, tables))
    return groups
