"""Scores that are means over images: of one column, over the images that define it."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import numpy as np

from xkd_eval.evaluations.scores import Columns, ScoreSpec
from xkd_eval.statistics.bootstrap import Means

_DEFINED = "_defined"
"""Ends the name of the column that says which images define a figure."""


def mean_score(column: str, title: str, *, name: str | None = None, **more: Any) -> ScoreSpec:
    """The mean of a column over the images that define it.

    Args:
        column: of the rows: (B,) numbers or booleans, NaN where an image has none; its name is the score's.
        title: of the score.
        name: of the score, where it is another.
        more: of ScoreSpec.
    """
    per_image = partial(_per_image, column)
    return ScoreSpec(name or column, title, partial(_mean, column), per_image=per_image, **more)


def curve_score(column: str, title: str, x: tuple[float, ...], **more: Any) -> ScoreSpec:
    """The mean curve over images of a column of (B, n) values, NaN where an image has none.

    Args:
        column: of the rows; its name is the score's.
        title: of the score.
        x: n abscissae.
        more: of ScoreSpec.
    """
    return ScoreSpec(column, title, partial(_mean, column), x=x, **more)


def defined_columns(rows: Columns, names: Collection[str]) -> Columns:
    """Columns for `mean_score`: NaN as 0, beside a column that says which images define the figure.

    Args:
        rows: as the study gives them.
        names: of the columns that scores are made of.
    """
    columns: Columns = {}
    for name in names:
        values = rows[name].astype(np.float64)
        columns[name] = np.nan_to_num(values)
        columns[f"{name}{_DEFINED}"] = ~np.isnan(values)
    return columns


def _mean(column: str, means: Means) -> np.ndarray:
    defined = f"{column}{_DEFINED}"
    return means[column] / means[defined] if defined in means else means[column]


def _per_image(column: str, rows: Columns) -> np.ndarray:
    values = rows[column]
    return values if values.dtype == bool else values.astype(np.float64)
