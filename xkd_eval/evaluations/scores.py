"""ScoreSpec: what is known of a score, said once; and the columns that scores are computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xkd_eval.arguments import fields_taken
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short
from xkd_eval.statistics.bootstrap import Score

if TYPE_CHECKING:
    import pyarrow as pa

Columns = dict[str, np.ndarray]
"""One array a column, first axis the images: (B,) or, for lists, (B, n)."""

StoredColumns = Mapping[str, np.ndarray]
"""The same of a finished run, each of which may be read from the disk when it is asked for."""

PHOTOGRAPH = "photograph"
"""The column of a set in which a photograph is an image once a label: which photograph it is."""

STUDYS_COLUMNS = (
    *("position", "id", "content_hash", "skipped"),
    *("label", "predicted", "probability", "target", "reference_hit", "label_found", PHOTOGRAPH),
)
"""What a study says of each image itself, beside a test's columns."""

Role = Literal["headline", "shown", "compared", "detail"]
"""How much is made of a score: "headline" scores are spoken of in sentences, "shown" ones stand in every printed table,
"compared" ones in the tables of a comparison as data frames, "detail" ones in summary.json alone."""

_ROLES: tuple[Role, ...] = ("headline", "shown", "compared", "detail")


@dataclass(frozen=True)
class ScoreSpec:
    """One score: how it is computed, what it is called, and which direction is better.

    Attributes:
        name: dotted, as summary.json nests it ("positive.auc").
        title: as tables and sentences call it ("positive AUC").
        compute: the means of the test's columns -> (R,), or (R, n) for a curve; see `xkd_eval.statistics.bootstrap`.
        better: "higher", "lower", or None where neither is.
        range: the least and the greatest value that it can have, each None where there is none; None where nothing is
            said.
        unit: "%" for a fraction of 1 that is shown times 100, or "" for a number that is shown as it is.
        role: how much is made of it.
        per_image: rows -> (n,) values whose mean the score is, NaN where an image has none; booleans for hits. None for
            a score that is no mean over images, which then has an interval and no test.
        note: what a reader must know beside it.
        of_maps: whether it depends on the maps; the accuracy on clean images does not.
        where_right: whether it is computed once more on the images that every compared model classifies correctly.
        x: abscissa of a curve's n points; None for a number.
        area: name of the score that is the area under a curve.

    Raises:
        XkdError: a value of another kind, or no name or title.

    Example:
        >>> from xkd_eval import ScoreSpec
        >>> spec = ScoreSpec("hits", "share of hits", lambda means: means["hit"], better="higher")
        >>> spec.head, spec.sign, spec.scale
        ('Share of hits ↑', 1, 100.0)
    """

    name: str
    title: str
    compute: Score
    better: Literal["higher", "lower"] | None = None
    range: tuple[float | None, float | None] | None = None
    unit: Literal["%", ""] = "%"
    role: Role = "shown"
    per_image: Callable[[Columns], np.ndarray] | None = None
    note: str = ""
    of_maps: bool = True
    where_right: bool = False
    x: tuple[float, ...] | None = None
    area: str | None = None

    def __post_init__(self) -> None:
        for name, value in fields_taken(ScoreSpec, vars(self)).items():
            object.__setattr__(self, name, value)
        if not all(part.isprintable() and part.strip() for part in self.name.split(".")):
            raise XkdError(f"name: {short(self.name)} found for a score; expected words with dots between them")
        if not self.title.isprintable() or not self.title.strip():
            raise XkdError(f"title: {short(self.title)} found for the score {self.name!r}; expected a text")
        if self.x is not None and not self.x:
            raise XkdError(f"x: () found for the score {self.name!r}; expected a number a point, or None")

    @property
    def scale(self) -> float:
        """What a value is multiplied by where it is shown."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is, 0 where neither is."""
        return {"higher": 1, "lower": -1, None: 0}[self.better]

    @property
    def head(self) -> str:
        """The heading with an arrow towards better."""
        return f"{self.heading}{ {1: ' ↑', -1: ' ↓', 0: ''}[self.sign] }"

    @property
    def heading(self) -> str:
        """The title with a capital, but for those that are written otherwise ("mIoU")."""
        return self.title if self.title[1:2].isupper() else f"{self.title[0].upper()}{self.title[1:]}"

    def text(self, value: float, *, signed: bool = False) -> str:
        """A value as every table, page and sentence shows it: in percent with one digit, or with three."""
        digits = 1 if self.unit == "%" else 3
        # Adding zero turns the -0.0 that rounding leaves into 0.0.
        return f"{round(self.scale * value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"

    def is_at_least(self, role: Role) -> bool:
        """Whether as much is made of it as of scores of that role."""
        return _ROLES.index(self.role) <= _ROLES.index(role)

    def of(self, summary: Mapping[str, Any]) -> Any:
        """Its entry in a summary: {"value", "ci95"}, or a list of these for a curve; None where it is absent."""
        found: Any = summary
        for key in self.name.split("."):
            if not isinstance(found, Mapping) or key not in found:
                return None
            found = found[key]
        return found


def to_columns(table: pa.Table) -> Columns:
    """Rows of Arrow as arrays: lists become (B, n), columns without a single value are left out."""
    import pyarrow as pa

    columns = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if column.null_count == len(column) > 0:
            continue
        if pa.types.is_fixed_size_list(column.type):
            flat = column.flatten().to_numpy(zero_copy_only=False)
            columns[name] = flat.reshape(len(column), column.type.list_size)  # a selection may be empty
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns
