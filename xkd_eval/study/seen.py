"""What one model makes of some photographs: its input, and its answers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Seen:
    """Some photographs of a batch, as one model sees and answers them; places are into the batch."""

    places: list[int]
    pixels: Tensor
    images: Tensor
    labels: Tensor
    logits: Tensor
    features: Tensor | None

    def at(self, places: list[int]) -> Seen:
        if places == self.places:
            return self
        rows = rows_of(self.places, places)
        return Seen(
            places,
            self.pixels[rows],
            self.images[rows],
            self.labels[rows],
            self.logits[rows],
            None if self.features is None else self.features[rows],
        )


def rows_of(places: list[int], chosen: list[int]) -> list[int]:
    """Which rows of what is known of some places are those of others."""
    row = {place: number for number, place in enumerate(places)}
    return [row[place] for place in chosen]
