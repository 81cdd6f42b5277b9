"""Random numbers of an image: from its id, so that a row depends neither on its batch nor on the order."""

from __future__ import annotations

import hashlib

import numpy as np


def image_generator(identifier: str, seed: int, *purpose: int | str) -> np.random.Generator:
    """A generator for one image.

    Args:
        identifier: the image's id.
        seed: of the protocol.
        purpose: tells apart what is drawn for one image: a step, a sample.
    """
    named = repr((seed, identifier, *purpose)).encode()
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(named).digest()[:16], "big")))
