"""Multigrid: every pixel of a hole becomes the weighted mean of its neighbours, all of them at once.

The system is symmetric and positive, so conjugate gradients hold (Hestenes and Stiefel, 1952); one cycle over grids of
half, a quarter, ... of the side (Trottenberg et al., Multigrid, 2001) stands for the inverse, whatever the holes.
Seven rounds reach seven digits, where a sparse factorisation takes several times as long.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from xkd_eval.errors import XkdError

TOLERANCE = 4e-6
"""Of the last correction, as a share of the largest value; the error that is left is about a tenth of it."""

_MOST_ROUNDS = 200
_COARSEST = 16  # the side of the grid on which the system is inverted
# In a small hole two nodes of a coarser grid may reach the same pixels, and their equations be one.
_RIDGE = 1e-4


def neighbour_sums(images: Tensor) -> Tensor:
    """Weighted sums over the 8 neighbours of each pixel: 1/6 for direct, 1/12 for diagonal ones, 0 for those outside.

    Args:
        images: (..., H, W).
    """
    return _binomial(images).sub_(images, alpha=4).div_(12)


def solve_holes(holes: Tensor, right: Tensor) -> Tensor:
    """Solve weight u - neighbour_sums(u) = right at each pixel of the holes, where u is 0 outside them.

    The weight is that of the pixel's neighbours within the image.

    Args:
        holes: (S, 1, H, W) booleans, none of them the whole image.
        right: (S, C, H, W) float64, 0 outside the holes.

    Returns:
        u, (S, C, H, W) float64. Sums run along rows first, so it does not depend on the number of threads.

    Raises:
        XkdError: values that are not finite, for which there is no solution.
    """
    operator, inverse = _Finest(holes.double()), _Cycle(holes.float())
    solution, residual, direction = torch.zeros_like(right), right.clone(), torch.zeros_like(right)
    former = torch.full_like(right[..., :1, :1], torch.inf)
    for _ in range(_MOST_ROUNDS):
        correction = inverse(residual.float()).double()
        product = _dot(residual, correction)
        direction.mul_(product / former).add_(correction)
        image = operator(direction)
        energy = _dot(direction, image)
        step = torch.where(energy > 0, product / energy, 0.0)  # nothing is left to do in a channel that is solved
        solution.addcmul_(step, direction)
        residual.addcmul_(step, image, value=-1)
        former = torch.where(product > 0, product, torch.inf)
        if correction.abs().amax() <= TOLERANCE * solution.abs().amax():
            return solution
    raise XkdError(f"infill: no solution within {_MOST_ROUNDS} rounds; expected images of finite values")


class _Finest:
    """The system itself on the pixels: known weights, zero outside the holes.

    Args:
        holes: (S, 1, H, W), 1 in the holes and 0 outside.
    """

    def __init__(self, holes: Tensor) -> None:
        self.size = (holes.shape[-2], holes.shape[-1])
        self.holes = holes
        weights = neighbour_sums(torch.ones_like(holes[:1]))
        self.relaxation = holes / weights
        self._own, self._others = holes * (weights + 1 / 3), holes / -12

    def __call__(self, values: Tensor) -> Tensor:
        return torch.addcmul(self._own * values, self._others, _binomial(values))


class _Coarser:
    """A system of nine weights a node.

    Args:
        stencil: nine (S, 1, h, w), the weights of the neighbours row by row, the node's own in the middle.
    """

    def __init__(self, stencil: list[Tensor]) -> None:
        own = stencil[4] * (1 + _RIDGE)
        self._stencil = [*stencil[:4], torch.where(own > 0, own, 1.0), *stencil[5:]]  # a node may reach no hole
        self.size = (own.shape[-2], own.shape[-1])
        self.relaxation = 1 / self._stencil[4]

    def __call__(self, values: Tensor) -> Tensor:
        height, width = self.size
        around = F.pad(values, (1, 1, 1, 1))
        sums = self._stencil[4] * values
        for place in (0, 1, 2, 3, 5, 6, 7, 8):
            y, x = divmod(place, 3)
            sums.addcmul_(self._stencil[place], around[..., y : y + height, x : x + width])
        return sums

    def inverted(self) -> Tensor:
        """(S, h w, h w) float32."""
        height, width = self.size
        each = torch.eye(height * width).reshape(1, height * width, height, width).to(self.relaxation)
        return torch.linalg.inv(self(each).flatten(2).double()).float()


class _Cycle:
    """One V-cycle, by which a residual becomes a correction: symmetric and positive, as conjugate gradients need.

    Jacobi's relaxation takes two thirds of what is rough: its eigenvalues are within 2/3 and 4/3 there.

    Args:
        holes: as of _Finest, float32.
    """

    def __init__(self, holes: Tensor) -> None:
        self._finest = _Finest(holes)
        self._coarser = [_halved(self._finest, holes)]
        while max(self._coarser[-1].size) > _COARSEST:
            self._coarser.append(_halved(self._coarser[-1]))
        self._inverse = self._coarser[-1].inverted()

    def __call__(self, residual: Tensor, level: int = 0) -> Tensor:
        if level == len(self._coarser):
            return (residual.flatten(2) @ self._inverse).reshape(residual.shape)
        operator = self._coarser[level - 1] if level else self._finest
        found = operator.relaxation * residual
        coarse = self(_restricted(residual - operator(found)), level + 1)
        found += _prolonged(coarse, operator.size) * (1 if level else self._finest.holes)
        return found.addcmul_(operator.relaxation, residual - operator(found))


def _halved(operator: _Finest | _Coarser, holes: Tensor | None = None) -> _Coarser:
    """The system on every other pixel of every other row, values between which are interpolated: Galerkin's.

    It is read off answers to nine patterns of ones, three apart, of which no two reach the same node.
    """
    height, width = (side // 2 + 1 for side in operator.size)
    patterns = torch.zeros(1, 9, height, width).to(operator.relaxation)
    for place in range(9):
        patterns[0, place, place // 3 :: 3, place % 3 :: 3] = 1
    fine = _prolonged(patterns, operator.size)
    answers = _restricted(operator(fine if holes is None else fine * holes))
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    stencil = []
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):
            patterns_of = ((rows + y) % 3) * 3 + (columns + x) % 3
            stencil.append(answers[:, patterns_of, rows, columns][:, None])
    return _Coarser(stencil)


def _binomial(values: Tensor) -> Tensor:
    """[1 2 1] along columns and rows, 0 outside: four times a pixel, twice its direct, once its diagonal neighbours."""
    around = F.pad(values, (1, 1, 1, 1))
    rows = (around[..., :-2, :] + around[..., 2:, :]).add_(around[..., 1:-1, :], alpha=2)
    return (rows[..., :-2] + rows[..., 2:]).add_(rows[..., 1:-1], alpha=2)


def _prolonged(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear: node i stands on pixel 2 i, the last one beside the image where a side is even."""
    *leading, height, width = values.shape
    tall = values.new_empty(*leading, 2 * height - 1, width)
    tall[..., ::2, :] = values
    torch.add(values[..., :-1, :], values[..., 1:, :], out=tall[..., 1::2, :]).mul_(0.5)
    wide = values.new_empty(*leading, 2 * height - 1, 2 * width - 1)
    wide[..., ::2] = tall
    torch.add(tall[..., :-1], tall[..., 1:], out=wide[..., 1::2]).mul_(0.5)
    return wide[..., : size[0], : size[1]]


def _restricted(values: Tensor) -> Tensor:
    """The transpose of _prolonged."""
    height, width = values.shape[-2:]
    around = F.pad(values, (1, 2 - width % 2, 1, 2 - height % 2))
    rows = (around[..., :-1:2, :] + around[..., 2::2, :]).mul_(0.5).add_(around[..., 1::2, :])
    return (rows[..., :-1:2] + rows[..., 2::2]).mul_(0.5).add_(rows[..., 1::2])


def _dot(values: Tensor, others: Tensor) -> Tensor:
    return (values * others).sum(-1).sum(-1)[..., None, None]
