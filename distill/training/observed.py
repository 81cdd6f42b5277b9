"""What the methods observe of a network's pass: its maps, taps and head beside the logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods import Pass
from distill.methods.base import Requirement
from distill.methods.explaining import Explaining
from distill.training.trunk import Tap
from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.classifiers.hooks import ForwardHooks
from xkd_eval.classifiers.preprocess import Preprocess, luminance
from xkd_eval.classifiers.proof.places import as_map
from xkd_eval.classifiers.proof.steps import moved

EMBEDDING = "embedding"
"""Key of `Classifier.known`: the path of the layer whose input is the embedding, where there is no CAM head."""

# Beside the taps' paths, which hold no brackets.
_MAP, _SOURCE, _POOLED, _DISTILLED = "(map)", "(source)", "(pooled)", "(distilled)"

Network = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]
"""(B, C, H, W) normalised -> logits, and by name what else is seen, B first."""


class Observed(nn.Module):
    """A classifier whose forward returns what the losses need of it.

    The classifier's modules get forward hooks for as long as this lives.

    Args:
        classifier: student or teacher.
        needs: what its passes must hold.
        taps: modules whose outputs or inputs are kept, and how they are read as maps.
        frozen: paths of norms that stay in eval mode.
        trains: whether the network ever leaves eval mode.
    """

    def __init__(
        self,
        classifier: Classifier,
        needs: frozenset[Requirement],
        taps: Sequence[Tap],
        frozen: Sequence[str] = (),
        *,
        trains: bool = True,
    ) -> None:
        super().__init__()
        self._trains = trains
        self.classifier = classifier
        self._is_differentiated = "input gradients" in needs
        self._explains = "explanations" in needs
        self._has_two_heads = trains and "distillation token" in needs
        if self._has_two_heads:
            classifier.model.set_distilled_training(True)  # type: ignore[operator]
        self._seen: dict[str, Tensor] = {}
        self._taps = {tap.name: tap for tap in taps}
        self._taps_of = {tap.path: [other for other in taps if other.path == tap.path] for tap in taps}
        self._frozen = tuple(frozen)
        self._network: Network = self.outputs
        wants_map = classifier.head is not None and not needs.isdisjoint(("features", "embedding"))
        self._head = classifier.head if wants_map else None
        self._linear = classifier.known.get(EMBEDDING) if "embedding" in needs and self._head is None else None
        paths = {*self._taps_of, self._linear, None if self._head is None else self._head.features} - {None}
        observed = {path: classifier.model.get_submodule(path) for path in paths if path is not None}
        ForwardHooks(observed, self._keep).__enter__()  # for good: a compiled network is traced with its hooks

    def forward(self, images: Tensor) -> Pass:
        """(B, 3, H, W) normalised -> Pass; its taps are in the order in which the network makes them."""
        if self._is_differentiated:
            images = images.detach().requires_grad_()  # not the caller's own
        logits, seen = self._network(images)
        taps = {name: self._taps[name].as_map(values) for name, values in seen.items() if name in self._taps}
        explaining = Explaining(self.classifier, images.detach(), done=self._forget) if self._explains else None
        known: dict[str, Any] = {"explaining": explaining, "distilled_logits": seen.get(_DISTILLED)}
        if self._head is None:
            return Pass(logits, taps=taps, images=images, pooled=seen.get(_POOLED), **known)
        return Pass(
            logits,
            features=seen[_MAP] if self._is_differentiated else self.classifier.cam_features(seen[_MAP]),
            head_weight=self.classifier.head_weight,
            head_bias=self.classifier.head_bias,
            taps=taps,
            images=images,
            source=seen.get(_SOURCE),
            **known,
        )

    def train(self, mode: bool = True) -> Self:
        """As nn.Module.train; the norms that are frozen stay in eval mode, as does a network that does not train."""
        super().train(mode and self._trains)
        for path in self._frozen:
            self.classifier.model.get_submodule(path).eval()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without what a network that was run by itself has left, which knows no deep copy."""
        return {**self.__dict__, "_seen": {}}

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Run the network through torch.compile from the next forward on."""
        self._network = torch.compile(self.outputs, *args, **kwargs)

    def run_by(self, network: Network) -> None:
        """Have something else give what `outputs` gives, from the next forward on."""
        self._network = network

    def outputs(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What torch makes of normalised images: the logits, and by name what is kept for the losses, as it is made."""
        self._forget()
        logits = self.classifier.model(images)
        if self._has_two_heads and isinstance(logits, tuple):  # in training alone
            logits, self._seen[_DISTILLED] = logits
        seen = dict(self._seen)
        self._forget()
        return logits, seen

    def _forget(self) -> None:
        """What was seen would keep the graph."""
        self._seen.clear()

    def _keep(self, path: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        follows = None
        for tap in self._taps_of.get(path, ()):
            self._seen.pop(tap.name, None)  # of a call before, which may lie far back
            if tap.before:
                self._seen[tap.name] = inputs[0].clone() if tap.overwritten else inputs[0]
            else:
                self._seen[tap.name] = output
                follows = output.clone() if tap.overwritten else None
        if path == self._linear:
            self._seen[_POOLED] = inputs[0].flatten(1)
        if self._head is not None and path == self._head.features:
            self._seen[_MAP] = output
            follows = self._keep_source(self._head, output) if self._is_differentiated else follows
        return follows

    def _keep_source(self, head: CamHead, output: Tensor) -> Tensor:
        """Keep the last map, and let the network go on with it: a view of the output is no ancestor of the logits."""
        source = F.relu(output) if head.relu else output  # which the network does, too: once more changes nothing
        tokens, source = source, as_map(source, head.reading, self.classifier.preprocess.size)
        self._seen[_MAP] = source
        if head.steps:
            self._seen[_SOURCE] = source
            for step in head.steps:
                self._seen[_MAP] = moved(self._seen[_MAP], step, self.classifier.model)
        if head.layout == "tokens":
            return torch.cat([tokens[:, : head.prefix], source.flatten(2).transpose(1, 2)], 1)
        if head.layout == "NCHW" and not head.relu:
            return output
        return (source.permute(0, 2, 3, 1) if head.layout == "NHWC" else source).clone()


class Normaliser(nn.Module):
    """Preprocess.normalise with its constants on the device.

    Args:
        preprocess: student's or teacher's.
        memory_format: of the result.
    """

    def __init__(self, preprocess: Preprocess, memory_format: torch.memory_format) -> None:
        super().__init__()
        self._bgr = preprocess.channel_order == "BGR"
        self._is_grey = preprocess.channels == 1
        self._memory_format = memory_format
        scale = preprocess.value_range / 255
        mean, std = (
            torch.tensor(preprocess.mean, dtype=torch.float64),
            torch.tensor(preprocess.std, dtype=torch.float64),
        )
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", (scale / std).float().reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("offset", (-mean / std).float().reshape(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) RGB from 0 to 255 -> (B, C, H, W) float32, what the network is fed with."""
        values = pixels.float()
        if self._is_grey:
            values = luminance(values)
        if self._bgr:
            values = values.flip(1)
        return (values * self.scale + self.offset).contiguous(memory_format=self._memory_format)
