"""Explainer: (classifier, images, classes) -> raw maps (B, h, w), registered by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Self, TypeVar

from torch import Tensor

from xkd_eval.classifiers.classifier import Classifier


@dataclass(frozen=True)
class Context:
    """What the stream already knows about a batch, so that nothing is computed twice.

    Attributes:
        ids: B image ids; they seed the random explainers, so that a map does not depend on its batch.
        features: (B, C, h, w) of the clean forward, where the classifier has a CAM head.
        masks: (B, H, W), 1 = object, 0 = background, -1 = ignored; for the oracle.
        size: (H, W) at which the maps will be scored; maps of mixed sizes are brought to it. None is the input's.
    """

    ids: tuple[str, ...] | None = None
    features: Tensor | None = None
    masks: Tensor | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Explainer(ABC):
    """A saliency method. Each is a frozen dataclass, whose fields are its options.

    Attributes:
        name: what `--explainer` takes.
        citation: authors, venue and year.
        cost: per image, in forwards (F) and backwards (B): "1 F", "1 F + 1 B", "49 F".
        per_image: the method makes many forwards of each image, so it is given one at a time, and none for padding.
    """

    name: ClassVar[str]
    citation: ClassVar[str]
    cost: ClassVar[str]
    per_image: ClassVar[bool] = False
    model_free: ClassVar[bool] = False
    reads_size: ClassVar[bool] = False

    def check(self, classifier: Classifier) -> None:  # noqa: B027 - most methods hold for every model
        """Raise ExplainerError, with the reason and the alternatives, where the method does not hold for the model."""

    def parameters(self) -> dict[str, Any]:
        """The options that change a map, as plain values: they are recorded beside the results."""
        return asdict(self)

    def seeded(self, seed: int) -> Self:
        """The same explainer drawing other numbers; itself, where it draws none."""
        return replace(self, **{"seed": seed}) if "seed" in {field.name for field in fields(self)} else self

    @abstractmethod
    def __call__(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """Explain one class of each image.

        Args:
            classifier: in eval mode.
            images: (B, 3, H, W) normalised.
            classes: (B,) the class to explain, int64.
            context: what is already known about the batch.

        Returns:
            (B, h, w) float32, raw: neither clamped, nor up-sampled, nor normalised beyond what the method defines.
            No gradient.
        """


_REGISTRY: dict[str, type[Explainer]] = {}
_E = TypeVar("_E", bound=type[Explainer])


def register(explainer: _E) -> _E:
    """Class decorator: make the explainer known under its name."""
    _REGISTRY[explainer.name] = explainer
    return explainer


def registered() -> dict[str, type[Explainer]]:
    """All known explainers by name, in the order of their registration."""
    return dict(_REGISTRY)
