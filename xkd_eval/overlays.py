"""Overlay figures: photos by models, each with its map, from files or from a data set."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.datasets import ImageDataset, open_dataset
from xkd_eval.devices import resolve_device
from xkd_eval.errors import XkdError
from xkd_eval.explainers import Explainer
from xkd_eval.explanation import Photo, as_photo, explain
from xkd_eval.figures.overlay import OverlayPanel, overlay_figure
from xkd_eval.figures.style import save_figure
from xkd_eval.inference import standing_on


@dataclass(frozen=True)
class NamedPhoto:
    """A photo with the name that stands above it, and the object's mask where there is one."""

    name: str
    photo: Photo
    mask: np.ndarray | None = None


def overlay(
    models: Classifier | Sequence[Classifier],
    photos: Sequence[Photo | NamedPhoto],
    *,
    classes: str | int = "top:1",
    explainer: str | Explainer = "cam",
    colormap: str | None = None,
    alpha: float | None = None,
    device: str = "auto",
) -> Figure:
    """Photo, map and overlay side by side: a row an image, a column a model.

    Args:
        models: one or several classifiers (see `load_classifier`).
        photos: paths, PIL images, (H, W, 3) uint8 arrays, or NamedPhotos.
        classes: what is explained: "top:K", the model's own K most probable classes, a row each; or one class by index
            or name, the same for all.
        explainer: a name that `xkd-eval explainers` lists, or an Explainer.
        colormap: matplotlib's name; None is the house style's.
        alpha: the map's share in the overlay, 0 to 1; None is the house style's.
        device: "auto", "cpu", "cuda", ...

    Returns:
        The figure; `xkd_eval.figures.save_figure` writes it as PNG, PDF or SVG.

    Raises:
        XkdError: unreadable photo, unknown class, an explainer that does not hold for a model.
    """
    named = [photo if isinstance(photo, NamedPhoto) else _named(photo) for photo in photos]
    given = [models] if isinstance(models, Classifier) else list(models)
    columns = [standing_on(model, resolve_device(device)) for model in given]
    count = _top_count(classes)
    rows, titles = [], []
    for photo in named:
        panels = [_panels(model, photo, classes, count, explainer, device) for model in columns]
        rows.extend([list(row) for row in zip(*panels, strict=True)])
        titles.extend([photo.name, *[""] * (len(panels[0]) - 1)])
    style = {name: value for name, value in (("colormap", colormap), ("alpha", alpha)) if value is not None}
    return overlay_figure(rows, row_titles=titles, **style)  # type: ignore[arg-type]


def write_overlays(
    *,
    models: Sequence[str],
    weights: Sequence[Path],
    photos: Sequence[Path],
    data: str | None,
    ids: Sequence[str],
    output: Path,
    file_format: str = "png",
    resize: str = "squash",
    **options: Any,
) -> list[Path]:
    """Load, draw and save what `xkd-eval overlay` names.

    Args:
        models: names or paths, a column each.
        weights: none, or one a model.
        photos: image files; or else `data` and `ids`.
        data: what `open_dataset` takes.
        ids: of images in `data`; none takes its first four.
        output: a file with suffix .png, .pdf or .svg for one figure of all, else a folder that gets one figure a photo.
        file_format: of the figures in a folder: "png", "pdf" or "svg".
        resize: "squash" shows the model the whole photo, "crop" its centre.
        options: see `overlay`.

    Returns:
        The files written.

    Raises:
        XkdError: see `overlay`; or nothing to draw, or a number of weights that does not fit.
    """
    if weights and len(weights) != len(models):
        raise XkdError(f"--weights: got {len(weights)} for {len(models)} models; expected one a --model, in order")
    named = _gather(photos, data, ids)
    columns = [
        load_classifier(model, weights=weights[place] if weights else None, resize=resize)
        for place, model in enumerate(models)
    ]
    is_file = bool(output.suffix) and not output.is_dir()
    groups = [(output, named)] if is_file else [(_figure_path(output, p, file_format), [p]) for p in named]
    _check_distinct([path for path, _ in groups])
    for path, group in groups:
        save_figure(overlay(columns, group, **options), path)
    return [path for path, _ in groups]


