"""What one model makes of some photographs: its input, and its answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xkd_eval.engines.network import Network
from xkd_eval.evaluations.batch import Batch


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


def clean_once(
    network: Network, images: Tensor, ids: Sequence[str], photographs: Sequence[int] | None
) -> tuple[Tensor, Tensor | None]:
    """See `Network.clean`; a photograph that is an image once a label is classified once.

    Args:
        network: is asked.
        images: (B, 3, H, W) normalised.
        ids: B, for messages.
        photographs: B, equal for images that are one photograph; None where each is its own.
    """
    if photographs is None:
        return network.clean(images, ids)
    first = {photograph: row for row, photograph in reversed(list(enumerate(photographs)))}
    chosen = sorted(first.values())
    logits, features = network.clean(images[chosen], [ids[row] for row in chosen])
    rows = rows_of(chosen, [first[photograph] for photograph in photographs])
    return logits[rows], None if features is None else features[rows]


def held_classes(held: Sequence[Collection[int]], n_classes: int) -> Tensor:
    """(B, K) booleans, on the CPU: which classes each of B photographs holds."""
    found = torch.zeros(len(held), n_classes, dtype=torch.bool)
    for row, classes in enumerate(held):
        found[row, list(classes)] = True
    return found


def hits(batch: Batch) -> Tensor:
    """(B,) booleans: the label is the prediction; or, where a photograph may hold several, likelier than not."""
    if batch.held is None:
        return batch.logits.argmax(1) == batch.labels
    return batch.logits.gather(1, batch.labels[:, None])[:, 0] > 0
