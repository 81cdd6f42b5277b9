"""What a user chooses of the grid pointing game."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from xkd_eval.arguments import Within

Order = Literal["drawn", "confident", "listed"]


@dataclass(frozen=True)
class GridPointingOptions:
    """What the grid pointing game takes beside the shared rules.

    Attributes:
        side: photographs an edge of a grid.
        confidence: the least probability of its class that every model must give a photograph.
        correct_only: only photographs that every model classifies rightly.
        order: drawn: by `seed`; confident: the most confident first; listed: as the set has them.
        seed: of the order.
        grids: at most so many.
    """

    side: Annotated[int, Within(2, 8)] = 2
    confidence: Annotated[float, Within(0, 1)] = 0.99
    correct_only: bool = True
    order: Order = "drawn"
    seed: Annotated[int, Within(0, 2**63 - 1)] = 0
    grids: Annotated[int, Within(1)] = 500
