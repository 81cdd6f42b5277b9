"""Methods that compare intermediate maps: which of the student's goes with which of the teacher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from distill.methods.base import Method, Pass
from distill.methods.options import several
from xkd_eval.errors import XkdError


class TapMethod(Method):
    """A method on pairs of taps.

    Args:
        student_taps, teacher_taps: module paths, paired in order, shallow to deep. None takes all that the pass holds,
            which are the network's own stages unless another method asked for more.
    """

    requires = frozenset({"taps"})

    def __init__(self, student_taps: Sequence[str] | None = None, teacher_taps: Sequence[str] | None = None) -> None:
        super().__init__()
        self.student_taps = None if student_taps is None else several("student_taps", student_taps, str)
        self.teacher_taps = None if teacher_taps is None else several("teacher_taps", teacher_taps, str)

    def pairs(self, student: Pass, teacher: Pass) -> list[tuple[Tensor, Tensor]]:
        """The paired maps (B, C_s, h_s, w_s) and (B, C_t, h_t, w_t).

        Raises:
            XkdError: a tap is absent or not a map, or the two networks have a different number of them.
        """
        students = self._select(student.taps, self.student_taps, "student_taps")
        teachers = self._select(teacher.taps, self.teacher_taps, "teacher_taps")
        if len(students) != len(teachers):
            raise XkdError(
                f"{self.name}: {len(students)} student taps ({', '.join(student.taps)}) and {len(teachers)} teacher "
                f"taps ({', '.join(teacher.taps)}) found; expected pairs: set student_taps and teacher_taps"
            )
        return list(zip(students, teachers, strict=True))

    def _select(self, taps: Mapping[str, Tensor], paths: tuple[str, ...] | None, option: str) -> list[Tensor]:
        chosen = tuple(taps) if paths is None else paths
        if not chosen:
            raise XkdError(f"{option}: none given and the model names no stages of its own; list module paths")
        for path in chosen:
            if path not in taps:
                raise XkdError(f"{option}: {path!r} is not among the taps ({', '.join(taps) or 'none'})")
            if taps[path].ndim != 4:
                raise XkdError(f"{option}: {path!r} has shape {tuple(taps[path].shape)}; expected a map (B, C, h, w)")
        return [taps[path] for path in chosen]
