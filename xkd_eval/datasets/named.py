"""Data sets that are made or found by code: `NAME`, `NAME:rest`, `py:package.module:maker:rest`."""

from __future__ import annotations

from pathlib import Path

from xkd_eval.datasets.base import DATASETS, ImageDataset, same_images
from xkd_eval.errors import XkdError
from xkd_eval.registry import described, name_and_rest, parameters


def is_named(given: str) -> bool:
    """Whether text names a data set rather than a path."""
    name, _ = name_and_rest(given)
    return name.startswith("py:") or name in DATASETS


def open_named(given: str, *, split: str, labels: Path | None) -> ImageDataset:
    """Call the maker of a named data set.

    A maker is a function that returns an ImageDataset, or a subclass of it. It is given those of the arguments that its
    signature names: `rest` (the text behind the colon, "" where there is none), `split` and `labels`.

    Args:
        given: "NAME", "NAME:rest", "py:package.module:maker" or "py:package.module:maker:rest".
        split: "train", "val" or "test".
        labels: a label file.

    Raises:
        XkdError: unknown name, something given that the maker does not take, or a maker that fails or returns something
            else.
    """
    name, rest = name_and_rest(given)
    maker = DATASETS[name]
    takes = parameters(maker)
    if rest and "rest" not in takes:
        raise XkdError(f"data: {rest!r} found behind {name!r}, which takes nothing there")
    if labels is not None and "labels" not in takes:
        raise XkdError(f"labels: {name!r} takes none; leave `labels` out")
    arguments = {"rest": rest, "split": split, "labels": labels}
    try:
        dataset = maker(**{argument: value for argument, value in arguments.items() if argument in takes})
    except XkdError:
        raise
    except Exception as error:  # somebody else's code may raise anything
        raise XkdError(f"data: {name!r} cannot be opened ({described(error)})") from error
    if not isinstance(dataset, ImageDataset):
        raise XkdError(f"data: {name!r} gave a {type(dataset).__name__}; expected an ImageDataset")
    if not len(dataset):
        raise XkdError(f"data: {given!r} has no images")
    return dataset


def named_parts(given: str) -> dict[str, ImageDataset]:
    """The parts of a named data set: what its maker gives for each split, where that is something else.

    Args:
        given: as for `open_named`.

    Returns:
        "train", "test" and, where it is not the test images once more, "val"; none where all are the same images.

    Raises:
        XkdError: as `open_named`.
    """
    name, _ = name_and_rest(given)
    if "split" not in parameters(DATASETS[name]):
        return {}
    train, val, test = (open_named(given, split=split, labels=None) for split in ("train", "val", "test"))
    if same_images(train, test):
        return {}
    return {"train": train, "test": test} | ({} if same_images(val, test) else {"val": val})
