"""Explainer: (classifier, images, classes) -> raw maps (B, h, w), registered by name."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, ClassVar, Self, TypeVar

from torch import Tensor

from xkd_eval.arguments import public
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.errors import XkdError
from xkd_eval.explainers.guard import guarded_call, guarded_check
from xkd_eval.registry import Registry


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
    """A saliency method. Each is a frozen dataclass, whose fields are its options, each with a default.

    Equal options make equal explainers with equal hashes: what was computed for one is kept for the other.
    `register_explainer` shows how one is written, `xkd_eval.testing.check_explainer` checks it.

    Attributes:
        name: what `--explainer` takes.
        citation: authors, venue and year.
        cost: per image, in forwards (F) and backwards (B): "1 F", "1 F + 1 B", "49 F".
        per_image: the method makes many forwards of each image, so it is given one at a time, and none for padding.
        model_free: the map depends neither on the network's weights nor on its answers nor on the class, only on the
            image, its id and its mask (noise, an edge detector, stored maps), so that one map serves all models with
            the same input convention.
        reads_features: the map is made of the classifier and `context.features` alone where they are known, without a
            forward of its own.
        reads_size: the map depends on `context.size`, so that tests which score at different sizes need a map each.

    Example:
        >>> from xkd_eval import create_explainer
        >>> gradcam = create_explainer("gradcam")
        >>> gradcam.cost, gradcam.parameters()
        ('1 F + 1 B', {'relu': True})
    """

    name: ClassVar[str]
    citation: ClassVar[str]
    cost: ClassVar[str]
    per_image: ClassVar[bool] = False
    model_free: ClassVar[bool] = False
    reads_features: ClassVar[bool] = False
    reads_size: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Whoever calls an explainer, of whatever author, calls it through what every call is owed."""
        super().__init_subclass__(**options)
        for name, guard in (("check", guarded_check), ("__call__", guarded_call)):
            method = vars(cls).get(name)
            if inspect.isfunction(method) and not getattr(method, "__isabstractmethod__", False):
                setattr(cls, name, guard(method))

    def check(self, classifier: Classifier) -> None:  # noqa: B027 - most methods hold for every model
        """Raise ExplainerError, with the reason, where the method does not hold for the model."""

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

        A method is written for what is listed here, and need not see to more: whoever calls it may have the classifier
        in training mode or in double precision, be in inference mode or under autocast, or share it with other threads.
        What is given is copied for the call, and what is returned is checked.

        Args:
            classifier: in eval mode and float32, with modules of its own, see `Classifier.private`.
            images: (B, 3, H, W) normalised, float32.
            classes: (B,) the class to explain, int64.
            context: what is already known about the batch.

        Returns:
            (B, h, w) float32, raw: neither clamped, nor up-sampled, nor normalised beyond what the method defines.
            No gradient.

        Raises:
            ExplainerError: the method failed, or returned anything else than floats (B, h, w); names the explainer.
            XkdError: no such images or classes.
        """

    def differentiable(
        self, classifier: Classifier, images: Tensor, classes: Tensor, context: Context | None = None
    ) -> Tensor:
        """The same map in the graph of the classifier's parameters, by which a student is taught to explain itself.

        By default what `__call__` itself makes: a map without a graph where it takes gradients without `create_graph`,
        detaches or leaves torch. Nothing is copied or checked here.

        Args:
            classifier: as it is trained, `classifier.model` in training mode; it is left without hooks.
            images: (B, 3, H, W) normalised.
            classes: (B,) the class to explain, int64.
            context: what is already known; its features in the graph of the parameters.

        Returns:
            (B, h, w).
        """
        return inspect.unwrap(type(self).__call__)(self, classifier, images, classes, context)


def _checked(thing: object) -> type[Explainer]:
    if not inspect.isclass(thing) or not issubclass(thing, Explainer):
        found = thing.__qualname__ if hasattr(thing, "__qualname__") else type(thing).__qualname__
        raise XkdError(f"explainer: {found} is no explainer; expected a subclass of xkd_eval.explainers.Explainer")
    where = f"explainer: {thing.__module__}.{thing.__qualname__}"
    if missing := [name for name in ("name", "citation", "cost") if not isinstance(getattr(thing, name, None), str)]:
        raise XkdError(f"{where} has no {' and no '.join(missing)}; expected a text as a class attribute")
    if thing.__abstractmethods__:
        raise XkdError(f"{where} does not define {', '.join(sorted(thing.__abstractmethods__))}")
    options = {field.name for field in fields(thing)}
    if named := sorted(options & {"name", "citation", "cost"}):
        raise XkdError(f"{where}: {named[0]} is annotated as an option; leave its annotation out")
    annotated = {name for name, kind in inspect.get_annotations(thing).items() if "ClassVar" not in str(kind)}
    if strays := sorted(annotated - options):
        raise XkdError(f"{where} annotates {', '.join(strays)}; decorate it with @dataclass(frozen=True)")
    bare = [field.name for field in fields(thing) if field.default is MISSING and field.default_factory is MISSING]
    if bare:
        raise XkdError(f"{where}: option {bare[0]!r} has no default; give it one")
    return thing


_E = TypeVar("_E", bound=type[Explainer])

EXPLAINERS: Registry[type[Explainer]] = Registry(
    "explainer",
    group="xkd.explainers",
    home=[
        f"xkd_eval.explainers.{family}"
        for family in ("cam", "captum", "fullgrad", "gradcam", "perturbations", "references", "transformers")
    ],
    check=_checked,
    listing="xkd-eval explainers",
)
"""Explainers by name; `create_explainer` makes one of a name and options."""


@public()
def register_explainer(explainer: _E) -> _E:
    """Class decorator: make an explainer known under its `name`, in this process.

    An installed package needs no decorator: it names its class as an entry point of the group `xkd.explainers`.

    Args:
        explainer: a frozen dataclass; one that is defined again in the same place replaces what it was.

    Raises:
        XkdError: the name is taken, or the class is incomplete.

    Example:
        >>> from dataclasses import dataclass
        >>> from xkd_eval import Explainer, create_explainer, register_explainer
        >>> @register_explainer
        ... @dataclass(frozen=True)
        ... class Redness(Explainer):
        ...     name = "redness"
        ...     citation = "none"
        ...     cost = "0"
        ...     power: float = 1.0
        ...     def __call__(self, classifier, images, classes, context=None):
        ...         return images[:, 0] ** self.power
        >>> create_explainer("redness:power=2")
        Redness(power=2.0)
    """
    return EXPLAINERS.register(explainer)
