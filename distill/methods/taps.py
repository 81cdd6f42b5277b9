"""Methods that compare intermediate maps: which of the student's goes with which of the teacher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from distill.methods.base import Method
from distill.methods.options import several
from distill.methods.passes import Pass
from xkd_eval.errors import XkdError

Maps = Literal["stages", "preactivations"]
"""Of a network's stages: what they put out, or the same before the ReLU that ends them."""


class TapMethod(Method):
    """A method on pairs of taps.

    Args:
        student_taps, teacher_taps: module paths, paired in order, shallow to deep; "before PATH" is what a module is
            given. None takes the network's stages; where neither network's are listed and one has fewer, these are
            paired with the deepest of the other.

    Attributes:
        student_maps, teacher_maps: which maps of the stages are taken.
        student_stages, teacher_stages: the stages, set by the training that finds them; None takes all that a pass
            holds.
        teacher_norms: by the teacher's taps, mean and deviation (C,) by the batch norm that the map comes from, set by
            the training where it is known.
        paired: (student's, teacher's) paths, set by `setup`.
        remark: what a user is to be told beside them, set by `setup`.
    """

    requires = frozenset({"taps"})
    student_maps: Maps = "stages"
    teacher_maps: Maps = "stages"

    def __init__(self, student_taps: Sequence[str] | None = None, teacher_taps: Sequence[str] | None = None) -> None:
        super().__init__()
        self.student_taps = None if student_taps is None else several("student_taps", student_taps, str)
        self.teacher_taps = None if teacher_taps is None else several("teacher_taps", teacher_taps, str)
        self.student_stages: tuple[str, ...] | None = None
        self.teacher_stages: tuple[str, ...] | None = None
        self.teacher_norms: dict[str, tuple[Tensor, Tensor]] = {}
        self.paired: tuple[tuple[str, str], ...] = ()
        self.remark = ""

    def setup(self, student: Pass, teacher: Pass, dataset_size: int) -> None:
        """See Method.setup."""
        super().setup(student, teacher, dataset_size)
        self.paired = tuple(self._paired(student, teacher))

    def pairs(self, student: Pass, teacher: Pass) -> list[tuple[Tensor, Tensor]]:
        """The paired maps (B, C_s, h_s, w_s) and (B, C_t, h_t, w_t).

        Raises:
            XkdError: a tap is absent or not a map, or as many as were listed for one network were not for the other.
        """
        return [(student.taps[own], teacher.taps[other]) for own, other in self._paired(student, teacher)]

    def _paired(self, student: Pass, teacher: Pass) -> list[tuple[str, str]]:
        students = self._select(student.taps, self.student_taps, self.student_stages, "student_taps")
        teachers = self._select(teacher.taps, self.teacher_taps, self.teacher_stages, "teacher_taps")
        is_listed = self.student_taps is not None or self.teacher_taps is not None
        if is_listed and len(students) != len(teachers):
            raise XkdError(
                f"{self.name}: {len(students)} student taps ({', '.join(students)}) and {len(teachers)} teacher "
                f"taps ({', '.join(teachers)}) found; expected pairs: set student_taps and teacher_taps"
            )
        count = min(len(students), len(teachers))
        return list(zip(students[-count:], teachers[-count:], strict=True))

    def _select(
        self, taps: Mapping[str, Tensor], listed: tuple[str, ...] | None, stages: tuple[str, ...] | None, option: str
    ) -> tuple[str, ...]:
        chosen = self._of_stages(tuple(taps) if stages is None else stages) if listed is None else listed
        if not chosen:
            raise XkdError(f"{option}: none given and no stages of the network found; list module paths")
        for path in chosen:
            if path not in taps:
                raise XkdError(f"{option}: {path!r} is not among the taps ({', '.join(taps) or 'none'})")
            if taps[path].ndim != 4:
                raise XkdError(f"{option}: {path!r} has shape {tuple(taps[path].shape)}; expected a map (B, C, h, w)")
        return chosen

    def _of_stages(self, stages: tuple[str, ...]) -> tuple[str, ...]:
        """Which of a network's stages are compared, where none are listed."""
        return stages
