"""The features that a row keeps: of some images only, as text, since a list would take as much of every image."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import numpy as np


def is_kept(identifiers: Sequence[str], n_images: int, at_most: int) -> np.ndarray:
    """Which images keep their features, by a hash of their ids: neither batch nor order enters.

    Args:
        identifiers: of the images.
        n_images: in the data set.
        at_most: about how many of these.

    Returns:
        (B,) booleans, all of a set that is no larger than `at_most`.
    """
    share = min(1.0, at_most / max(n_images, 1))
    return np.array([_place(identifier) < share for identifier in identifiers])


def packed(features: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(B, C) float32 -> (B,) texts, empty where the features are not kept."""
    values = np.ascontiguousarray(features, dtype="<f4")
    return np.array(
        [base64.b64encode(row).decode() if chosen else "" for row, chosen in zip(values, kept, strict=True)]
    )


def unpacked(texts: np.ndarray) -> np.ndarray:
    """(n,) texts, none of them empty -> (n, C) float64."""
    return np.stack([np.frombuffer(base64.b64decode(text), dtype="<f4") for text in texts]).astype(np.float64)


def _place(identifier: str) -> float:
    """In [0, 1)."""
    return int.from_bytes(hashlib.sha256(f"cka {identifier}".encode()).digest()[:7], "big") / 2**56
