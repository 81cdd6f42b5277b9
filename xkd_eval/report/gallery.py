"""The pictured images: which, and each model's map of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from PIL import Image
from skimage.segmentation import find_boundaries

from xkd_eval.arguments import Within
from xkd_eval.bands import displayed
from xkd_eval.comparison.result import Comparison, Pictured
from xkd_eval.errors import UnreadableImageError
from xkd_eval.evaluations.scores import ScoreSpec
from xkd_eval.explainers.stored import StoredMaps
from xkd_eval.figures.heatmap import shown_size
from xkd_eval.report.photographs import PHOTO, Beside, Place, box_of, coloured_map, map_of, within_page

Size = Annotated[int, Within(0)] | Literal["all"]
"""How many images a gallery has; "all": every one that was scored."""

STRIPS = 6
"""Images on the first screen."""

_LARGEST, _SMALLEST = 224, 160
_OUTLINE = (0, 229, 255)

ERRORS = {
    "all right": "all models are right",
    "some wrong": "the reference is right and another model is wrong",
    "some right": "the reference is wrong and another model is right",
    "all wrong": "all models are wrong",
}
"""The error types of an image, and what they mean."""


@dataclass(frozen=True)
class Panel:
    """One model's answer to an image.

    Attributes:
        model: its name.
        map: address of the coloured map, a data URI or a file beside the page.
        box: left, top, width and height of the part of the photo that it covers, in percent.
        predicted: class name.
        probability: of that class, 0 to 1.
        right: whether it is the labelled class.
        agreement: rank correlation of the map with the reference's; None for the reference itself.
        note: "" for a map with a range, else why it has none.
    """

    model: str
    map: str
    box: tuple[float, float, float, float]
    predicted: str
    probability: float
    right: bool
    agreement: float | None
    note: str


@dataclass(frozen=True)
class Picture:
    """One image of the gallery.

    Attributes:
        id: of the image.
        label: class name.
        photo: address of the photograph, likewise, with the mask's outline where there is a mask.
        ratio: width over height.
        has_mask: whether an outline is drawn.
        error: of ERRORS.
        disagreement: 1 less the mean rank correlation of the other models' maps with the reference's.
        panels: one a model, the reference first.
        scores: of each of `ranked`, each other model's value, the greater the better; NaN where it has none.
    """

    id: str
    label: str
    photo: str
    ratio: float
    has_mask: bool
    error: str
    disagreement: float
    panels: tuple[Panel, ...]
    scores: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Gallery:
    """The images that a page shows.

    Attributes:
        pictures: of the gallery, most disagreement first.
        strips: those of the first screen, which lie within the page wherever the others are.
        is_beside: whether the gallery's pictures are files beside the page, which a browser loads as one scrolls.
        is_whole: whether it has every image that was scored.
    """

    pictures: tuple[Picture, ...] = ()
    strips: tuple[Picture, ...] = ()
    is_beside: bool = False
    is_whole: bool = False


def gallery(comparison: Comparison, size: Size, directory: Path) -> tuple[Gallery, Beside | None]:
    """The images whose maps disagree most, a third of `size`, and others spread evenly over the rest; or all of them.

    Args:
        comparison: without images or maps of its own it has no gallery.
        size: how many within the page; "all" writes every one into a folder beside the page.
        directory: where the page will be.

    Returns:
        The gallery, and what removes former files once the page is written; None where it has no files.

    Raises:
        XkdError: a picture cannot be written.
    """
    source = comparison.pictured
    if source is None or not len(comparison.images):
        return Gallery(), None
    own = comparison.own(comparison.images)
    shown = own[own["model"].isin([comparison.first_seed(model) for model in comparison.models])]
    ordered = (1 - shown.groupby("id", sort=False)[_measure(comparison)].mean()).sort_values(
        ascending=False, kind="stable"
    )
    if isinstance(size, int):
        chosen = ordered.iloc[_spread(len(ordered), size)]
        found = tuple(_pictures(comparison, source, chosen, within_page))
        return Gallery(found, found[:STRIPS], is_whole=len(found) == len(ordered)), None
    place = Beside(directory, map(str, ordered.index))
    found = tuple(_pictures(comparison, source, ordered, place))
    first = ordered.loc[[picture.id for picture in found[:STRIPS]]]
    strips = tuple(_pictures(comparison, source, first, within_page))
    return Gallery(found, strips, is_beside=True, is_whole=len(found) == len(ordered)), place


def _pictures(comparison: Comparison, source: Pictured, chosen: pd.Series, place: Place) -> Iterator[Picture]:
    """Of the images in the index; the values are how far their maps disagree. Of several seeds the first is shown."""
    everyone = comparison.own(comparison.images)
    right = {str(identifier): rows["right"].tolist() for identifier, rows in everyone.groupby("id", sort=False)}
    shown = [comparison.first_seed(model) for model in comparison.models]
    measure, by = _measure(comparison), ranked(comparison)
    images = everyone[everyone["model"].isin(shown)]
    place_of = {identifier: number for number, identifier in enumerate(source.dataset.ids)}
    answers = dict(zip(_keys(images), images.to_dict("records"), strict=True))
    for identifier, disagreement in zip(map(str, chosen.index), chosen, strict=True):
        rows = [answers[identifier, model] for model in shown]
        try:
            sample = source.dataset.load(place_of[identifier])
        except UnreadableImageError:  # moved or damaged since it was scored
            continue
        photo = displayed(sample.image)
        small = shown_size(photo, _LARGEST, _SMALLEST)
        outlined = small if sample.mask is None else _outlined(small, sample.mask)
        panels = [_panel(source, row, photo.shape, measure, place, number) for number, row in enumerate(rows)]
        yield Picture(
            id=identifier,
            label=str(rows[0]["label"]),
            photo=place(identifier, PHOTO, outlined),
            ratio=photo.shape[1] / photo.shape[0],
            has_mask=sample.mask is not None,
            error=_error(right[identifier]),
            disagreement=float(disagreement),
            panels=tuple(panels),
            scores=tuple(tuple(_oriented(spec, row) for row in rows[1:]) for spec in by),
        )


def ranked(comparison: Comparison) -> list[ScoreSpec]:
    """The scores by which single images can be ordered: those of which the comparison's images have a value each."""
    return [
        spec
        for test in comparison.tests.values()
        if not test.is_of_pairs()
        for spec in test.specs()
        if spec.sign and spec.name in comparison.images.columns
    ]


