"""What a user chooses of region perturbation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from xkd_eval.arguments import Within
from xkd_eval.evaluations.words import Count, Form

Order = Literal["morf", "lerf", "random"]
ORDERS: tuple[Order, ...] = ("morf", "lerf", "random")


@dataclass(frozen=True)
class AopcOptions:
    """What region perturbation takes beside the shared rules; what is not given is the preset's.

    Attributes:
        preset: whose rules: the paper's, or another tool's.
        region: side of a region in pixels, where the image's shorter side has 224; it scales with the image.
        regions: how many are replaced, one after the other.
        infill: what a replaced region becomes.
        form: of the map.
        seed: of what is drawn: an infill, the random order.
        order: morf: most relevant regions first; lerf: least; random: neither, the floor; all: each of them.
    """

    preset: Literal["samek", "quantus", "latec"] = "samek"
    region: Annotated[int, Within(1, 224)] | None = None
    regions: Count | None = None
    infill: Literal["black", "mean", "blur", "lowest", "opposite", "noise", "shade"] | None = None
    form: Form | None = None
    seed: Annotated[int, Within(0)] = 0
    order: Literal["all", "morf", "lerf", "random"] = "all"

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders that `order` stands for."""
        return ORDERS if self.order == "all" else (self.order,)
