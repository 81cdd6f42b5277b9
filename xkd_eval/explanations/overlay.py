"""Overlay figures: photos by models and explainers, each with its map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from matplotlib.figure import Figure

from xkd_eval.ambient import plain_torch
from xkd_eval.arguments import Within, listed, public
from xkd_eval.bands import Picture
from xkd_eval.classifiers.class_names import class_index
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.devices import resolve_device
from xkd_eval.engines.base import Precision
from xkd_eval.engines.eager import on_device
from xkd_eval.errors import XkdError
from xkd_eval.explainers import Explainer, as_explainer
from xkd_eval.explanations.explain import explain
from xkd_eval.explanations.photos import Photo, as_photo, as_photos, as_pixels, file_name
from xkd_eval.figures.overlay import OverlayPanel, overlay_figure
from xkd_eval.figures.paper import made_for
from xkd_eval.foreign import short

_V = TypeVar("_V")


@dataclass(frozen=True)
class NamedPhoto:
    """A photo with the name that stands above it, and the object's mask where there is one.

    Attributes:
        name: "" for none.
        photo: see `as_photo`.
        mask: (H, W), 1 = object, 0 = background, -1 = ignored, for the oracle; None where there is none.
    """

    name: str
    photo: Photo
    mask: np.ndarray | None = None


Overlaid = tuple[NamedPhoto, list[list[OverlayPanel]]]
"""A photo, and of each explained class a panel a model and explainer."""


@public(images="photos", masks="photos", model="models")
@plain_torch()
def overlay(
    models: Classifier | Sequence[Classifier],
    photos: Photo | NamedPhoto | Iterable[Photo | NamedPhoto],
    *,
    classes: str | int = "top:1",
    explainer: str | Explainer | Sequence[str | Explainer] = "cam",
    colormap: str | None = None,
    alpha: float | None = None,
    paper: str | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: Annotated[int, Within(1)] = 32,
    seed: Annotated[int, Within(0, 2**63 - 1)] = 0,
) -> Figure:
    """Photo, map and overlay side by side: a row an image, a column a model and explainer.

    An image that is no photograph is shown by its first three channels, see `xkd_eval.bands.displayed`.

    Args:
        models: one or several classifiers (see `load_classifier`).
        photos: one or several: paths, PIL images, (H, W, 3) uint8 arrays, (3, H, W) tensors (see `explain`), or
            NamedPhotos.
        classes: what is explained: "top:K", the model's own K most probable classes, a row each; or one class by index,
            name or WordNet id, the same for all.
        explainer: a name that `xkd-eval explainers` lists, or an Explainer; several are a column each.
        colormap: matplotlib's name; None is the house style's.
        alpha: the map's share in the overlay, 0 to 1; None is the house style's.
        paper: a size that it is laid out for: "single", "double", "84mm", "84x60mm"; None is a screen.
        device: "auto", "cpu", "cuda", ...
        precision: "fp32", "tf32" or "bf16", see `explain`.
        batch_size: photos explained at a time.
        seed: of the explainers that draw at random.

    Returns:
        The figure; `xkd_eval.figures.save_figure` writes it as PNG, PDF or SVG.

    Raises:
        XkdError: unreadable photo, unknown class, an explainer that does not hold for a model, too small a paper.

    Example:
        >>> from PIL import Image
        >>> from xkd_eval import load_classifier, overlay
        >>> figure = overlay(load_classifier("embedded/kd"), Image.new("RGB", (64, 64), "navy"), classes="top:2")
        >>> figure.savefig("overlay.png")  # doctest: +SKIP
    """
    known = {"explainer": explainer, "device": device, "precision": precision, "seed": seed}
    rows = overlay_rows(models, photos, classes=classes, batch_size=batch_size, **known)  # type: ignore[arg-type]
    return made_for(paper, lambda: {"overlay": figure_of(rows, colormap, alpha)})["overlay"]


@public(images="photos", masks="photos", model="models")
@plain_torch()
def overlay_rows(
    models: Classifier | Sequence[Classifier],
    photos: Photo | NamedPhoto | Iterable[Photo | NamedPhoto],
    *,
    classes: str | int = "top:1",
    explainer: str | Explainer | Sequence[str | Explainer] = "cam",
    device: str = "auto",
    precision: Precision = "fp32",
    batch_size: Annotated[int, Within(1)] = 32,
    seed: Annotated[int, Within(0, 2**63 - 1)] = 0,
) -> list[Overlaid]:
    """What `overlay` draws, whose arguments it takes: each photo with a row a class, a panel a column."""
    named = _named(photos)
    given = [on_device(model, resolve_device(device)) for model in _classifiers(models)]
    methods = {name: method.seeded(seed) for name, method in methods_of(explainer).items()}
    make = partial(_panels, classes=classes, device=device, precision=precision)
    columns = [
        partial(make, model, explainer=method, behind=f", {name}" if len(methods) > 1 else "")
        for model in given
        for name, method in methods.items()
    ]
    found = []
    for start in range(0, len(named), batch_size):
        batch = named[start : start + batch_size]
        # Of each column, of each photo: a panel a class.
        for photo, *panels in zip(batch, *(column(batch) for column in columns), strict=True):
            found.append((photo, [list(row) for row in zip(*panels, strict=True)]))
    return found


def figure_of(
    found: Sequence[tuple[NamedPhoto, list[list[OverlayPanel]]]],
    colormap: str | None = None,
    alpha: float | None = None,
) -> Figure:
    """The figure of what `overlay_rows` found; None is the house style's."""
    rows = [row for _, panels in found for row in panels]
    titles = [title for photo, panels in found for title in (photo.name, *[""] * (len(panels) - 1))]
    style = {name: value for name, value in (("colormap", colormap), ("alpha", alpha)) if value is not None}
    return overlay_figure(rows, row_titles=titles, **style)  # type: ignore[arg-type]


