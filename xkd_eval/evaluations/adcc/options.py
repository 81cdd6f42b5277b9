"""What a user chooses of ADCC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AdccOptions:
    """What ADCC takes beside the shared rules.

    Attributes:
        preset: whose rules; what is set beside it replaces its own.
        form: how a map becomes values in 0 to 1 at the image's size.
    """

    preset: Literal["paper"] = "paper"
    form: Literal["minmax", "relu", "lowres", "magnitude"] | None = None
