"""What overlays are drawn of, from files or from a data set, and where each figure goes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from matplotlib.figure import Figure

from xkd_eval.arguments import Workers, public
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import open_classifier, told_of
from xkd_eval.classifiers.words import files_of
from xkd_eval.datasets import ImageDataset, open_dataset
from xkd_eval.datasets import limit as sample
from xkd_eval.datasets.folder import is_image_name
from xkd_eval.datasets.loader import leave_signals_to_parent, starting_workers
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.escapes import file_names
from xkd_eval.explanations.overlay import NamedPhoto, Overlaid, figure_of, methods_of, overlay_rows
from xkd_eval.explanations.photos import as_photo
from xkd_eval.figures.paper import printed_files, read_paper, write_printed
from xkd_eval.figures.style import save_figure
from xkd_eval.files import check_output
from xkd_eval.foreign import is_there
from xkd_eval.registry import nearest

_FIRST = 4
_AT_ONCE = 16  # photos that a process is given; it finishes them when it is asked to end
# Of a file's name, and not of "../x".
_SUFFIX = re.compile(r"(?<=[^/.])\.[^./]*$")

_V = TypeVar("_V")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Overlays:
    """Figures to be drawn.

    Attributes:
        models: a column each.
        groups: of each figure its file, and the photos on it.
        is_folder: whether each photo has a figure of its own.
        paper: sizes with formats, as `read_paper` reads them, in which each figure is written as well.
        options: of `overlay_rows`.
    """

    models: tuple[Classifier, ...]
    groups: tuple[tuple[Path, list[NamedPhoto]], ...]
    is_folder: bool
    paper: tuple[str, ...]
    options: dict[str, Any]

    @property
    def explainers(self) -> list[str]:
        """By name."""
        return list(methods_of(self.options.get("explainer", "cam")))

    def draw(self, colormap: str | None, alpha: float | None) -> Iterator[tuple[list[Overlaid], list[Path]]]:
        """Write each figure, for a screen and for papers; give what `overlay_rows` found, and the files."""
        for path, photos in self.groups:
            found = overlay_rows(self.models, photos, **self.options)
            make = partial(_named_figure, path.stem, found, colormap, alpha)
            printed = write_printed(make, path.parent, self.paper)
            yield found, [save_figure(make()[path.stem], path), *printed]


def _named_figure(name: str, found: Sequence[Overlaid], colormap: str | None, alpha: float | None) -> dict[str, Figure]:
    return {name: figure_of(found, colormap, alpha)}


@public()
def open_overlays(
    *,
    models: Sequence[str],
    weights: Sequence[Path],
    photos: Sequence[Path],
    data: str | None,
    ids: Sequence[str],
    output: Path,
    file_format: Literal["png", "pdf", "svg"] = "png",
    preprocess: dict[str, Any] | None = None,
    limit: int | None = None,
    workers: Workers = 0,
    seed: int = 0,
    paper: Sequence[str] = (),
    **options: Any,
) -> Overlays:
    """Load and check what `xkd-eval overlay` names, before anything is drawn.

    Args:
        models: names or paths, a column each.
        weights: none, or one a model.
        photos: image files; or else `data` and `ids`.
        data: what `open_dataset` takes.
        ids: of images in `data`; none takes its first four, or the sample.
        output: a file with suffix .png, .pdf or .svg for one figure of all, else a folder that gets one figure a photo.
        file_format: of the figures in a folder: "png", "pdf" or "svg".
        preprocess: Preprocess fields to override. The model sees the whole photo, squashed, unless "resize" is "crop".
        limit: the size of a seeded, label-stratified sample of `data`.
        workers: processes that decode photos; 0 decodes in this one.
        seed: of the sample and of the explainers that draw at random.
        paper: sizes with formats, as `read_paper` reads them: each figure is written as NAME-SIZE.FORMAT as well.
        options: see `overlay`.

    Raises:
        XkdError: nothing to draw, `output` is an input; a number of weights that does not fit.
    """
    papers = [read_paper(text) for text in paper]
    if weights and len(weights) != len(models):
        raise XkdError(f"weights: got {len(weights)} for {len(models)} models; expected one a `model`, in order")
    named = _gather(photos, data, ids, limit, seed, workers)
    is_file = bool(output.suffix) and not output.is_dir()
    groups = [(output, named)] if is_file else _figure_paths(output, named, file_format)
    read = [file for model in models for file in files_of(model)]
    for path, _ in groups:
        printed = [path.with_name(file) for one in papers for file in printed_files([path.stem], one)[path.stem]]
        for written in (path, *printed):
            check_output(written, [*read, *weights, *photos, *_inputs_at(written, data)])
    columns = tuple(
        _column(model, weights[place] if weights else None, preprocess or {}) for place, model in enumerate(models)
    )
    return Overlays(columns, tuple(groups), not is_file, tuple(paper), {"seed": seed, **options})


def _column(model: str, weights: Path | None, preprocess: dict[str, Any]) -> Classifier:
    """A model that sees the whole photo, unless the user says otherwise."""
    classifier = open_classifier(model, weights=weights, **preprocess)
    source = classifier.input_from
    if classifier.preprocess.resize != "squash" and ("resize", "option") not in source.others:
        classifier.preprocess = replace(classifier.preprocess, resize="squash")
        classifier.input_from = source.but("overlay", ["resize"])
    told_of(classifier, model, weights).tell()
    return classifier


def _gather(
    photos: Sequence[Path], data: str | None, ids: Sequence[str], limit: int | None, seed: int, workers: int
) -> list[NamedPhoto]:
    if limit is not None and (data is None or ids):
        raise XkdError("limit: takes a sample of a data set; give `data`, and no `ids`")
    if photos and data is not None:
        raise XkdError("data: photos are given as files too; give one or the other")
    if data is None:
        if ids:
            raise XkdError("ids: names images of a data set; give `data` too")
        if not photos:
            raise XkdError("photos: none given; name image files, or `data` embedded")
        decoded = _mapped(partial(as_photo, argument="photos"), photos, workers)
        return [NamedPhoto(photo.name, image) for photo, image in zip(photos, decoded, strict=True)]
    dataset = open_dataset(data)
    drawn = dataset.ids[:_FIRST] if limit is None else sample(dataset, limit, seed).ids
    return from_dataset(dataset, ids or drawn, workers)


def _inputs_at(path: Path, data: str | None) -> list[str | Path]:
    """The data set, where it is a file, and what is at a path, where that is one of the images in the set's folder."""
    if data is None or not is_there(data):
        return []
    is_below = path.resolve().is_relative_to(Path(data).resolve())
    return [data, path] if is_below and is_image_name(path.name) else [data]


