"""A frozen teacher's forwards on an engine in torch's place, once that has proven to give what torch gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from distill.methods import Method
from distill.methods.base import Requirement
from distill.recipe.networks import TORCH, Teacher
from distill.training.observed import Observed
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.engines.base import ENGINES, Forward
from xkd_eval.engines.chunks import chunk_size
from xkd_eval.engines.plan import AUTO, check_engine
from xkd_eval.engines.proof import probes, proven
from xkd_eval.errors import XkdError, renamed

# What an engine, whose outputs have no graph, cannot give; in words that follow "the teacher's".
_IN_THE_GRAPH: dict[Requirement, str] = {"input gradients": "gradients", "explanations": "network in torch"}
_LOGITS = "logits"


class RunBy(NamedTuple):
    """What runs a teacher forward.

    Attributes:
        engine: its name.
        note: of what was chosen where the recipe leaves it open; empty where it does not.
    """

    engine: str = TORCH
    note: str = ""


def asked_engine(
    teacher: Teacher, classifier: Classifier, methods: Sequence[Method], device: torch.device, precision: str
) -> RunBy:
    """The engine that may run a teacher: a name, or `auto` where several may.

    Args:
        teacher: the recipe's.
        classifier: the same, loaded.
        methods: that learn from it.
        device: of the training.
        precision: of the recipe.

    Raises:
        XkdError: an engine that is not known, not installed, or for another device; a teacher that has its own; a
            method that needs what no engine gives.
    """
    if teacher.engine == TORCH:
        return RunBy()
    if teacher.engine != AUTO:
        try:
            check_engine(teacher.engine, device)
        except XkdError as error:
            raise XkdError(renamed(str(error), {"engine": "teacher.engine"})) from None
    obstacle = _obstacle(classifier, methods)
    if teacher.engine == AUTO:
        if device.type != "cpu":
            return RunBy()
        if not obstacle and precision != "fp32":
            obstacle = f"precision {precision} is torch's"
        return RunBy(TORCH, f"teacher.engine: torch runs {classifier.name}; {obstacle}") if obstacle else RunBy(AUTO)
    if obstacle:
        raise XkdError(f"teacher.engine: {teacher.engine} found, and {obstacle}; use torch")
    return RunBy(teacher.engine)


def run_on_engine(observed: Observed, asked: RunBy, n_images: int) -> RunBy:
    """Have an engine run a teacher, if one is asked for.

    Args:
        observed: the teacher on the CPU, which computes in float32; left to torch where `auto` finds no engine.
        asked: of `asked_engine`.
        n_images: that it is given at a time, at most.

    Returns:
        What runs it.

    Raises:
        XkdError: the engine does not run the network, or does not give torch's outputs.
    """
    name = observed.classifier.name
    if asked.engine == TORCH:
        return asked
    if asked.engine != AUTO:
        try:
            observed.run_by(_OnEngine(observed, asked.engine, n_images))
        except XkdError as error:
            where = f"teacher.engine: {name} is not run by {asked.engine}"
            raise XkdError(f"{where}: {error}; use torch, or auto") from error
        return asked
    refused = []
    for engine, kind in ENGINES.items():
        if kind().is_installed:
            try:
                observed.run_by(_OnEngine(observed, engine, n_images))
            except XkdError as error:
                refused.append(f"not {engine}: {error}")
            else:
                return RunBy(engine, f"teacher.engine: {engine} {kind().version} runs {name}")
    return RunBy(TORCH, f"teacher.engine: torch runs {name}; {'; '.join(refused) or 'no engine is installed'}")


class _OnEngine:
    """What an Observed gives, by an engine: see `Observed.run_by`.

    A batch is given in equal parts, each of one fixed size, and the last of a smaller batch is padded: as the answer to
    an image does not depend on those beside it, neither does it on where a batch ends.
    """

    def __init__(self, observed: Observed, engine: str, n_images: int) -> None:
        classifier = observed.classifier
        forwards = -(-n_images // chunk_size(classifier, classifier.preprocess, torch.device("cpu")))
        self._chunk = -(-n_images // forwards)
        images = probes(classifier.preprocess, self._chunk)
        network = _SideBySide(observed)
        with torch.no_grad():
            logits, seen = observed.outputs(images)
        self._shapes = {_LOGITS: logits.shape[1:], **{name: values.shape[1:] for name, values in seen.items()}}
        self._widths = {name: shape.numel() for name, shape in self._shapes.items()}
        parts = {_shown(name): width for name, width in self._widths.items()}
        self._forward: Forward = proven(ENGINES[engine](), network.eval(), network, images, parts=parts)

    def __call__(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.autocast("cpu", enabled=False):  # of an engine that is made of torch, too
            found = torch.cat([self._padded(part) for part in images.split(self._chunk)])
        parts = zip(self._widths, found.split(list(self._widths.values()), 1), strict=True)
        values = {name: part.unflatten(1, self._shapes[name]).contiguous() for name, part in parts}
        return values.pop(_LOGITS), values

    def _padded(self, part: Tensor) -> Tensor:
        missing = self._chunk - len(part)
        if not missing:
            return self._forward(part)
        return self._forward(torch.cat([part, part.new_zeros(missing, *part.shape[1:])]))[: len(part)]


class _SideBySide(nn.Module):
    """A network with all that is seen of it in one output (B, n), which is what engines give."""

    def __init__(self, observed: Observed) -> None:
        super().__init__()
        self.observed = observed

    def forward(self, images: Tensor) -> Tensor:
        logits, seen = self.observed.outputs(images)
        return torch.cat([logits.flatten(1), *(values.flatten(1) for values in seen.values())], 1)


def _obstacle(classifier: Classifier, methods: Sequence[Method]) -> str:
    """Why no engine can run a teacher; empty where one can."""
    for method in methods:
        for need, what in _IN_THE_GRAPH.items():
            if need in method.requires:
                return f"{method.name} needs the teacher's {what}, which no engine gives"
    if any(isinstance(module, GraphNetwork) for module in classifier.model.modules()):
        return f"{classifier.name} is run by the engine of its own file"
    return ""


def _shown(name: str) -> str:
    """What a part of the outputs is called in a message."""
    return {_LOGITS: _LOGITS, "(map)": "maps", "(pooled)": "embeddings"}.get(name, f"maps of {name}")
