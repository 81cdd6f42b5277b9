"""Pass: what one network made of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from distill.methods.explaining import Explaining
from xkd_eval.cam import class_activation_maps
from xkd_eval.errors import XkdError
from xkd_eval.explainers import Explainer


@dataclass(frozen=True)
class Pass:
    """What one network made of a batch.

    Attributes:
        logits: (B, K).
        features: (B, C, h, w), the last spatial map before the pool; where a method requires "features".
        head_weight: (K, C), of the linear head on that map.
        head_bias: (K,); None where the head has none.
        taps: module path to that module's output (B, C_i, h_i, w_i), shallow to deep; where a method requires "taps".
        images: (B, 3, H, W) normalised, part of the graph; where a method requires "input gradients".
        source: (B, C, h, w), what `features` are computed from, in the graph of the logits; None where `features`
            themselves are.
        pooled: (B, C), what the last linear layer is given, of a network without `features`; where a method requires
            "embedding".
        explaining: the network itself on these images; where a method requires "explanations".
        distilled_logits: (B, K), of the student's head on its distillation token, while `logits` are those of the class
            token's; where a method requires "distillation token".

    Example:
        >>> import torch
        >>> from distill import Pass
        >>> features, weight = torch.rand(2, 8, 4, 4), torch.rand(5, 8)
        >>> network = Pass(features.mean((2, 3)) @ weight.T, features, weight)
        >>> network.cams().shape, network.embedding().shape
        (torch.Size([2, 5, 4, 4]), torch.Size([2, 8]))
    """

    logits: Tensor
    features: Tensor | None = None
    head_weight: Tensor | None = None
    head_bias: Tensor | None = None
    taps: Mapping[str, Tensor] = field(default_factory=dict)
    images: Tensor | None = None
    source: Tensor | None = None
    pooled: Tensor | None = None
    explaining: Explaining | None = None
    distilled_logits: Tensor | None = None

    def last_map(self) -> Tensor:
        """`features`, (B, C, h, w).

        Raises:
            XkdError: they are absent.
        """
        if self.features is None:
            raise XkdError("features: the pass has none; this method needs a model whose CAM head is known")
        return self.features

    def embedding(self) -> Tensor:
        """(B, C), the features' global average; or `pooled`, where there are none.

        Raises:
            XkdError: both are absent.
        """
        if self.features is None and self.pooled is not None:
            return self.pooled
        return self.last_map().mean((2, 3))

    def cams(self, classes: Tensor | None = None) -> Tensor:
        """(B, K, h, w) class activation maps, or (B, k, h, w) for `classes` (B, k); see class_activation_maps."""
        if self.head_weight is None:
            raise XkdError("head_weight: the pass has none; this method needs a model whose CAM head is known")
        return class_activation_maps(self.last_map(), self.head_weight, classes)

    def input_images(self) -> Tensor:
        """`images`, (B, 3, H, W).

        Raises:
            XkdError: they are absent.
        """
        if self.images is None:
            raise XkdError("images: the pass has none; this method differentiates with respect to the input")
        return self.images

    def distillation_token(self) -> Tensor:
        """`distilled_logits`, (B, K).

        Raises:
            XkdError: they are absent.
        """
        if self.distilled_logits is None:
            raise XkdError("distilled_logits: the pass has none; this method needs a student with a distillation token")
        return self.distilled_logits

    def explaining_network(self) -> Explaining:
        """`explaining`.

        Raises:
            XkdError: it is absent.
        """
        if self.explaining is None:
            raise XkdError("explaining: the pass has none; this method runs the network once more, to explain itself")
        return self.explaining

    def explained(self, explainer: Explainer, classes: Tensor) -> Tensor:
        """(B, h, w) of `classes` (B,), in the graph of the network's parameters; see Explaining."""
        return self.explaining_network()(explainer, classes, self.features)

    def detached(self) -> Pass:
        """The same values outside of any graph, as a teacher's are."""
        return self._map(Tensor.detach)

    def full_precision(self) -> Pass:
        """float16 and bfloat16 as float32; wider tensors as they are."""
        return self._map(full_precision)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Pass:
        def optional(value: Tensor | None) -> Tensor | None:
            return None if value is None else function(value)

        return Pass(
            logits=function(self.logits),
            features=optional(self.features),
            head_weight=optional(self.head_weight),
            head_bias=optional(self.head_bias),
            taps={path: function(tap) for path, tap in self.taps.items()},
            images=optional(self.images),
            source=optional(self.source),
            pooled=optional(self.pooled),
            explaining=self.explaining,
            distilled_logits=optional(self.distilled_logits),
        )


def full_precision(values: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; wider tensors as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