def _gather(photos: Sequence[Path], data: str | None, ids: Sequence[str]) -> list[NamedPhoto]:
    if photos and data is not None:
        raise XkdError("--data: photos are given as files too; give one or the other")
    if data is None:
        if ids:
            raise XkdError("--ids: names images of a data set; give --data too")
        if not photos:
            raise XkdError("photos: none given; name image files, or --data embedded")
        return [_named(photo) for photo in photos]
    dataset = open_dataset(data)
    return from_dataset(dataset, ids or dataset.ids[:4])


def _figure_path(folder: Path, photo: NamedPhoto, file_format: str) -> Path:
    return folder / f"{photo.name.replace('/', '_').rpartition('.')[0] or photo.name.replace('/', '_')}.{file_format}"


def _check_distinct(paths: list[Path]) -> None:
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise XkdError(f"-o: two photos would both be written to {twice.name}; give a file to draw them in one figure")


def class_index(classifier: Classifier, wanted: str | int) -> int:
    """The class that a user means by an index, a WordNet id or a name (case does not matter).

    Raises:
        XkdError: no such class; the nearest names are given.
    """
    text = str(wanted).strip()
    if text.isdecimal():
        if int(text) >= classifier.num_classes:
            raise XkdError(f"--class {text}: {classifier.name} has classes 0 to {classifier.num_classes - 1}")
        return int(text)
    if classifier.wordnet_ids and text in classifier.wordnet_ids:
        return classifier.wordnet_ids.index(text)
    names = [name.casefold() for name in classifier.class_names or ()]
    # ImageNet names list synonyms: "tench, Tinca tinca".
    for index, name in enumerate(names):
        if text.casefold() in (name, *(synonym.strip() for synonym in name.split(","))):
            return index
    nearest = difflib.get_close_matches(text.casefold(), names, n=3, cutoff=0.4)
    hint = f"nearest: {'; '.join(nearest)}" if nearest else "give its index, or top:K"
    raise XkdError(f"--class {text!r}: {classifier.name} has no such class; {hint}")


def _named(photo: Photo) -> NamedPhoto:
    return NamedPhoto(Path(photo).name if isinstance(photo, str | Path) else "", photo)


def from_dataset(dataset: ImageDataset, ids: Sequence[str]) -> list[NamedPhoto]:
    """The photos of a data set with the given ids.

    Raises:
        XkdError: an id that the set does not have.
    """
    places = {identifier: position for position, identifier in enumerate(dataset.ids)}
    unknown = [identifier for identifier in ids if identifier not in places]
    if unknown:
        nearest = difflib.get_close_matches(unknown[0], dataset.ids, n=1) or dataset.ids[:1]
        raise XkdError(f"--ids: {dataset.name} has no image {unknown[0]!r}; an id looks like {nearest[0]!r}")
    samples = [(identifier, dataset.load(places[identifier])) for identifier in ids]
    return [NamedPhoto(identifier, sample.image, sample.mask) for identifier, sample in samples]


def _top_count(classes: str | int) -> int | None:
    text = str(classes)
    if not text.startswith("top:"):
        return None
    count = text.removeprefix("top:")
    if not count.isdecimal() or int(count) < 1:
        raise XkdError(f"--class {text}: expected top:K with K of at least 1, such as top:3")
    return int(count)


def _panels(
    model: Classifier,
    photo: NamedPhoto,
    classes: str | int,
    count: int | None,
    explainer: str | Explainer,
    device: str,
) -> list[OverlayPanel]:
    image = as_photo(photo.photo)
    wanted = [class_index(model, classes)] if count is None else _most_probable(model, image, count)
    made = explain(
        model,
        [image] * len(wanted),
        wanted,
        explainer=explainer,
        ids=[photo.name] * len(wanted),
        masks=None if photo.mask is None else [photo.mask] * len(wanted),
        device=device,
    )
    return [
        OverlayPanel(
            image=np.asarray(image),
            map=made.maps[row],
            title=model.class_name(index),
            probability=float(made.probabilities[row]),
            model=model.name,
            region=model.preprocess.region(image.size),
        )
        for row, index in enumerate(wanted)
    ]


def _most_probable(model: Classifier, image: Image.Image, count: int) -> list[int]:
    if count > model.num_classes:
        raise XkdError(f"--class top:{count}: {model.name} has {model.num_classes} classes")
    parameter = next(model.parameters(), torch.empty(0))
    with torch.no_grad():
        logits = model(model.preprocess.normalise(model.preprocess.pixels(image)[None].to(parameter.device)))
    return logits[0].topk(count).indices.tolist()
