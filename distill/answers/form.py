"""A teacher's answers to single images as they are stored in float16: logits, or the most probable classes; maps."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from distill.recipe.fields import Count, Strict
from xkd_eval.errors import XkdError

_HALF = "<f2"
# The smallest of these that holds a class.
_CLASS_TYPES = (("<u1", 2**8), ("<u2", 2**16), ("<u4", 2**32))

MapShape = Annotated[tuple[Count, Count, Count], Field(strict=False)]


class AnswerForm(Strict):
    """What is stored of the answer to one image.

    Of the k most probable classes their logarithms of probabilities and indices; and, unlike TinyViT (Wu et al., ECCV
    2022), the logarithm of what the other classes have together, which is spread evenly over them. Taken as what the k
    leave of 1, the rest of a sure answer would be the rounding of float16.

    Attributes:
        classes: K, of the data.
        top_k: k, below K; None where all logits are stored.
        maps: (C, h, w) of the last map; None where it is not stored.
    """

    classes: Count
    top_k: Count | None
    maps: MapShape | None

    @property
    def record(self) -> np.dtype[np.void]:
        """Of one image: "values", "classes" where not all are stored, "maps" where they are."""
        fields: list[tuple[str, str, tuple[int, ...]]] = [("values", _HALF, (self.classes,))]
        if self.top_k is not None:
            kind = next(kind for kind, end in _CLASS_TYPES if self.classes <= end)
            fields = [("values", _HALF, (self.top_k + 1,)), ("classes", kind, (self.top_k,))]
        if self.maps is not None:
            fields.append(("maps", _HALF, self.maps))
        return np.dtype(fields)

    def encode(self, logits: Tensor, maps: Tensor | None) -> np.ndarray:
        """(B, K) logits and (B, C, h, w) maps -> (B,) records.

        Raises:
            XkdError: a number that float16 does not hold.
        """
        records = np.empty(len(logits), self.record)
        if self.top_k is None:
            records["values"] = _half(logits, "logits")
        else:
            probable, classes, rest = _split(logits.float().log_softmax(1), self.top_k)
            records["values"] = _half(torch.cat([probable, rest], dim=1), "log-probabilities")
            records["classes"] = classes.cpu().numpy()
        if self.maps is not None:
            assert maps is not None
            records["maps"] = _half(maps, "maps")
        return records

    def logits(self, values: np.ndarray, classes: np.ndarray | None, device: torch.device) -> Tensor:
        """The (B, K) float32 logits that the fields "values" and "classes" of (B,) records stand for.

        They are logarithms of probabilities that sum to 1 where not all are stored.
        """
        stored = torch.from_numpy(values.copy()).to(device).float()
        if self.top_k is None:
            return stored
        assert classes is not None
        indices = torch.from_numpy(classes.astype(np.int64)).to(device)
        rest = stored[:, self.top_k :] - math.log(self.classes - self.top_k)
        spread = rest.repeat(1, self.classes).scatter(1, indices, stored[:, : self.top_k])
        return spread.log_softmax(1)


def _split(log_probabilities: Tensor, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, k) of the most probable classes, (B, k) which these are, and (B, 1) of all others together."""
    probable, classes = log_probabilities.topk(top_k, dim=1)
    rest = log_probabilities.scatter(1, classes, -math.inf).logsumexp(1, keepdim=True)
    return probable, classes, rest


def _half(values: Tensor, what: str) -> np.ndarray:
    half = values.half()
    if not bool(half.isfinite().all()):
        raise XkdError(
            f"teacher: its {what} are no numbers that float16 holds, at most 65,504; check its weights and `preprocess`"
        )
    return half.cpu().numpy()
