"""Which images a training was on, as a list that every command opens, where it has divided them itself."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from distill.data.splits import Splits
from xkd_eval.datasets.base import ImageDataset, Subset
from xkd_eval.datasets.folder import FolderOfImages


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


def _path(dataset: ImageDataset, position: int) -> Path | None:
    """Where an image's file lies."""
    if isinstance(dataset, Subset):
        return _path(dataset.dataset, dataset.positions[position])
    return dataset.path(position).resolve() if isinstance(dataset, FolderOfImages) else None
