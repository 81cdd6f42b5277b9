"""What a batch knows of where its objects are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from xkd_eval.datasets.loader import Item
from xkd_eval.devices import sent


def masks_of(items: Sequence[Item], device: torch.device) -> Tensor | None:
    """(B, h, w) int8; None for sets without masks."""
    masks = [item.mask for item in items if item.mask is not None]
    return sent(torch.stack(masks), device) if masks else None


def regions_of(items: Sequence[Item]) -> dict[str, Any]:
    """Fields of a `Batch`: the boxes, those of the masks, and the sizes that they are of."""
    return {
        "sizes": tuple(item.size for item in items),
        "boxes": _all_of([item.boxes for item in items]),
        "mask_boxes": _all_of([item.mask_box for item in items]),
    }


def _all_of(boxes: Sequence[Tensor | None]) -> tuple[Tensor, ...] | None:
    there = tuple(found for found in boxes if found is not None)
    return there if len(there) == len(boxes) else None
