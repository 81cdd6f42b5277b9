"""Batch norms folded into the convolutions before them, wherever that is proven to change nothing."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.copies import copied
from xkd_eval.classifiers.hooks import ForwardHooks

# Folding reorders one multiplication: results move by rounding, about 1e-6 of the largest logit.
_TOLERANCE = 1e-4
_NOISE_SEED = 4

Pair = tuple[str, str]
"""Paths of a convolution and of the batch norm that is given its very output."""


def fold_batch_norms(classifier: Classifier, probe: Tensor, observed: Collection[str] = ()) -> None:
    """Replace a classifier's network by its folded copy, if folding changes neither it nor one with other statistics.

    The statistics of a freshly made norm are close to the identity: with them a wrong fold would pass. Module paths
    stay: a folded norm becomes an identity, or what it did after normalising.

    Args:
        classifier: in eval mode, float32, on the CPU: elsewhere convolutions may round more than the comparison allows.
        probe: (B, 3, H, W) normalised.
        observed: paths of modules whose outputs are looked at: a convolution among them stays as it is.
    """
    steps = () if classifier.head is None else classifier.head.steps
    read = {path for step in steps for path in step.paths}  # their numbers make the maps
    pairs = [
        pair for pair in _conv_norm_pairs(classifier.model, probe) if pair[0] not in observed and read.isdisjoint(pair)
    ]
    if not pairs:
        return
    # Folding makes new weights and perturbing writes to buffers, so that no parameter needs a copy.
    perturbed, folded = (copied(classifier, sharing=classifier.parameters()) for _ in range(2))
    _perturb_statistics([perturbed.model.get_submodule(norm) for _, norm in pairs])
    if _survives_folding(perturbed, pairs, probe) and _survives_folding(folded, pairs, probe):
        classifier.model = folded.model


@torch.no_grad()
def logits_and_features(classifier: Classifier, probe: Tensor) -> list[Tensor]:
    """Logits, and features where the classifier has a CAM head, of (B, 3, H, W) normalised images."""
    return [classifier(probe)] if classifier.head is None else list(classifier.forward_with_features(probe))


def _survives_folding(classifier: Classifier, pairs: list[Pair], probe: Tensor) -> bool:
    """Fold in place, and tell whether logits and features are still those of before."""
    before = logits_and_features(classifier, probe)
    for pair in pairs:
        _fold(classifier.model, *pair)
    try:
        after = logits_and_features(classifier, probe)
    except AttributeError:  # the network reads an attribute of a norm that is no more
        return False
    return all(_close(a, b) for a, b in zip(after, before, strict=True))


def _close(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= _TOLERANCE * theirs.abs().max())


def _perturb_statistics(norms: list[nn.Module]) -> None:
    generator = torch.Generator().manual_seed(_NOISE_SEED)
    for norm in norms:
        mean, variance = norm.running_mean, norm.running_var
        assert isinstance(mean, Tensor) and isinstance(variance, Tensor)
        mean += 0.3 * variance.sqrt() * torch.randn(mean.shape, generator=generator)
        variance *= 0.7 + 0.6 * torch.rand(variance.shape, generator=generator)


def _conv_norm_pairs(model: nn.Module, probe: Tensor) -> list[Pair]:
    """The pairs whose two modules are each called once."""
    produced: dict[int, tuple[str, Tensor]] = {}  # the tensor is kept, so that its id stays its own
    pairs: list[Pair] = []
    calls: Counter[str] = Counter()

    def seen(path: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[path] += 1
        if isinstance(module, nn.Conv2d):
            produced[id(output)] = path, output
        elif id(inputs[0]) in produced:
            pairs.append((produced[id(inputs[0])][0], path))

    foldable = {path: module for path, module in model.named_modules() if _is_foldable(module)}
    with ForwardHooks(foldable, seen), torch.no_grad():
        model(probe)
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1]


def _is_foldable(module: nn.Module) -> bool:
    """A convolution whose weight is a plain parameter, or a batch norm with statistics."""
    if isinstance(module, nn.Conv2d):
        return "weight" in dict(module.named_parameters(recurse=False))
    return isinstance(module, nn.BatchNorm2d) and module.running_mean is not None


def _fold(model: nn.Module, conv_path: str, norm_path: str) -> None:
    conv, norm = model.get_submodule(conv_path), model.get_submodule(norm_path)
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    # timm's BatchNormAct2d holds what follows it, under names that a CAM head may point to.
    held = OrderedDict((name, child) for name, child in norm.named_children() if name in ("drop", "act"))
    model.set_submodule(norm_path, nn.Sequential(held) if held else nn.Identity())
