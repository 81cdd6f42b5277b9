"""Heads that compare directions: logits are cosines of the pooled vector and a row a class, times a number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class Cosine(NamedTuple):
    """How a matrix makes logits of vectors of unit length (CLIP's text weights, the heads of metric learning).

    Attributes:
        scale: what the products are multiplied by.
        unit_rows: the rows are brought to unit length first.
        transposed: the matrix is (C, K).
    """

    scale: float
    unit_rows: bool
    transposed: bool

    def weight(self, matrix: Tensor) -> Tensor:
        """(K, C) of the matrix."""
        rows = matrix.detach().float()
        rows = rows.T if self.transposed else rows
        return self.scale * (F.normalize(rows) if self.unit_rows else rows)


def matrices(model: nn.Module, num_classes: int) -> dict[str, Tensor]:
    """A network's parameters and buffers that have a row, or a column, a class, by path."""
    named = (*model.named_parameters(), *model.named_buffers())
    return {
        path: tensor.detach()
        for path, tensor in named
        if tensor.ndim == 2 and num_classes in tensor.shape and tensor.is_floating_point()
    }


def cosines(unit: Tensor, matrix: Tensor, logits: Tensor) -> Iterator[Cosine]:
    """The ways in which vectors (B, C) of unit length and a matrix may make logits (B, K), each with its best scale."""
    for transposed in (False, True):
        rows = matrix.T if transposed else matrix
        if rows.shape != (logits.shape[1], unit.shape[1]):
            continue
        for unit_rows in (False, True):
            products = unit @ Cosine(1.0, unit_rows, transposed).weight(matrix).T
            scale = float((products * logits).sum() / products.square().sum().clamp_min(1e-30))
            yield Cosine(scale, unit_rows, transposed)


def tensor_at(model: nn.Module, path: str) -> Tensor:
    """A parameter or buffer by its path."""
    module, _, name = path.rpartition(".")
    found = getattr(model.get_submodule(module), name)
    assert isinstance(found, Tensor)
    return found
