"""Which images a training was on, as a list that every command opens, where it has divided them itself."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from distill.data import IMAGES
from distill.data.splits import Splits
from xkd_eval.datasets.base import ImageDataset, Subset
from xkd_eval.datasets.folder import FolderOfImages
from xkd_eval.datasets.lists import read_list
from xkd_eval.errors import XkdError


def images_list(splits: Splits) -> str | None:
    """CSV with the columns path, label and split.

    Args:
        splits: of a training that split test images, or validation images, off a set.

    Returns:
        None where an image is no file of its own, as in an archive.
    """
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    rows = []
    for name, part in parts.items():
        for position in range(len(part.labels) if part is not None else 0):
            assert part is not None
            path = _path(part.dataset, position)
            if path is None:
                return None
            rows.append((path, part.dataset.labels[position], name))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label", "split"))
    writer.writerows(rows)
    return text.getvalue()


def images_trained_on(run: Path, dataset: ImageDataset) -> int:
    """How many images of a set the list in a run's directory has among those that the run was trained on.

    Args:
        run: a directory, in which a list need not be.
        dataset: whose images are files; of others nothing is known, which is 0.
    """
    if not (run / IMAGES).is_file():
        return 0
    try:
        rows = read_list(run / IMAGES).parts.get("train", [])
    except XkdError:  # the list of something else
        return 0
    trained = {row.path for row in rows}
    return sum(str(_path(dataset, position)) in trained for position in range(len(dataset)))


def _path(dataset: ImageDataset, position: int, *, is_kept: bool = False) -> Path | None:
    """Where an image's file lies; `is_kept` where it was fetched."""
    is_kept = is_kept or dataset.url is not None
    if isinstance(dataset, Subset):
        return _path(dataset.dataset, dataset.positions[position], is_kept=is_kept)
    if not isinstance(dataset, FolderOfImages):
        return None
    path = dataset.path(position)
    # What was fetched is a link to a file of another name, which would not say what it is.
    return path.absolute() if is_kept else path.resolve()
