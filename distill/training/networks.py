"""The two networks of a distillation, and what each makes of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.methods import Method, Pass
from distill.methods.base import Requirement
from distill.methods.taps import TapMethod
from distill.recipe.files import directory_name
from distill.recipe.schema import Student, Teacher, nearest
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.head import find_cam_head
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.classifiers.overrides import with_overrides
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.sources import build_architecture
from xkd_eval.errors import CamHeadError, XkdError, renamed


@dataclass(frozen=True)
class Classes:
    """What a data set calls its classes.

    Attributes:
        count: K.
        names: K class names, or None.
        wordnet_ids: K WordNet ids, or None.
    """

    count: int
    names: tuple[str, ...] | None = None
    wordnet_ids: tuple[str, ...] | None = None


def student_preprocess(recipe: Student) -> Preprocess:
    """The input convention that a recipe asks for."""
    return with_overrides(Preprocess(), _known_fields("student", recipe.preprocess))


def build_student(recipe: Student, classes: Classes, needs: frozenset[Requirement]) -> Classifier:
    """The network with random weights, its CAM head proven where a loss needs one.

    Raises:
        XkdError: unknown architecture, or no CAM in closed form although a loss needs it.
    """
    arguments = {"num_classes": classes.count, **recipe.arguments}
    network = build_architecture(recipe.architecture, arguments, "student: the architecture")
    if "taps" in needs:
        _keep_activations(network)
    preprocess = student_preprocess(recipe)
    try:
        head = find_cam_head(network, preprocess) if "features" in needs else None
    except CamHeadError as error:
        raise XkdError(f"student: {recipe.architecture} has no CAM head, which a loss needs: {error}") from None
    return Classifier(
        network,
        preprocess,
        name=recipe.architecture,
        num_classes=classes.count,
        class_names=classes.names,
        wordnet_ids=classes.wordnet_ids,
        head=head,
    )


def load_teacher(recipe: Teacher, runs: Path, classes: Classes, needs: frozenset[Requirement]) -> Classifier:
    """The frozen teacher, in eval mode.

    Args:
        recipe: names it.
        runs: where the runs lie that `recipe.recipe` is looked for among.
        classes: the data's.
        needs: of the losses.

    Raises:
        XkdError: no such file, another number of classes, or no CAM in closed form although a loss needs it.
    """
    model = recipe.model if recipe.model is not None else str(_student_of(str(recipe.recipe), runs))
    overrides = _known_fields("teacher", recipe.preprocess)
    try:
        teacher = load_classifier(model, weights=recipe.weights, **overrides)
    except XkdError as error:
        raise XkdError(renamed(str(error), {"model": "teacher", "weights": "teacher_weights"})) from None
    if teacher.num_classes != classes.count:
        raise XkdError(
            f"teacher: {teacher.name} has {teacher.num_classes} classes and the data has {classes.count}; "
            "give the `teacher` that belongs to the data"
        )
    if "taps" in needs:
        _keep_activations(teacher.model)
        teacher.head = find_cam_head(teacher.model, teacher.preprocess) if teacher.head is not None else None
    if "features" in needs and teacher.head is None:
        raise XkdError(f"teacher: {teacher.name} has no CAM head, which a loss needs: {teacher.head_refusal}")
    return teacher.eval().requires_grad_(False)


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
        for path in self._taps | features:
            classifier.model.get_submodule(path).register_forward_hook(self._keeper(path))

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

    def _keeper(self, path: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self._seen[path] = output

        return keep


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


def requirements(methods: Iterable[Method]) -> frozenset[Requirement]:
    """What passes must hold for all of them."""
    return frozenset(need for method in methods for need in method.requires)


def tap_paths(methods: Iterable[Method], network: nn.Module, whose: str) -> tuple[str, ...]:
    """The modules that the methods compare: those they list, and the network's own stages where one lists none.

    Args:
        methods: of a recipe.
        network: names its `stages`, or does not.
        whose: "student" or "teacher".

    Raises:
        XkdError: a path that is no module.
    """
    paths: list[str] = []
    for method in methods:
        if isinstance(method, TapMethod):
            listed = getattr(method, f"{whose}_taps")
            paths += listed if listed is not None else getattr(network, "stages", ())
    known = [name for name, _ in network.named_modules() if name]
    for path in paths:
        if path not in known:
            raise XkdError(f"{whose}_taps: the {whose} has no module {path!r}; {nearest(path, known)}")
    return tuple(dict.fromkeys(paths))


def _known_fields(whose: str, preprocess: dict[str, Any]) -> dict[str, Any]:
    """A recipe's fields of Preprocess, if all of them are some."""
    known = [field.name for field in fields(Preprocess)]
    for name in preprocess:
        if name not in known:
            raise XkdError(f"{whose}.preprocess: nothing reads the key {name!r}; {nearest(name, known)}")
    return preprocess


def _student_of(name: str, runs: Path) -> Path:
    place = runs / directory_name(name)
    candidates = [place / "student.pt", *sorted(place.glob("seed-*/student.pt"))]
    for path in candidates:
        if path.is_file():
            return path
    raise XkdError(
        f"teacher: {str(candidates[0])!r} does not exist; make it by `xkd-distill train {name}`, or give `teacher`"
    )


def _keep_activations(network: nn.Module) -> None:
    """A tap before an activation that works in place would be overwritten by it."""
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
