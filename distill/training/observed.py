"""What the methods observe of a network's pass: its maps, taps and head beside the logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods import Pass
from distill.methods.base import Requirement
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.hooks import ForwardHooks
from xkd_eval.classifiers.preprocess import Preprocess


class Observed(nn.Module):
    """A classifier whose forward returns what the losses need of it.

    The classifier's modules get forward hooks for as long as this lives.

    Args:
        classifier: student or teacher.
        needs: what its passes must hold.
        taps: module paths whose outputs are kept.
    """

    def __init__(self, classifier: Classifier, needs: frozenset[Requirement], taps: Sequence[str]) -> None:
        super().__init__()
        self.classifier = classifier
        self._needs = needs
        self._seen: dict[str, Tensor] = {}
        self._taps = frozenset(taps)
        self._network: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]] = self._run
        features = {classifier.head.features} if "features" in needs and classifier.head is not None else set()
        observed = {path: classifier.model.get_submodule(path) for path in self._taps | features}
        ForwardHooks(observed, self._keep).__enter__()  # for good: a compiled network is traced with its hooks

    def forward(self, images: Tensor) -> Pass:
        """(B, 3, H, W) normalised -> Pass; its taps are in the order in which the network makes them."""
        if "input gradients" in self._needs:
            images = images.requires_grad_()
        logits, seen = self._network(images)
        if "features" not in self._needs:
            return Pass(logits, taps=seen, images=images)
        head = self.classifier.head
        assert head is not None
        return Pass(
            logits,
            features=self.classifier.cam_features(seen[head.features]),
            head_weight=self.classifier.head_weight,
            head_bias=self.classifier.head_bias,
            taps={path: output for path, output in seen.items() if path in self._taps},
            images=images,
        )

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Run the network through torch.compile from the next forward on."""
        self._network = torch.compile(self._run, *args, **kwargs)

    def _run(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self._seen.clear()
        logits = self.classifier.model(images)
        return logits, dict(self._seen)

    def _keep(self, path: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._seen[path] = output


class Normaliser(nn.Module):
    """Preprocess.normalise with its constants on the device, and the network's own input size.

    Args:
        preprocess: student's or teacher's.
        memory_format: of the result.
    """

    def __init__(self, preprocess: Preprocess, memory_format: torch.memory_format) -> None:
        super().__init__()
        self._size = preprocess.size
        self._bgr = preprocess.channel_order == "BGR"
        self._memory_format = memory_format
        scale = preprocess.value_range / 255
        mean, std = (
            torch.tensor(preprocess.mean, dtype=torch.float64),
            torch.tensor(preprocess.std, dtype=torch.float64),
        )
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", (scale / std).float().reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("offset", (-mean / std).float().reshape(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, h, w) uint8 RGB -> (B, 3, H, W) float32, what the network is fed with."""
        values = pixels.float()
        if values.shape[2:] != self._size:
            values = F.interpolate(values, size=self._size, mode="bilinear", antialias=True, align_corners=False)
        if self._bgr:
            values = values.flip(1)
        return (values * self.scale + self.offset).contiguous(memory_format=self._memory_format)