def _figure_paths(folder: Path, photos: Sequence[NamedPhoto], file_format: str) -> list[tuple[Path, list[NamedPhoto]]]:
    """A file a photo, called as the photo is; slashes and what else cannot stand in a file's name are replaced."""
    stems = [_SUFFIX.sub("", photo.name).replace("/", "_") for photo in photos]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise XkdError(
            f"output: two photos would both be written to {twice}.{file_format}; give a file to draw them in one figure"
        )
    names = file_names(stems)
    return [(folder / f"{names[stem]}.{file_format}", [photo]) for photo, stem in zip(photos, stems, strict=True)]


def from_dataset(dataset: ImageDataset, ids: Sequence[str], workers: int = 0) -> list[NamedPhoto]:
    """The photos of a data set with the given ids, decoded by so many processes, or by this one.

    Raises:
        XkdError: an id that the set does not have.
    """
    places = {identifier: position for position, identifier in enumerate(dataset.ids)}
    unknown = [identifier for identifier in ids if identifier not in places]
    if unknown:
        raise XkdError(f"ids: {dataset.name} has no image {unknown[0]!r}; {nearest(unknown[0], dataset.ids, limit=3)}")
    try:
        samples = _mapped(dataset.load, [places[identifier] for identifier in ids], workers)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"data: {error}") from None
    return [NamedPhoto(name, sample.image, sample.mask) for name, sample in zip(ids, samples, strict=True)]


def _mapped(function: Callable[[_V], _R], values: Sequence[_V], workers: int) -> list[_R]:
    if workers == 0 or not values:
        return [function(value) for value in values]
    at_once = min(max(1, len(values) // workers), _AT_ONCE)
    with ProcessPoolExecutor(min(workers, len(values)), initializer=leave_signals_to_parent, initargs=(0,)) as pool:
        with starting_workers():
            answers = pool.map(function, values, chunksize=at_once)
        return list(answers)
