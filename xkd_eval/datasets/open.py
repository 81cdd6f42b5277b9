"""One path or name -> the data set that is there, or each of its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xkd_eval.arguments import public
from xkd_eval.datasets.base import DATASETS, ImageDataset
from xkd_eval.datasets.checks import checked
from xkd_eval.datasets.flat import WithLabels
from xkd_eval.datasets.folder import FolderOfImages, is_image_name
from xkd_eval.datasets.label_sets import PerLabel
from xkd_eval.datasets.layout import LOOKED_FOR, UNDIVIDED, WRAPPED, Layout, Shards, layout_of, layout_of_files
from xkd_eval.datasets.lists import ListedImages, is_list
from xkd_eval.datasets.named import is_named, named_parts, open_named
from xkd_eval.datasets.remote.urls import is_url
from xkd_eval.datasets.splits import PART_NAMES, SPLIT_NAMES, missing
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading, short


@public(path="data")
def open_dataset(path: str | Path, *, split: str = "val", labels: Path | None = None) -> ImageDataset:
    """Recognise and open a data set.

    Args:
        path: a folder or file, see data/README.md; a URL of one, or by braces of several shards, which are fetched into
            a cache; or, where no file is called so, a named data set: "embedded" or "embedded:SPLIT", which is made at
            run time, the NAME or NAME:rest of an installed package or of `register_dataset`, or
            "py:package.module:maker".
        split: "train", "val" or "test", where `path` holds several; "val" and "test" stand in for each other, and for
            "embedded" both are its test split.
        labels: a label file for a flat folder of images; by default one is looked for beside it. COCO's JSON, which is
            not looked for, and lines of NAME,class;class make one image of each label of a photograph.

    Raises:
        XkdError: nothing there, nothing recognised (the message lists what was looked for), no image, several layouts
            at once, a damaged file, or a URL that cannot be fetched whole.

    Example:
        >>> from xkd_eval import open_dataset
        >>> open_dataset("embedded:train").name
        'embedded-train'
        >>> open_dataset("imagenet/val").label_kind  # doctest: +SKIP
        'wordnet'
    """
    if split not in SPLIT_NAMES:
        raise XkdError(f"split: {split!r} is unknown; expected {', '.join(SPLIT_NAMES)}")
    labels = None if labels is None else Path(labels)
    with _place(path, labels) as place:
        if place is None:
            return checked(open_named(str(path), split=split, labels=labels))
        dataset = _opened(place, place.root, place.layout, split, labels)
        if dataset is None:
            raise XkdError(f"data: {place.called!r} is not recognised; looked for {'; '.join(LOOKED_FOR)}")
        return _held(place, dataset, labels)


def open_parts(path: str | Path) -> dict[str, ImageDataset]:
    """Each part that a data set is divided into: where `open_dataset` lets val and test stand in for each other, none
    stands for another here.

    Args:
        path: as for `open_dataset`. A named set is divided where its maker takes a `split` and gives other images for
            another one.

    Returns:
        "train", "val" and "test", those that are there; none where the set is not divided, or not recognised.

    Raises:
        XkdError: as `open_dataset`.
    """
    with _place(path, None) as place:
        if place is None:
            return {part: checked(dataset) for part, dataset in named_parts(str(path)).items()}
        found = {part: _opened(place, place.root, place.layout, part, None, alone=True) for part in PART_NAMES}
        return {part: _held(place, dataset, None) for part, dataset in found.items() if dataset is not None}


@dataclass(frozen=True)
class _Place:
    """Where data lie on this disk.

    Attributes:
        called: what was given.
        root: of a folder or a file; of several files the first.
        layout: of what lies there.
        url: that it was fetched from, as it is recorded; None for what lay here.
        need: is told which files are opened next, or the folder that they are in.
    """

    called: str
    root: Path
    layout: Layout | None
    url: str | None = None
    need: Callable[[Sequence[Path]], None] = lambda paths: None


@contextmanager
def _place(given: object, labels: Path | None) -> Iterator[_Place | None]:
    """What lies at a path or a URL; None for a name. Errors within say a URL, and not where it is kept.

    Raises:
        XkdError: it is neither of these.
    """
    if not isinstance(given, str | Path):
        raise XkdError(f"data: {short(given)} found; expected a path, a URL or a name")
    if isinstance(given, str) and is_url(given):
        with _remote(given, labels) as place:
            yield place
        return
    root = Path(given)
    with reading(f"data: {short(str(given))} cannot be looked at", "give a folder or a file"):
        there = root.exists()
    if not there and not is_named(str(given)):
        named = ", ".join(map(repr, DATASETS.names()))
        raise XkdError(f"data: {str(given)!r} does not exist; give a folder or a file, a URL, or {named}")
    yield _Place(str(given), root, layout_of(root, labels)) if there else None


@contextmanager
def _remote(url: str, labels: Path | None) -> Iterator[_Place]:
    from xkd_eval.datasets.remote.fetched import Fetched
    from xkd_eval.datasets.remote.local import local_paths

    paths = local_paths(url)
    if paths is not None:
        yield _Place(url, paths[0], _layout(paths, labels))
        return
    fetched = Fetched(url)
    try:
        root = fetched.folder or fetched.files[0]
        if fetched.folder is None and is_list(root):
            raise XkdError(
                f"data: {fetched.shown!r} is a list of images, which are looked for beside it on a disk; fetch both, "
                "and give the list's path"
            )
        layout = layout_of(root, labels) if fetched.folder else _layout(fetched.files, labels)
        yield _Place(fetched.shown, root, layout, fetched.shown, fetched.need)
    except XkdError as error:
        error.args = (fetched.in_words(str(error)),)
        raise


def _layout(paths: Sequence[Path], labels: Path | None) -> Layout | None:
    return layout_of(paths[0], labels) if len(paths) == 1 else layout_of_files(paths, labels)


def _opened(
    place: _Place, root: Path, layout: Layout | None, split: str, labels: Path | None, *, alone: bool = False
) -> ImageDataset | None:
    """The first of a split's names that is a part; else, unless a part is asked for alone, what is not divided."""
    if layout is None:
        return None
    names = (*PART_NAMES[split], WRAPPED) if alone else (*SPLIT_NAMES[split], WRAPPED, UNDIVIDED)
    name = next((name for name in names if name in layout), None)
    if name is None:
        if alone:
            return None
        raise missing(root, split, layout)
    found = layout[name]
    if isinstance(found, Path):  # whatever lies in the folder of a part is of that part
        return _opened(place, found, layout_of(found, labels), split, labels, alone=alone and name == WRAPPED)
    place.need(found.paths if isinstance(found, Shards) else [root])
    return found()


def _held(place: _Place, dataset: ImageDataset, labels: Path | None) -> ImageDataset:
    """The data set, if there is something in it and the label file is for it."""
    are_files = isinstance(dataset, FolderOfImages) and not isinstance(dataset, ListedImages)
    if not len(dataset) or (are_files and not any(map(is_image_name, dataset.ids))):
        raise XkdError(f"data: {place.called!r} has no images; looked for {'; '.join(LOOKED_FOR)}")
    if labels is not None and not isinstance(dataset, WithLabels | PerLabel):
        raise XkdError(f"labels: {place.called!r} is no flat folder of images; leave `labels` out")
    dataset.url = place.url
    return checked(dataset)
