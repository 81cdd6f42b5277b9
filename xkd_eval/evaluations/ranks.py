"""Removal order: which pixel goes first, and what decides between equal ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from xkd_eval.resizing import resized

_MASK_64 = (1 << 64) - 1


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w) -> (B, H, W) float32, see `resized`; degenerate maps become all zero.

    A map with NaN, infinite or only equal values orders nothing. As zeros it is all ties, so every use of it falls
    back on the protocol's permutation: it scores like a random map and is counted, never taken for background.
    """
    return resized(torch.where(is_degenerate(maps)[:, None, None], torch.zeros_like(maps), maps).float(), size)


def is_degenerate(maps: Tensor) -> Tensor:
    """(B, h, w) -> (B,) bool: constant, or with a value that is not finite."""
    flat = maps.flatten(1)
    return ~flat.isfinite().all(1) | (flat.amax(1) == flat.amin(1))


def tie_permutation(n: int, seed: int) -> Tensor:
    """(n,) int64: the fixed pseudo-random permutation of pixels that breaks ties, the same for every model.

    Pixels are sorted by the splitmix64 hash of their number, so the permutation depends on no library's generator.
    """
    with np.errstate(over="ignore"):
        state = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state += np.uint64((seed * 0xD1342543DE82EF95) & _MASK_64)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return torch.from_numpy(np.argsort(state, kind="stable").astype(np.int64))


class RemovalOrder:
    """Ranks pixels by relevance under one tie permutation.

    Args:
        size: (H, W) of the maps.
        seed: of the permutation.
        device: where the ranks are computed.
    """

    def __init__(self, size: tuple[int, int], seed: int, device: torch.device) -> None:
        self._pixels = tie_permutation(size[0] * size[1], seed).to(device)
        self._places = torch.empty_like(self._pixels)
        self._places[self._pixels] = torch.arange(len(self._pixels), device=device)

    def descending(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Rank the most relevant pixel first.

        Args:
            maps: (B, H, W) float32, finite.

        Returns:
            ranks (B, H, W) int32, 0 = removed first; and the tie share (B,) float32, the share of pixels whose value
            occurs more than once in their map.
        """
        keys = _sorted(self._keys(-maps.flatten(1)))
        pixels = self._pixels[keys & 0xFFFFFFFF]
        ranks = torch.empty_like(pixels, dtype=torch.int32)
        order = torch.arange(pixels.shape[1], dtype=torch.int32, device=pixels.device)
        ranks.scatter_(1, pixels, order.expand_as(ranks))
        return ranks.reshape(maps.shape), _tie_share(keys >> 32)

    def ascending(self, maps: Tensor) -> Tensor:
        """Rank the least relevant pixel first: the order of the negated map, ties by the same permutation."""
        return self.descending(-maps)[0]

    def _keys(self, values: Tensor) -> Tensor:
        # One unique integer a pixel: the float's bits, made monotonic, above the pixel's place in the permutation. An
        # integer sort is six times faster on a CPU than a stable argsort, and needs no stability.
        bits = (values + 0.0).view(torch.int32)  # + 0.0 turns -0.0, which would rank below 0.0, into 0.0
        monotonic = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
        return (monotonic.long() << 32) | self._places


@lru_cache(maxsize=16)
def removal_order(size: tuple[int, int], seed: int, device: torch.device) -> RemovalOrder:
    """A RemovalOrder, made once; arguments as there."""
    return RemovalOrder(size, seed, device)


def _sorted(keys: Tensor) -> Tensor:
    if keys.device.type == "cpu":
        return torch.from_numpy(np.sort(keys.numpy(), axis=1))
    return keys.sort(dim=1).values


def _tie_share(values: Tensor) -> Tensor:
    equal = values[:, 1:] == values[:, :-1]
    none = torch.zeros_like(equal[:, :1])
    return (torch.cat([none, equal], 1) | torch.cat([equal, none], 1)).float().mean(1)