def _oriented(spec: ScoreSpec, row: dict[Any, Any]) -> float:
    return spec.sign * float(row[spec.name])


def _measure(comparison: Comparison) -> str:
    """The measure of agreement that the gallery sorts by: the first of the first test that has a reference."""
    return next(test.specs()[0].name for test in comparison.tests.values() if test.is_of_pairs())


def _keys(images: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(images["id"], images["model"], strict=True))


def _spread(total: int, count: int) -> list[int]:
    """Places in the order of disagreement: the first third of `count`, then even steps over the others."""
    if total <= count:
        return list(range(total))
    first = -(-count // 3)
    others = np.linspace(first, total - 1, count - first).round().astype(int)
    return [*range(first), *dict.fromkeys(others.tolist())]


def _panel(
    source: Pictured, row: dict[Any, Any], shape: tuple[int, ...], measure: str, place: Place, number: int
) -> Panel:
    model, identifier = str(row["model"]), str(row["id"])
    height, width = shape[:2]
    coloured = coloured_map(StoredMaps(source.maps[model]).load(identifier))
    return Panel(
        model=model,
        map=place(identifier, map_of(number), coloured.colours),
        box=box_of(source.preprocess[model].region((width, height)), shape),
        predicted=str(row["predicted"]),
        probability=float(row["probability"]),
        right=bool(row["right"]),
        agreement=None if pd.isna(row[measure]) else float(row[measure]),
        note=coloured.note,
    )


def _error(right: Sequence[bool]) -> str:
    """Of whether the reference and every other model, all seeds, are right."""
    reference, *others = right
    if reference:
        return "all right" if all(others) else "some wrong"
    return "some right" if any(others) else "all wrong"


def _outlined(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask's edge over the photo, two pixels wide and dark outside, so that it shows on any ground."""
    height, width = photo.shape[:2]
    object_ = np.asarray(
        Image.fromarray((mask == 1).astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    )
    drawn = photo.copy()
    drawn[find_boundaries(object_, mode="outer")] = 0
    drawn[find_boundaries(object_, mode="inner")] = _OUTLINE
    return drawn
