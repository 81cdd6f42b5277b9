"""write_overlays(): the figures of `xkd-eval overlay`, and the page of those that lie in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xkd_eval.arguments import public
from xkd_eval.explanations.overlay_files import Overlays, open_overlays
from xkd_eval.figures.heatmap import DEFAULT_ALPHA, DEFAULT_COLORMAP, shown_size
from xkd_eval.report import IN_PAGE
from xkd_eval.report.photographs import (
    PHOTO,
    Beside,
    Place,
    box_of,
    coloured_map,
    map_of,
    remove_photographs,
    within_page,
)
from xkd_eval.wording import counted, listed

if TYPE_CHECKING:
    import numpy as np

    from xkd_eval.explanations.overlay import NamedPhoto
    from xkd_eval.figures.overlay import OverlayPanel

# Not those of a comparison or a run, beside which overlays may be put.
PAGE, PHOTOGRAPHS = "overlays.html", "overlays_photographs"
_LARGEST, _SMALLEST = 480, 320


@dataclass(frozen=True)
class _Panel:
    """A map as templates read it, see `xkd_eval.report.gallery.Panel`."""

    model: str
    map: str
    box: tuple[float, float, float, float]
    predicted: str
    probability: float
    note: str


@dataclass(frozen=True)
class _Picture:
    """A photograph as templates read it, see `xkd_eval.report.gallery.Picture`."""

    id: str
    photo: str
    ratio: float
    rows: tuple[tuple[_Panel, ...], ...]
    label: str = ""
    has_mask: bool = False


@public()
def write_overlays(
    *,
    output: Path,
    command: str | None = None,
    colormap: str | None = None,
    alpha: float | None = None,
    **options: Any,
) -> list[Path]:
    """Load, draw and save what `xkd-eval overlay` names.

    Args:
        output: a file with suffix .png, .pdf or .svg for one figure of all, else a folder that gets one figure a photo,
            and overlays.html with all of them.
        command: what made it, for the page.
        colormap: matplotlib's name; None is the house style's.
        alpha: the map's share in the overlay, 0 to 1; None is the house style's.
        options: see `xkd_eval.explanations.overlay_files.open_overlays`, and `xkd_eval.overlay`.

    Returns:
        The files written, the page last.

    Raises:
        XkdError: see there.
    """
    overlays = open_overlays(output=output, **options)
    if overlays.is_folder:
        return _draw_with_page(overlays, output, command, colormap, alpha)
    return [path for _, paths in overlays.draw(colormap, alpha) for path in paths]


def _draw_with_page(
    overlays: Overlays, folder: Path, command: str | None, colormap: str | None, alpha: float | None
) -> list[Path]:
    from xkd_eval.report.page import write_page

    names = [photo.name for _, photos in overlays.groups for photo in photos]
    beside = Beside(folder, names, PHOTOGRAPHS) if len(names) > IN_PAGE else None
    pictures, written = [], []
    for found, paths in overlays.draw(colormap, alpha):
        pictures += [
            _picture(photo, rows, beside or within_page, colormap or DEFAULT_COLORMAP) for photo, rows in found
        ]
        written += paths
    models = list(dict.fromkeys(model.name for model in overlays.models))
    said = (
        f"{counted(len(pictures), 'photograph')}, and where {listed(models)} {'looks' if models[1:] == [] else 'look'}"
    )
    page = write_page(
        folder / PAGE,
        "overlays.html",
        command,
        title=said,
        verdict=said,
        about_data=f"maps by {listed(overlays.explainers)}",
        pictures=pictures,
        is_beside=beside is not None,
        strength=round(100 * (DEFAULT_ALPHA if alpha is None else alpha)),
    )
    if beside is None:
        remove_photographs(folder, PHOTOGRAPHS)
    else:
        beside.tidy()
    return [*written, page]


def _picture(photo: NamedPhoto, rows: list[list[OverlayPanel]], place: Place, colormap: str) -> _Picture:
    image = rows[0][0].image
    shown = place(photo.name, PHOTO, shown_size(image, _LARGEST, _SMALLEST))
    columns = len(rows[0])
    panels = tuple(
        tuple(
            _panel(panel, partial(place, photo.name, map_of(columns * down + across)), colormap)
            for across, panel in enumerate(row)
        )
        for down, row in enumerate(rows)
    )
    return _Picture(photo.name, shown, image.shape[1] / image.shape[0], panels)


def _panel(panel: OverlayPanel, place: Callable[[np.ndarray], str], colormap: str) -> _Panel:
    coloured = coloured_map(panel.map, colormap)
    box = box_of(panel.region, panel.image.shape)
    return _Panel(panel.model, place(coloured.colours), box, panel.title, panel.probability, coloured.note)
