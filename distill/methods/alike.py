"""What a loss compares must be of one batch and, as a rule, of one shape: torch would broadcast some that is not."""

from __future__ import annotations

from torch import Tensor

from xkd_eval.errors import XkdError


def check_alike(student: Tensor, other: Tensor, dimensions: int | None = None, name: str = "teacher") -> None:
    """Refuse tensors of different shape.

    Args:
        student: whose shape is expected.
        other: the teacher's, or the labels.
        dimensions: how many of the first are compared; None is all.
        name: of the other argument.

    Raises:
        XkdError: they differ.
    """
    if student.shape[:dimensions] != other.shape[:dimensions]:
        found, expected = tuple(other.shape), ", ".join(map(str, student.shape[:dimensions]))
        more = "" if dimensions is None else ", ..."
        raise XkdError(f"{name}: shape {found} found; expected ({expected}{more}), as the student has it")
