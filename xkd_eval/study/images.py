"""Which images rows are of: the pictures themselves, and not their names alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.compute as pc

from xkd_eval.datasets import ImageDataset
from xkd_eval.datasets.samples import hash_of_stored
from xkd_eval.errors import XkdError
from xkd_eval.study.rows import Rows
from xkd_eval.study.work import CellRun

_REPORTED = 256
"""Images between two reports of progress."""


def check_same_images(runs: Sequence[CellRun], progress: Callable[[str, int, int], None] | None = None) -> None:
    """Refuse to continue rows of other pictures under the same names: what is stored is read once more, not decoded.

    Args:
        runs: opened, with the content hashes of what they hold.
        progress: told how far it is.

    Raises:
        XkdError: an image was changed, mended or lost since it was scored; the first is named.
    """
    for dataset in {id(run.cell.dataset): run.cell.dataset for run in runs}.values():
        scored = [(run, run.done) for run in runs if run.cell.dataset is dataset and run.done]
        positions = sorted(set().union(*(done for _, done in scored)))
        for number, position in enumerate(positions):
            if progress is not None and number % _REPORTED == _REPORTED - 1:
                progress(f"checking the images of {dataset.name}", number, len(positions))
            found = hash_of_stored(dataset, position)
            for run, done in scored:
                if position in done and done[position] != found:
                    raise _changed(dataset.ids[position], run.store.path)


def readable_again(dataset: ImageDataset, rows: Rows) -> set[int]:
    """Positions of images that could not be read when they were due, as on a disk that was away, and can be now."""
    lost = (
        position
        for part in rows.stream()
        for position in part.filter(pc.and_(part["skipped"].is_valid(), part["content_hash"].is_null()))["position"]
    )
    return {place for position in lost if hash_of_stored(dataset, place := position.as_py()) is not None}


def _changed(name: str, directory: Path | None) -> XkdError:
    return XkdError(
        f"data: the image {name!r} is not the one that '{directory}' holds a row of; restore it, choose another "
        "`output`, or `overwrite`"
    )
