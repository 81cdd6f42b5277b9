"""The scores of a run class by class: which classes does a model lose, and where are its maps wrong?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.scores import Columns, ScoreSpec, to_columns
from xkd_eval.statistics.bootstrap import Means, all_images_means
from xkd_eval.statistics.groups import add_rows
from xkd_eval.study.rows import Rows, lacks_values

if TYPE_CHECKING:
    import pandas as pd


def scores_by_class(test: Evaluation, rows: Rows) -> pd.DataFrame:
    """Each score over the images of each true class.

    Args:
        test: whose scores, but for curves.
        rows: of its run; images without a label are of no class.

    Returns:
        class, n_images, and a column a score, fractions of 1, NaN where it is undefined; a row a class that has images.
    """
    import pandas as pd

    specs = [spec for spec in test.specs() if spec.x is None]
    means = None if test.columns_of_all else _block_by_block(test, rows)
    if means is None:
        means = _all_at_once(test, rows)
    found = [(number, count, *_values(specs, of_class)) for number, count, of_class in means]
    return pd.DataFrame(found, columns=["class", "n_images", *(spec.name for spec in specs)])


def _values(specs: list[ScoreSpec], means: Means) -> list[float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return [float(np.asarray(spec.compute(means))[0]) for spec in specs]


def _block_by_block(test: Evaluation, rows: Rows) -> Iterable[tuple[int, int, Means]] | None:
    """Class, its images, and the means of the columns over them, in memory that grows with the classes alone.

    None where a column has no value in some block, of which the test must be asked at once.
    """
    counts = np.zeros(0)
    sums: dict[str, np.ndarray] = {}
    is_list: dict[str, bool] = {}
    for block in rows.scored_blocks():
        columns = to_columns(block)
        if lacks_values(block, columns):
            return None
        labelled = columns["label"] >= 0
        labels = columns["label"][labelled]
        missing = int(labels.max(initial=-1)) + 1 - len(counts)
        if missing > 0:
            counts = np.pad(counts, (0, missing))
            sums = {name: np.pad(found, ((0, 0), (0, missing))) for name, found in sums.items()}
        np.add.at(counts, labels, 1.0)
        for name, values in test.columns(columns).items():
            is_list[name] = values.ndim == 2
            width = values.shape[1] if values.ndim == 2 else 1
            add_rows(sums.setdefault(name, np.zeros((width, len(counts)))), labels, values[labelled])
    found = []
    for number in np.flatnonzero(counts):
        means = {name: of_all[:, number] / counts[number] for name, of_all in sums.items()}
        means = {name: values[None] if is_list[name] else values for name, values in means.items()}
        found.append((int(number), int(counts[number]), means))
    return found


def _all_at_once(test: Evaluation, rows: Rows) -> Iterator[tuple[int, int, Means]]:
    """The same of a test whose columns are made of all images: of each class's images alone."""
    columns: Columns = dict(rows.columns)
    labels = columns["label"]
    for number in np.unique(labels[labels >= 0]):
        own = {name: values[labels == number] for name, values in columns.items()}
        yield int(number), int((labels == number).sum()), all_images_means(test.columns(own))
