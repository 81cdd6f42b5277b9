"""The steps of ROAD: which pixels go, and what the network answers once they are filled in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xkd_eval.evaluations.batch import Batch
from xkd_eval.evaluations.fractions import removed_pixels
from xkd_eval.evaluations.linear_infill import infill_noise, infilled
from xkd_eval.evaluations.ranks import removal_order
from xkd_eval.evaluations.removal import answer_values
from xkd_eval.evaluations.road.protocol import RoadProtocol


@dataclass(frozen=True)
class Steps:
    """What the network answers while pixels go.

    Attributes:
        logits: (B, 2, F, K), most relevant pixels first and least relevant first.
        nothing_left: (B,) where a step would have left no pixel, so that the image has no figures.
    """

    logits: Tensor
    nothing_left: Tensor

    def probabilities(self, batch: Batch, by: str) -> Tensor:
        """(B, 2, 1 + F) float64 probability of the explained class, by the protocol's rule; the clean image's first."""
        steps = answer_values(self.logits.flatten(1, 2), batch.target, by=by).unflatten(1, self.logits.shape[1:3])
        clean = answer_values(batch.logits, batch.target, by=by)[:, None, None].expand(-1, 2, 1)
        return self._defined(torch.cat([clean, steps], 2))

    def hits(self, batch: Batch) -> Tensor:
        """(B, 2, 1 + F) float64, 1 where the answer is the label, NaN without one."""
        clean = batch.logits[:, None, None].expand(-1, 2, 1, -1)
        answers = torch.cat([clean, self.logits], 2).argmax(3)
        labels = batch.labels[:, None, None]
        return self._defined((answers == labels).double().masked_fill(labels < 0, torch.nan))

    def _defined(self, values: Tensor) -> Tensor:
        return values.double().masked_fill(self.nothing_left[:, None, None], torch.nan)


def combined(probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of (B, 2, 1 + F): the mean change by removing the most, and the least relevant; and half their difference."""
    morf, lerf = (probabilities[..., 1:] - probabilities[..., :1]).mean(2).unbind(1)
    return morf, lerf, (lerf - morf) / 2


def road_steps(batch: Batch, maps: Tensor, protocol: RoadProtocol) -> Steps:
    """Remove pixels of every image in both orders, a share at a time of the clean one, and classify what is filled in.

    Args:
        batch: is asked about at most a chunk of images at a time; the clean ones are not forwarded again.
        maps: (B, H, W) in the protocol's form.
        protocol: the rules.

    Raises:
        XkdError: a step that removes no pixel of images of this size.
    """
    hidden = torch.cat([_hidden(maps, protocol, first) for first in ("most", "least")], 1)
    nothing_left = hidden.flatten(2).all(2).any(1)
    hidden = hidden & ~nothing_left[:, None, None, None]
    answers = [batch.network.classify(part) for part in _parts(_copies(batch, hidden, protocol), batch.network.chunk)]
    logits = torch.cat(answers).unflatten(0, (len(batch.ids), 2, len(protocol.fractions)))
    return Steps(logits, nothing_left)


def _hidden(maps: Tensor, protocol: RoadProtocol, first: str) -> Tensor:
    """(B, F, H, W) booleans: what each step removes, of the most or the least relevant pixels."""
    size = (maps.shape[1], maps.shape[2])
    counts = removed_pixels(protocol.fractions, size)
    if protocol.removal == "rank":
        order = removal_order(size, protocol.tie_seed, maps.device)
        ranks = order.descending(maps)[0] if first == "most" else order.ascending(maps)
        return ranks[:, None] < torch.tensor(counts, device=maps.device)[:, None, None]
    values = maps if first == "most" else 1 - maps
    return values[:, None] >= _percentiles(values, [1 - fraction for fraction in protocol.fractions])[..., None, None]


def _percentiles(values: Tensor, shares: list[float]) -> Tensor:
    """(B, H, W) float32 -> (B, F), linear between neighbours.

    Places are float32 as NumPy's were up to 2.3, where grad-cam has its limits from: NumPy 2.4 rounds some of them to
    another pixel.
    """
    sorted_values = np.sort(values.flatten(1).cpu().numpy(), axis=1)
    last = sorted_values.shape[1] - 1
    places = np.float32(last) * np.round(shares, 9).astype(np.float32)
    low = np.floor(places).astype(np.int64)
    below, above = sorted_values[:, low], sorted_values[:, np.minimum(low + 1, last)]
    return torch.from_numpy(below + (above - below) * (places - low).astype(np.float32)).to(values)


def _copies(batch: Batch, hidden: Tensor, protocol: RoadProtocol) -> Iterator[Tensor]:
    """(2 F, 3, H, W) of each image, filled in; both orders have the same noise."""
    preprocess = batch.preprocess
    spread = preprocess.colour((1.0,) * 3, like=batch.images) - preprocess.colour((0.0,) * 3, like=batch.images)
    deviation = protocol.noise * (spread if protocol.noise_space == "unit" else torch.ones_like(spread))
    for identifier, image, lacks in zip(batch.ids, batch.images, hidden, strict=True):
        filled = infilled(image, lacks)
        if protocol.noise:
            drawn = [infill_noise(identifier, step, protocol.noise_seed, image) for step in protocol.fractions]
            noise = deviation * torch.stack(drawn)
            filled += torch.cat([noise, noise]) * lacks[:, None]
        yield filled


def _parts(copies: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The same images, `size` at a time but for the last: a forward of fewer costs as much."""
    rest: Tensor | None = None
    for more in copies:
        rest = more if rest is None else torch.cat([rest, more])
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest is not None and len(rest):
        yield rest
