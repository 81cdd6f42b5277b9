"""The last layer whose output shows where: its places answer to those of the image, and the logits to its places."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.hooks import Outputs
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.ordinary import trace_of_ordinary_size
from xkd_eval.classifiers.proof.places import Reading, as_map, readings
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.classifiers.proof.trace import Trace, trace, working_copy

_SEARCH_SEED, _OTHER_SEED, _NOISE_SEED, _IMAGES = 0, 6, 2, 6
_FEWEST_READ = 0.25  # of the places; a class token reads none of what comes after its last attention
_FURTHEST, _AT_ONCE = 64, 8  # candidates that are asked, and how many in one forward
_LEAST_SHIFT, _STANDARD_ERRORS = 0.01, 3.0  # of the side, and beyond chance; a map of the image shifts by about 0.4

_Candidate = tuple[str, Reading]  # the path of a module, and how its output is read


@plain_torch()
def last_spatial_layer(model: nn.Module, preprocess: Preprocess) -> tuple[str, Reading] | None:
    """The module whose output is the last map, or tokens, of places that the logits depend on.

    For explainers that weigh a map, where no CAM head was found. Of tokens the outputs of norms and of modules made of
    others count: a linear layer within a block is no map of the image. Asked of a copy whose weights are of ordinary
    size, as at birth a head may be zero, and of the network as it is, in which no noise makes gates that see the whole
    image, such as squeeze-and-excitation, outweigh all else.

    Args:
        model: (B, 3, H, W) -> (B, K) logits; left as it was.
        preprocess: its input convention.

    Returns:
        Path and reading of its output; None where there is none.
    """
    images, exact = random_images(preprocess, _SEARCH_SEED), working_copy(model)
    copy, found = trace_of_ordinary_size(exact, images, _NOISE_SEED) or (exact, trace(exact, images))
    candidates = list(_candidates(copy, found, preprocess))
    networks = (copy, exact)
    read = dict.fromkeys(chain.from_iterable(_read_by_logits(network, candidates, preprocess) for network in networks))
    asked = list(read)[:_FURTHEST]
    for some in (asked[start : start + _AT_ONCE] for start in range(0, len(asked), _AT_ONCE)):
        aligned = [_aligned(network, preprocess, some) for network in networks]
        for candidate, is_any in zip(some, map(any, zip(*aligned, strict=True)), strict=True):
            if is_any:
                return candidate
    return None


def is_aligned(model: nn.Module, preprocess: Preprocess, path: str, reading: Reading) -> bool:
    """Whether the places of an output, read as a map, are those of the image, in its order.

    Each quarter of a few random images is changed: the map's change has to lie further right for a right quarter than
    for the left one beside it, and further down for a lower one, beyond what chance does over the images.

    Args:
        model: in eval mode, float32, on the CPU.
        preprocess: its input convention.
        path: of the module.
        reading: of its output.
    """
    return _aligned(model, preprocess, [(path, reading)])[0]


@torch.no_grad()
def _aligned(model: nn.Module, preprocess: Preprocess, candidates: list[_Candidate]) -> list[bool]:
    """`is_aligned` of several outputs, by the same forwards."""
    images, others = (random_images(preprocess, seed, _IMAGES) for seed in (_SEARCH_SEED, _OTHER_SEED))
    intact = _maps_of(model, preprocess, candidates, images)
    rows, columns = (side // 2 for side in preprocess.size)
    centres: list[list[Tensor]] = []  # of each quarter, of each candidate
    for top in (True, False):
        for left in (True, False):
            quarter = (
                slice(None, rows) if top else slice(rows, None),
                slice(None, columns) if left else slice(columns, None),
            )
            changed = images.clone()
            changed[:, :, *quarter] = others[:, :, *quarter]
            maps = _maps_of(model, preprocess, candidates, changed)
            centres.append([_centre((one - former).abs().sum(1)) for one, former in zip(maps, intact, strict=True)])
    return [_are_in_order(*of_one) for of_one in zip(*centres, strict=True)]


def _are_in_order(top_left: Tensor, top_right: Tensor, bottom_left: Tensor, bottom_right: Tensor) -> bool:
    rightwards = torch.cat([top_right - top_left, bottom_right - bottom_left])[:, 1]
    downwards = torch.cat([bottom_left - top_left, bottom_right - top_right])[:, 0]
    return _is_shift(rightwards) and _is_shift(downwards)


def _is_shift(differences: Tensor) -> bool:
    mean, error = float(differences.mean()), float(differences.std()) / len(differences) ** 0.5
    return mean > max(_LEAST_SHIFT, _STANDARD_ERRORS * error)


def _candidates(model: nn.Module, found: Trace, preprocess: Preprocess) -> Iterator[tuple[str, Reading]]:
    for path, output in reversed(found.outputs.items()):
        module = model.get_submodule(path)
        is_part = next(module.children(), None) is None and "norm" not in type(module).__name__.lower()
        if output.ndim == 3 and is_part:
            continue
        for reading in readings(output, preprocess.size):
            height, width = as_map(output, reading, preprocess.size).shape[2:]
            if min(height, width) > 1:
                yield path, reading


def _read_by_logits(
    model: nn.Module, candidates: list[tuple[str, Reading]], preprocess: Preprocess
) -> Iterator[tuple[str, Reading]]:
    """The candidates at whose places the logits have a gradient; all of them where no gradient passes at all."""
    modules = {path: model.get_submodule(path) for path, _ in candidates}
    images = random_images(preprocess, _SEARCH_SEED, 1).requires_grad_()
    with torch.enable_grad(), Outputs(modules, copied=True) as outputs:
        logits = model(images)
    passed = [path for path in modules if path in outputs and outputs[path].requires_grad]
    if not logits.requires_grad or not passed:
        yield from candidates
        return
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(_OTHER_SEED))
    gradients = torch.autograd.grad((logits * weights).sum(), [outputs[path] for path in passed], allow_unused=True)
    found = {path: gradient for path, gradient in zip(passed, gradients, strict=True) if gradient is not None}
    for path, reading in candidates:
        if path in found:
            read = as_map(found[path], reading, preprocess.size).abs().sum(1) > 0
            if float(read.float().mean()) >= _FEWEST_READ:
                yield path, reading


def _maps_of(model: nn.Module, preprocess: Preprocess, candidates: list[_Candidate], images: Tensor) -> list[Tensor]:
    with Outputs({path: model.get_submodule(path) for path, _ in candidates}, copied=True) as outputs:
        model(images)
    return [as_map(outputs[path], reading, preprocess.size) for path, reading in candidates]


def _centre(change: Tensor) -> Tensor:
    """(B, h, w) -> (B, 2): row and column about which a change lies, from 0 to 1; NaN where there is none."""
    share = change / change.sum((1, 2), keepdim=True)
    rows, columns = (torch.linspace(0, 1, side) for side in change.shape[1:])
    return torch.stack([(share.sum(2) * rows).sum(1), (share.sum(1) * columns).sum(1)], 1)
