"""Proof: a network on an engine is held to what torch makes of it, on images of noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.engines.base import Engine, Forward, Precision
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reason

_SEED = 7
# Of the largest value. float32 engines add up in another order; TF32 has 10 bits of mantissa, bfloat16 has 8.
_TOLERANCES: dict[Precision, float] = {"fp32": 1e-4, "tf32": 5e-3, "bf16": 0.05}
_LOGITS = "logits"


def probes(preprocess: Preprocess, chunk: int) -> Tensor:
    """(chunk, C, H, W) of noise, the first rows of each black, from none to almost all."""
    images = random_images(preprocess, _SEED, chunk)
    black = preprocess.normalise(torch.zeros_like(images[:1]))[0]
    for place, image in enumerate(images):
        rows = preprocess.size[0] * place // chunk
        image[:, :rows] = black[:, :rows]
    return images


def proven(
    engine: Engine,
    network: nn.Module,
    expected: Callable[[Tensor], Tensor],
    images: Tensor,
    precision: Precision = "fp32",
    parts: Mapping[str, int] | None = None,
) -> Forward:
    """A network on an engine, once that has given torch's answers to some images.

    No value may differ by more than 0.0001 of the largest of its part (0.05 in bfloat16); and an image's values are the
    same bits wherever it stands in the chunk, and beside black images.

    Args:
        engine: that runs it.
        network: as for `Engine.compiled`; its outputs (chunk, K) may be several things side by side.
        expected: what torch makes of images, (chunk, C, H, W) -> (chunk, K).
        images: of `probes`.
        precision: in which the engine computes.
        parts: name to width of what stands side by side, in order; all of it are logits by default.

    Raises:
        XkdError: what is wrong, as words that follow "it is not run by the engine: ".
    """
    with plain_torch(), torch.inference_mode(False), torch.no_grad():
        try:
            compiled = engine.compiled(network, images, precision)
        except XkdError:
            raise
        except Exception as error:  # an exporter or a converter may raise anything on a network from outside
            raise XkdError(f"it cannot convert the network ({reason(error)})") from error

        def forward(images: Tensor) -> Tensor:
            return compiled(images.float().contiguous()).float()

        theirs, ours = forward(images), expected(images)
        if theirs.shape != ours.shape:
            raise XkdError(f"it gives {_LOGITS} {tuple(theirs.shape)}, and torch {tuple(ours.shape)}")
        for name, its, own in _by_part(parts or {_LOGITS: ours.shape[1]}, theirs, ours):
            allowed = _TOLERANCES[precision] * own.abs().max()
            difference = (its - own).abs().max()
            if not difference <= allowed:  # nor is NaN
                raise XkdError(f"its {name} differ from torch's by {difference:.2g}, and {allowed:.2g} is allowed")
        alone = forward(torch.cat([images[:1], torch.zeros_like(images[1:])]))[0]
        if not torch.equal(forward(images.flip(0)).flip(0), theirs) or not torch.equal(alone, theirs[0]):
            raise XkdError("its answer to an image depends on the others of a batch")
    return forward


def _by_part(parts: Mapping[str, int], theirs: Tensor, ours: Tensor) -> list[tuple[str, Tensor, Tensor]]:
    widths = list(parts.values())
    return list(zip(parts, theirs.split(widths, 1), ours.split(widths, 1), strict=True))
