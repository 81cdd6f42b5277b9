"""observe: any network with its maps beside its logits, for a training loop of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from distill.methods.base import Requirement
from distill.training.networks import find_head, tap_at
from distill.training.observed import EMBEDDING, Observed
from distill.training.preactivations import preactivations_of
from distill.training.stage_maps import stages_of
from distill.training.trunk import Tap, Trunk, keep_activations
from xkd_eval.arguments import public
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.copies import is_float32, unwrapped
from xkd_eval.classifiers.loading import load_classifier, open_classifier
from xkd_eval.classifiers.proof.head import find_embedding
from xkd_eval.errors import XkdError


@public()
def observe(
    model: str | Path | nn.Module,
    *,
    taps: Sequence[str] | Literal["stages", "preactivations"] = (),
    input_gradients: bool = False,
    **overrides: Any,
) -> Observed:
    """A network whose forward returns a Pass: its last map and its head beside its logits, for a loop of one's own.

    Args:
        model: a module, which is the one that runs: train it, in its own mode and on its own device. Or what
            `load_classifier` takes, a file, a name or a Classifier: a teacher, frozen, in eval mode and on the CPU
            until it is moved.
        taps: paths of modules whose outputs are kept as maps, "before PATH" for what one is given, "stages" for the
            network's own, or "preactivations" for these before their ReLU. Its activations then no longer work in
            place.
        input_gradients: let the images require a gradient, which `losses.e2kd_loss` takes.
        overrides: as for `load_classifier`. Fields of Preprocess, such as the `size` at which the CAM head is looked
            for, are those that the model comes with, by default, and 224 pixels for a plain module.

    Returns:
        A module: images (B, 3, H, W), normalised, to a Pass. `features` are None where the CAM head is none in closed
        form, as `classifier.head_refusal` says; `embedding()` holds there too, if a linear layer gives the logits.
        The network's modules keep hooks: save its state_dict, not the module.

    Raises:
        XkdError: what `load_classifier` refuses; a module that is not float32 (autocast trains it in less), or one
            within torch.compile or DistributedDataParallel, which go around what is returned; no such tap.

    Example:
        >>> import torch, distill
        >>> from torch import nn
        >>> convolution, head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)
        >>> network = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
        >>> student = distill.observe(network, size=32)
        >>> passed = student(torch.rand(2, 3, 32, 32))
        >>> passed.logits.shape, passed.features.shape, passed.cams().shape
        (torch.Size([2, 5]), torch.Size([2, 8, 30, 30]), torch.Size([2, 5, 30, 30]))
    """
    own = model if isinstance(model, nn.Module) and not isinstance(model, Classifier) else None
    if own is not None:
        _check_plain(own, overrides)
        classifier = _around(own, open_classifier(own, **overrides))  # its caller normalises the images himself
    else:
        classifier = load_classifier(model, **overrides).private()
    kept = _taps(classifier, taps) if taps else ()
    needs: set[Requirement] = {"logits"}
    if classifier.head is not None:
        needs.add("features")
    elif (path := find_embedding(classifier.model, classifier.preprocess)) is not None:
        needs.add("embedding")
        classifier.known[EMBEDDING] = path
    if input_gradients:
        needs.add("input gradients")
    return Observed(classifier, frozenset(needs), kept, trains=own is not None)


def _check_plain(model: nn.Module, overrides: Mapping[str, Any]) -> None:
    """Refuse what would make the Classifier another module than the caller's."""
    if overrides.get("weights") is not None:
        raise XkdError("weights: found beside a module; load them into it")
    if unwrapped(model) is not model:
        raise XkdError(
            f"model: {type(model).__name__} found; pass the module within it, and wrap what `observe` returns"
        )
    if not is_float32(model):
        raise XkdError(f"model: {type(model).__name__} is not float32; train it in less by torch.autocast")


def _around(model: nn.Module, found: Classifier) -> Classifier:
    """What was found of a module's copy, said of the module itself."""
    return Classifier(
        model,
        found.preprocess,
        name=found.name,
        num_classes=found.num_classes,
        head=found.head,
        head_refusal=found.head_refusal,
    )


def _taps(classifier: Classifier, taps: Sequence[str]) -> tuple[Tap, ...]:
    keep_activations(classifier.model)
    find_head(classifier)  # its map may have been one that an activation wrote to
    trunk = Trunk(classifier.model, classifier.preprocess)
    if not isinstance(taps, str):
        return tuple(tap_at(path, classifier.model, trunk, "taps") for path in dict.fromkeys(taps))
    found = (preactivations_of if taps == "preactivations" else stages_of)(classifier.model, trunk)
    if not found:
        raise XkdError(f"taps: no stages of {classifier.name} found; list module paths")
    return found
