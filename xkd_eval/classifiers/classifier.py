"""Classifier: any module, with what an evaluation must know about it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xkd_eval.ambient import plain_torch
from xkd_eval.cam import class_activation_maps
from xkd_eval.classifiers.arguments import check_arguments, check_classes, check_images, described_values
from xkd_eval.classifiers.copies import is_float32, is_quiet, quiet_copy, unwrapped
from xkd_eval.classifiers.hooks import Outputs
from xkd_eval.classifiers.input_source import CALLER, InputSource, input_line
from xkd_eval.classifiers.outputs import is_binary
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.cosine import Cosine, tensor_at
from xkd_eval.classifiers.proof.linear import LinearWeights, averaged, linear_weights
from xkd_eval.classifiers.proof.places import Layout, Reading, as_map
from xkd_eval.classifiers.proof.steps import Step, moved
from xkd_eval.errors import CamHeadError, XkdError
from xkd_eval.notebook import table

_SHOWN_NAMES = 5


@dataclass(frozen=True)
class CamHead:
    """Where a model's class activation map (Zhou et al., CVPR 2016) comes from, as found and proven on random images.

    Attributes:
        features: path of the module whose output is the last spatial map.
        linear: path of the Linear or 1x1 convolution that makes the logits; None where the map's channels are the
            classes themselves (SqueezeNet: convolution, then pool). With `cosine` the path of a matrix.
        layout: of that output.
        relu: the network applies a ReLU to it as a function (torchvision's DenseNet).
        steps: layers between pool and head, in order (ConvNeXt's LayerNorm); the map holds with what they measure of an
            image frozen.
        map_size: (h, w) at the classifier's input size.
        proof_error: largest difference between the logits and those re-derived from the maps, relative to the largest
            logit.
        tolerance: what `proof_error` was allowed to be. 1e-4, but for networks and graphs in whole numbers: what their
            rounding may make of it.
        prefix: of tokens, those before the image's, which stand for no place.
        cosine: how the matrix makes logits of directions (CLIP); None for a layer.
        averaged: path of another such layer, where the logits are the average of its answers and of `linear`'s (LeViT).
    """

    features: str
    linear: str | None
    layout: Layout
    relu: bool
    steps: tuple[Step, ...]
    map_size: tuple[int, int]
    proof_error: float
    tolerance: float = 1e-4
    prefix: int = 0
    cosine: Cosine | None = None
    averaged: str | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """Paths of the layers that make the logits."""
        return () if self.cosine is not None else tuple(filter(None, (self.linear, self.averaged)))

    @property
    def reading(self) -> Reading:
        """How the output of `features` is read as a map."""
        return Reading(self.layout, self.prefix)

    def within(self, name: str) -> CamHead:
        """The same head, of a network that has this one's as its module `name`."""

        def there(path: str) -> str:
            return path and f"{name}.{path}"

        return replace(
            self,
            features=there(self.features),
            linear=self.linear and there(self.linear),
            averaged=self.averaged and there(self.averaged),
            steps=tuple(step._replace(path=there(step.path), beside=there(step.beside)) for step in self.steps),
        )

    def __str__(self) -> str:
        height, width = self.map_size
        weight = " and ".join(filter(None, (self.linear, self.averaged))) or "none: its channels are the classes"
        relu = ", then ReLU" if self.relu else ""
        steps = "".join(f", {step.kind} {' and '.join(step.paths)}".rstrip() for step in self.steps)
        return f"{self.features} ({self.layout}{relu}, {height}x{width}){steps}, head {weight}"


class ForwardOutput(NamedTuple):
    """What `Classifier.forward_with_features` returns.

    Attributes:
        logits: (B, K).
        features: (B, C, h, w), the last spatial map, whose class activation maps re-derive the logits: their spatial
            mean plus the head's bias.
    """

    logits: Tensor
    features: Tensor


class Classifier(nn.Module):
    """A module with its input convention, its classes and its CAM head, as `load_classifier` makes it.

    Args:
        model: (B, 3, H, W) normalised images -> (B, K) logits. Of a module that is not float32 a float32 copy is taken,
            of a compiled or parallel one what is within.
        preprocess: the model's input convention.
        name: how tables and figures call it.
        num_classes: K.
        class_names: K names, or None.
        wordnet_ids: K WordNet ids (n01440764) in the order of the logits, "" for a class that is no synset; None where
            the classes have none.
        head: where the CAM comes from; None where there is none in closed form.
        head_refusal: why `head` is None.
        notes: what a user must know about how it was read, a sentence each: "weights: 2 keys beside the network's were
            left out (criterion.weight, criterion.bias)".
        input_from: who says `preprocess`: a checkpoint, a library, the user; str() of it is a few words.

    Attributes:
        known: what took forwards to find out about the network, by name; shared with its private copies.

    Raises:
        XkdError: an argument of another kind; a module that is not float32 and cannot be copied.

    Example:
        >>> import torch
        >>> from xkd_eval import load_classifier
        >>> classifier = load_classifier("embedded/kd")
        >>> classifier
        Classifier embedded/kd
          network: ResNet, 19,218 parameters
          input: 40x40 RGB, squash, bilinear, mean 0.3 0.3 0.3, std 0.2 0.2 0.2 (checkpoint)
          classes: 10: zero, one, two, three, four, ...
          CAM: layer3 (NCHW, 10x10), head linear
        >>> images = classifier.preprocess.normalise(torch.rand(2, 3, 40, 40))
        >>> with torch.no_grad():
        ...     logits, features = classifier.forward_with_features(images)
        >>> maps = classifier.cams(features)
        >>> maps.shape
        torch.Size([2, 10, 10, 10])
        >>> torch.testing.assert_close(maps.mean((2, 3)) + classifier.head_bias, logits)
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Preprocess,
        *,
        name: str,
        num_classes: int,
        class_names: tuple[str, ...] | None = None,
        wordnet_ids: tuple[str, ...] | None = None,
        head: CamHead | None = None,
        head_refusal: str = "",
        notes: tuple[str, ...] = (),
        input_from: InputSource = CALLER,
    ) -> None:
        super().__init__()
        check_arguments(model, preprocess, num_classes)
        model = unwrapped(model)
        self.model = model if is_float32(model) else quiet_copy(model)
        self.preprocess = preprocess
        self.name = name
        self.num_classes = num_classes
        self.class_names = class_names
        self.wordnet_ids = wordnet_ids
        self.head = head
        self.head_refusal = head_refusal
        self.notes = notes
        self.input_from = input_from
        self.known: dict[str, Any] = {}
        self._is_private = False

    def owned(self) -> Self:
        """This classifier, taken for private: its network is in eval mode, and nobody else uses it or looks into it."""
        self._is_private = True
        return self

    def private(self) -> Classifier:
        """This classifier as one call may use it, and do with it what it likes.

        Returns:
            A copy in eval mode and float32, frozen, with modules, flags, hooks and buffers of its own; weights share
            the memory of this one's. Itself, where it is such a copy.

        Raises:
            XkdError: the network cannot be copied.
        """
        if self._is_private and is_quiet(self):
            return self
        copy = quiet_copy(self)
        copy.known, copy._is_private = self.known, True
        return copy

    def forward(self, images: Tensor) -> Tensor:
        """Classify, in eval mode and float32 whatever mode or precision the network is in, which it stays in.

        To train the network, train `model`. Autocast and torch's default dtype and device change nothing.

        Args:
            images: (B, 3, H, W) normalised.

        Returns:
            (B, K) logits, differentiable in images and parameters.

        Raises:
            XkdError: no such images; or logits of another shape.
        """
        with plain_torch():
            model = self.model if is_quiet(self.model) else quiet_copy(self.model, frozen=False)
            return self._checked(model(check_images(images, self.preprocess.channels)), images)

    def forward_with_features(self, images: Tensor) -> ForwardOutput:
        """One forward that also keeps the last spatial map; see `forward` for what it is independent of.

        Args:
            images: (B, 3, H, W) normalised.

        Returns:
            Logits (B, K) and features (B, C, h, w), see `cam_features`.

        Raises:
            CamHeadError: the model has no CAM head.
            XkdError: no such images.
        """
        self._require_head()
        images = check_images(images, self.preprocess.channels)
        with plain_torch():
            # A hook would be seen, and called, by whoever else uses the network.
            quiet = self if self._is_private and is_quiet(self.model) else quiet_copy(self, frozen=False)
            logits, features = quiet._observed(images)
            return ForwardOutput(self._checked(logits, images), features)

    def cam_features(self, output: Tensor) -> Tensor:
        """The last spatial map in the form whose class activation maps re-derive the logits.

        Args:
            output: of the module at `head.features`, in its own layout.

        Returns:
            (B, C, h, w).

        Raises:
            CamHeadError: the model has no CAM head.
        """
        head = self._require_head()
        features = as_map(output, head.reading, self.preprocess.size)
        if head.relu:
            features = F.relu(features)
        for step in head.steps:
            features = moved(features, step, self.model)
        return features

    @plain_torch()
    def cams(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """Class activation maps (Zhou et al., CVPR 2016), unclamped.

        Args:
            features: (B, C, h, w) as `forward_with_features` returns them.
            classes: (B, k) class indices; None is all K.

        Returns:
            (B, K, h, w), or (B, k, h, w) with `classes`.

        Raises:
            CamHeadError: the model has no CAM head.
            XkdError: features or classes of another shape, or classes that the classifier does not have.
        """
        head = self._require_head()
        if not isinstance(features, Tensor) or features.ndim != 4:
            raise XkdError(
                f"features: {described_values(features)} found; expected (B, C, h, w) of forward_with_features"
            )
        if classes is not None:
            classes = check_classes(classes, (len(features), None), self.num_classes).to(features.device)
        if head.linear is not None or is_binary(self.model):
            return class_activation_maps(features, self.head_weight, classes)
        if classes is None:
            return features
        return features.gather(1, classes[:, :, None, None].expand(-1, -1, *features.shape[2:]))

    @property
    def head_weight(self) -> Tensor:
        """(K, C) float32; the identity where the map's channels are the classes."""
        head = self._require_head()
        if head.linear is None:
            rows = torch.eye(1 if is_binary(self.model) else self.num_classes, device=self.device, dtype=torch.float32)
        elif head.cosine is not None:
            rows = head.cosine.weight(tensor_at(self.model, head.linear))
        else:
            rows = self._linear(head).weight
        return self._of_classes(rows)

    @property
    def head_bias(self) -> Tensor:
        """(K,) float32; zero where the head has none."""
        head = self._require_head()
        bias = self._linear(head).bias if head.layers else None
        return torch.zeros(self.num_classes, device=self.device) if bias is None else self._of_classes(bias)

    @property
    def device(self) -> torch.device:
        """Where its parameters are; the CPU where it has none."""
        return next(chain(self.model.parameters(), self.model.buffers()), torch.empty(0)).device

    @property
    def n_parameters(self) -> int:
        """How many numbers the network has learned."""
        told = getattr(self.model, "n_parameters", None)  # of a graph, whose numbers are no parameters of torch
        return told if isinstance(told, int) else sum(parameter.numel() for parameter in self.model.parameters())

    def class_name(self, index: int) -> str:
        """The class's name, or its index where the classes have none."""
        return self.class_names[index] if self.class_names else str(index)

    def digest(self) -> str:
        """sha256, in hexadecimal, over the parameters' and buffers' names, shapes and bytes.

        It stands for the model, whatever file it came from.
        """
        sha = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            tensors = [value] if isinstance(value, Tensor) else []
            if not tensors:  # a module's extra state, or a quantised one's weights
                sha.update(f"{name} {_without_tensors(value, tensors)!r}".encode())
            for tensor in tensors:
                sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                plain = tensor.dequantize() if tensor.is_quantized else tensor
                sha.update(plain.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return sha.hexdigest()

    def __repr__(self) -> str:
        return "\n".join([f"Classifier {self.name}", *(f"  {name}: {value}" for name, value in self._facts())])

    def _repr_html_(self) -> str:
        return table(f"Classifier {self.name}", self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        """What a reader must know about it, in four lines."""
        names = self.class_names or ()
        listed = ", ".join(names[:_SHOWN_NAMES]) + (", ..." if len(names) > _SHOWN_NAMES else "")
        return [
            ("network", f"{type(self.model).__name__}, {self.n_parameters:,} parameters"),
            ("input", input_line(self.preprocess, self.input_from)),
            ("classes", f"{self.num_classes}: {listed or 'without names'}"),
            ("CAM", f"none: {self.head_refusal}" if self.head is None else str(self.head)),
        ]

    def _observed(self, images: Tensor) -> ForwardOutput:
        """Logits and features; the network has a hook meanwhile."""
        head = self._require_head()
        with Outputs({head.features: self.model.get_submodule(head.features)}) as outputs:
            logits = self.model(images)
        return ForwardOutput(logits, self.cam_features(outputs[head.features]))

    def _of_classes(self, rows: Tensor) -> Tensor:
        """A row a logit -> a row a class."""
        return torch.cat([-rows / 2, rows / 2]) if is_binary(self.model) else rows

    def _linear(self, head: CamHead) -> LinearWeights:
        found = [linear_weights(self.model.get_submodule(path)) for path in head.layers]
        weights = [layer for layer in found if layer is not None]
        if len(weights) < len(found):
            lost = " and ".join(path for path, layer in zip(head.layers, found, strict=True) if layer is None)
            raise XkdError(
                f"model: {self.name} has no matrix in {lost} any more, where its head was found; load the network anew"
            )
        if len(weights) == 1:
            return weights[0]
        return averaged(*weights, apart=any(step.beside for step in head.steps))

    def _checked(self, logits: object, images: Tensor) -> Tensor:
        if isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == len(images):
            return logits
        raise XkdError(
            f"model: {self.name} gives {described_values(logits)} for {len(images)} images; expected logits (B, K)"
        )

    def _require_head(self) -> CamHead:
        if self.head is None:
            raise CamHeadError(f"model: {self.name} has no class activation map in closed form: {self.head_refusal}")
        return self.head


def _without_tensors(value: Any, found: list[Tensor]) -> Any:
    """A module's extra state as what can be told by its repr; its tensors are put into `found`, in order."""
    if isinstance(value, Tensor):
        found.append(value)
        return len(found)
    if isinstance(value, dict):
        return [(repr(key), _without_tensors(part, found)) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return [_without_tensors(part, found) for part in value]
    return value if isinstance(value, str | bytes | int | float | torch.dtype | None) else type(value).__name__
