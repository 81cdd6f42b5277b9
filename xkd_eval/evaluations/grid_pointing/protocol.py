"""The rules of the grid pointing game."""

from __future__ import annotations

from dataclasses import dataclass

from xkd_eval.evaluations.grid_pointing.options import Order
from xkd_eval.evaluations.protocol import Rules


@dataclass(frozen=True)
class GridPointingProtocol(Rules):
    """Photographs of distinct classes in a grid, each used once, and one map of the grid for the class of each.

    Attributes:
        side: photographs an edge.
        confidence: the least softmax probability that every model gives its prediction of a photograph.
        correct_only: whether every model must predict the photograph's label.
        order: in which photographs are taken.
        seed: of that order, where it is drawn.
        grids: at most so many.
    """

    side: int = 2
    confidence: float = 0.99
    correct_only: bool = True
    order: Order = "drawn"
    seed: int = 0
    grids: int = 500
