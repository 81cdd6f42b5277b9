"""A copy of a classifier made for forwards alone: channels last, batch norms folded, bfloat16 where it is asked for."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import NoReturn

import torch
from torch import Tensor

from xkd_eval.ambient import Products, plain_torch
from xkd_eval.classifiers.classifier import Classifier, ForwardOutput
from xkd_eval.classifiers.copies import copied
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.engines.bfloat16 import to_bfloat16
from xkd_eval.engines.folding import fold_batch_norms, logits_and_features
from xkd_eval.engines.tf32 import check_tf32
from xkd_eval.errors import XkdError

_PROBE_SEED = 3
_ALONE, _ALONE_TOLERANCE = "answers depend on the image alone", 1e-4


@plain_torch()
def prepare(
    classifier: Classifier, device: torch.device, precision: str = "fp32", size: tuple[int, int] | None = None
) -> Classifier:
    """A copy that gives the same logits and features faster; for inference alone.

    Convolutions run channels-last, and every batch norm that directly follows a convolution is folded into it, if that
    leaves the network the function that it was. Module paths stay, so the CAM head does too.

    Args:
        classifier: left as it is.
        device: of the copy.
        precision: "fp32"; "tf32", float32 whose products are of TF32; or "bf16": bfloat16 but for the head, the
            convolutions that sum few terms and what is returned.
        size: (H, W) of the images to come; the classifier's own by default.

    Raises:
        XkdError: the network gives logits that are not finite, or not of an image alone, or does not run in bfloat16,
            as a graph of a file does not; the device has no TF32.
    """
    if precision != "fp32" and isinstance(classifier.model, GraphNetwork):
        raise XkdError(
            f"precision: {precision} found, and {classifier.name} is run by its own engine, in the precision that its "
            "file says; use fp32"
        )
    if precision == "tf32":
        check_tf32(device)
    prepared = _Prepared(copied(classifier).cpu().float().eval())
    probe = random_images(replace(classifier.preprocess, size=size or classifier.preprocess.size), _PROBE_SEED)
    check_finite(logits_and_features(prepared, probe)[0], classifier.name, "noise")
    _check_alone(prepared, probe)
    fold_batch_norms(prepared, probe)
    prepared.to(device).model.to(memory_format=torch.channels_last)
    if precision == "tf32":
        prepared.products = "tf32"
    elif precision == "bf16":
        prepared.to_bfloat16()
        _check_runs(prepared, probe.to(device))
    return prepared


def check_alone(classifier: Classifier) -> None:
    """Raise XkdError for a network that draws at random, or whose answer depends on the other images of a batch.

    Args:
        classifier: a private one; what is found is kept for its original.
    """
    if _ALONE not in classifier.known:
        _check_alone(classifier, random_images(classifier.preprocess, _PROBE_SEED).to(classifier.device))
        classifier.known[_ALONE] = True


def on_device(classifier: Classifier, device: torch.device) -> Classifier:
    """The classifier itself where it is on `device` already, else a copy that is: the caller's stays where it was."""
    tensor = next(chain(classifier.parameters(), classifier.buffers()), None)
    return classifier if tensor is None or tensor.device == device else copied(classifier).to(device)


def check_finite(logits: Tensor, name: str, where: str) -> None:
    """Raise XkdError where (B, K) logits of the classifier called `name` hold NaN or infinity.

    Args:
        logits: what the network gave.
        name: of the classifier.
        where: which images they belong to, for the message.
    """
    if not logits.isfinite().all():
        refuse_logits(name, where)


def refuse_logits(name: str, where: str) -> NoReturn:
    """Raise XkdError for logits that are not finite, as `check_finite` does."""
    raise XkdError(f"model: {name} gives logits that are not finite on {where}; check its weights")


class _Prepared(Classifier):
    """A classifier whose inputs are cast to what its network computes in, and whose outputs are float32.

    The network is its own, in eval mode, and nobody looks into it meanwhile.

    Attributes:
        products: what those of float32 are made of.
    """

    products: Products = "ieee"

    def __init__(self, classifier: Classifier) -> None:
        super().__init__(
            classifier.model,
            classifier.preprocess,
            name=classifier.name,
            num_classes=classifier.num_classes,
            class_names=classifier.class_names,
            wordnet_ids=classifier.wordnet_ids,
            head=classifier.head,
            head_refusal=classifier.head_refusal,
        )
        self._dtype = torch.float32

    def forward(self, images: Tensor) -> Tensor:
        """See Classifier.forward."""
        with plain_torch(self.products):
            return self._checked(self.model(self._cast(images)), images).float()

    def forward_with_features(self, images: Tensor) -> ForwardOutput:
        """See Classifier.forward_with_features."""
        with plain_torch(self.products):
            logits, features = self._observed(self._cast(images))
            return ForwardOutput(self._checked(logits, images).float(), features)

    def to_bfloat16(self) -> None:
        """Compute in bfloat16 what bears it."""
        self._dtype = torch.bfloat16
        to_bfloat16(self.model, [] if self.head is None else self.head.layers)

    def _cast(self, images: Tensor) -> Tensor:
        return images.to(self._dtype, memory_format=torch.channels_last)

    def cam_features(self, output: Tensor) -> Tensor:
        """See Classifier.cam_features."""
        return super().cam_features(output.float())


@torch.no_grad()
def _check_alone(classifier: Classifier, probe: Tensor) -> None:
    """The first image is classified twice, the second time beside black ones; nothing else may change its logits."""
    padded = torch.cat([probe[:1], torch.zeros_like(probe[1:])])
    first, again = (classifier(images)[0] for images in (probe, padded))
    if (first - again).abs().max() > _ALONE_TOLERANCE * first.abs().max():
        raise XkdError(
            f"model: {classifier.name} answers otherwise when an image is classified again, beside others; leave out "
            "what draws at random or takes statistics over the batch when it is evaluated"
        )


def _check_runs(prepared: Classifier, probe: Tensor) -> None:
    try:
        logits_and_features(prepared, probe)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise XkdError(f"precision: {prepared.name} does not run in bfloat16 ({reason}); use fp32") from error