def methods_of(explainer: str | Explainer | Sequence[str | Explainer]) -> dict[str, Explainer]:
    """One explainer or several, by the names under which they are shown: as they are spelt.

    Raises:
        XkdError: none at all, two of one name, or something else.
    """
    several = None if isinstance(explainer, str | Explainer) else listed(explainer)
    given: list[Any] = [explainer] if several is None else several
    if not given:
        raise XkdError("explainer: none given; expected a name such as 'cam', or several")
    methods = {one if isinstance(one, str) else as_explainer(one).name: as_explainer(one) for one in given}
    if len(methods) < len(given):
        raise XkdError("explainer: two of one name; tell them apart by their options, as in 'occlusion:windows=5'")
    return methods


def _classifiers(models: Any) -> list[Classifier]:
    several = None if isinstance(models, Classifier) else listed(models)
    given = [models] if several is None else several
    if not given:
        raise XkdError("models: none given; expected at least one classifier")
    for model in given:
        if not isinstance(model, Classifier):
            raise XkdError(f"models: {short(model)} found; expected what `load_classifier` returns, one or several")
    return given


def _named(photos: Photo | NamedPhoto | Iterable[Photo | NamedPhoto]) -> list[NamedPhoto]:
    given = [photos] if isinstance(photos, NamedPhoto) else as_photos(photos, "photos")  # type: ignore[arg-type]
    return [photo if isinstance(photo, NamedPhoto) else NamedPhoto(file_name(photo), photo) for photo in given]


def _top_count(classes: str | int) -> int | None:
    text = str(classes)
    if not text.startswith("top:"):
        return None
    count = text.removeprefix("top:")
    if not count.isdecimal() or len(count) > 9 or int(count) < 1:
        raise XkdError(f"classes: {short(text)} found; expected top:K with K of at least 1, such as top:3")
    return int(count)


def _panels(
    model: Classifier,
    photos: Sequence[NamedPhoto],
    *,
    classes: str | int,
    explainer: Explainer,
    device: str,
    precision: Precision,
    behind: str,
) -> list[list[OverlayPanel]]:
    """Of each photo, a panel a class; with so much behind the model's name."""
    images = [as_photo(photo.photo, "photos") for photo in photos]
    wanted = _wanted(model, images, classes)
    masks = [photo.mask for photo in photos if photo.mask is not None]
    per_photo = len(wanted[0])
    explanation = explain(
        model,
        _repeated(images, per_photo),
        [index for indices in wanted for index in indices],
        explainer=explainer,
        ids=_repeated([photo.name for photo in photos], per_photo),
        masks=_repeated(masks, per_photo) if len(masks) == len(photos) else None,
        device=device,
        precision=precision,
    )
    panels = [replace(panel, model=f"{panel.model}{behind}") for panel in explanation.panels()]
    return [panels[start : start + per_photo] for start in range(0, len(panels), per_photo)]


def _repeated(values: Sequence[_V], times: int) -> list[_V]:
    return [value for value in values for _ in range(times)]


@torch.no_grad()
def _wanted(model: Classifier, images: Sequence[Picture], classes: str | int) -> list[list[int]]:
    """The classes to explain of each image, most probable first; of all images equally many."""
    count = _top_count(classes)
    if count is None:
        return [[class_index(model, classes)]] * len(images)
    if count > model.num_classes:
        raise XkdError(f"classes: 'top:{count}' found; {model.name} has {model.num_classes} classes")
    parameter = next(model.parameters(), torch.empty(0))
    pixels = as_pixels(images, model.preprocess, "photos").to(parameter.device)
    return model(model.preprocess.normalise(pixels)).topk(count).indices.tolist()
