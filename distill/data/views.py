"""The same part of each photograph at the size of each network: one view an input geometry of student and teachers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from distill.data.batches import LabelledBatch
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError


@dataclass(frozen=True)
class Views:
    """The input geometries of a training's networks.

    Attributes:
        geometries: distinct ones, the student's first; all keep the student's part of a photograph.
        teachers: for each teacher, the place of its geometry among them.
    """

    geometries: tuple[Preprocess, ...]
    teachers: tuple[int, ...] = ()

    @classmethod
    def of(cls, student: Preprocess, teachers: Sequence[Preprocess]) -> Views:
        """The views of a student and its teachers.

        A teacher's view is of its own size and interpolation, and of the student's region: its `resize` and
        `crop_fraction`.
        """
        geometries, places = [student], []
        for teacher in teachers:
            seen = [(known.size, known.interpolation) for known in geometries]
            wanted = (teacher.size, teacher.interpolation)
            if wanted not in seen:
                geometries.append(replace(teacher, resize=student.resize, crop_fraction=student.crop_fraction))
                seen.append(wanted)
            places.append(seen.index(wanted))
        return cls(tuple(geometries), tuple(places))

    def check_centre_crops(self) -> None:
        """Refuse a centre crop for the student beside a teacher of another aspect ratio, which would show more or less.

        Raises:
            XkdError: it is one.
        """
        height, width = self.geometries[0].size
        for other_height, other_width in (view.size for view in self.geometries):
            if self.geometries[0].resize == "crop" and height * other_width != width * other_height:
                raise XkdError(
                    f"student.preprocess.resize: 'crop' to {height}x{width} found, with a teacher of "
                    f"{other_height}x{other_width}, which cannot be shown the same part; expected sizes of one shape, "
                    "or 'squash'"
                )

    def scales(self) -> list[tuple[float, float]]:
        """Height and width of each geometry in those of the student's."""
        height, width = self.geometries[0].size
        return [(view.size[0] / height, view.size[1] / width) for view in self.geometries]

    def only(self, teachers: Sequence[int]) -> Views:
        """The same for some of the teachers, in the given order; what the others alone look at is left out."""
        kept = [0, *sorted({self.teachers[number] for number in teachers} - {0})]
        places = tuple(kept.index(self.teachers[number]) for number in teachers)
        return Views(tuple(self.geometries[place] for place in kept), places)

    def batch(self, pixels: Sequence[Tensor], labels: Tensor, indices: Tensor, draws: Tensor) -> LabelledBatch:
        """The batch of one (B, 3, H_i, W_i) a geometry."""
        return LabelledBatch(pixels[0], labels, indices, tuple(pixels[place] for place in self.teachers), draws)
