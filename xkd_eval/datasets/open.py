"""One path or name -> the data set that is there, or each of its parts."""

from __future__ import annotations

from pathlib import Path

from xkd_eval.arguments import public
from xkd_eval.datasets.base import DATASETS, ImageDataset
from xkd_eval.datasets.checks import checked
from xkd_eval.datasets.flat import WithLabels
from xkd_eval.datasets.folder import FolderOfImages, is_image_name
from xkd_eval.datasets.label_sets import PerLabel
from xkd_eval.datasets.layout import LOOKED_FOR, UNDIVIDED, WRAPPED, Layout, layout_of
from xkd_eval.datasets.lists import ListedImages
from xkd_eval.datasets.named import is_named, named_parts, open_named
from xkd_eval.datasets.splits import PART_NAMES, SPLIT_NAMES, missing
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading, short


@public(path="data")
def open_dataset(path: str | Path, *, split: str = "val", labels: Path | None = None) -> ImageDataset:
    """Recognise and open a data set.

    Args:
        path: a folder or file, see data/README.md; or, where no file is called so, a named data set: "embedded" or
            "embedded:SPLIT", which is made at run time, the NAME or NAME:rest of an installed package or of
            `register_dataset`, or "py:package.module:maker".
        split: "train", "val" or "test", where `path` holds several; "val" and "test" stand in for each other, and for
            "embedded" both are its test split.
        labels: a label file for a flat folder of images; by default one is looked for beside it. COCO's JSON, which is
            not looked for, and lines of NAME,class;class make one image of each label of a photograph.

    Raises:
        XkdError: nothing there, nothing recognised (the message lists what was looked for), no image, several layouts
            at once, or a damaged file.

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
    root = _place(path)
    if root is None:
        return checked(open_named(str(path), split=split, labels=labels))
    dataset = _opened(root, layout_of(root, labels), split, labels)
    if dataset is None:
        raise XkdError(f"data: {str(path)!r} is not recognised; looked for {'; '.join(LOOKED_FOR)}")
    return _held(root, dataset, labels)


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
    root = _place(path)
    if root is None:
        return {part: checked(dataset) for part, dataset in named_parts(str(path)).items()}
    layout = layout_of(root, None)
    found = {part: _opened(root, layout, part, None, alone=True) for part in PART_NAMES}
    return {part: _held(root, dataset, None) for part, dataset in found.items() if dataset is not None}


def _place(path: object) -> Path | None:
    """The path of what lies on a disk; None for a name.

    Raises:
        XkdError: it is neither.
    """
    if not isinstance(path, str | Path):
        raise XkdError(f"data: {short(path)} found; expected a path or a name")
    root = Path(path)
    with reading(f"data: {short(str(path))} cannot be looked at", "give a folder or a file"):
        there = root.exists()
    if there:
        return root
    if is_named(str(path)):
        return None
    named = ", ".join(map(repr, DATASETS.names()))
    raise XkdError(f"data: {str(path)!r} does not exist; give a folder or a file, or {named}")


def _opened(
    root: Path, layout: Layout | None, split: str, labels: Path | None, *, alone: bool = False
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
        return _opened(found, layout_of(found, labels), split, labels, alone=alone and name == WRAPPED)
    return found()


def _held(root: Path, dataset: ImageDataset, labels: Path | None) -> ImageDataset:
    """The data set, if there is something in it and the label file is for it."""
    are_files = isinstance(dataset, FolderOfImages) and not isinstance(dataset, ListedImages)
    if not len(dataset) or (are_files and not any(map(is_image_name, dataset.ids))):
        raise XkdError(f"data: {str(root)!r} has no images; looked for {'; '.join(LOOKED_FOR)}")
    if labels is not None and not isinstance(dataset, WithLabels | PerLabel):
        raise XkdError(f"labels: {str(root)!r} is no flat folder of images; leave `labels` out")
    return checked(dataset)
