"""What is known of a model: as it was loaded, and as its checkpoint records it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xkd_eval.assets import EMBEDDED, embedded_classifier_path
from xkd_eval.classifiers.checkpoint import Checkpoint, is_checkpoint, parsed_checkpoint
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.input_source import input_line
from xkd_eval.classifiers.weights.files import read_weight_file
from xkd_eval.classifiers.words import split_words
from xkd_eval.datasets.remote.urls import told
from xkd_eval.wording import counted, listed

_PACKAGE = "embedded"
_PRETRAINED = "pretrained"
_TIMM = "timm/"
_NAMES = 10
_FILES = (".pt", ".pth", ".th", ".safetensors", ".onnx", ".xml", ".tar", ".parquet", ".mat")
_CROSS_ENTROPY = "ce"


@dataclass(frozen=True)
class Facts:
    """A model, and the record that its file keeps.

    Attributes:
        classifier: as it was loaded.
        file: that it was loaded from; None where it has none of its own.
        checkpoint: what the file holds; None of a file of another kind.
    """

    classifier: Classifier
    file: Path | None = None
    checkpoint: Checkpoint | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """Of the losses that it was trained by, but for the labels' own; none where nothing says it."""
        return tuple(str(loss["method"]) for loss in _losses(self._recipe) if loss["method"] != _CROSS_ENTROPY)

    @property
    def base_model(self) -> str | None:
        """The repository of the weights that it started from, where the recipe names one: those of timm."""
        student = _mapping(self._recipe.get("student"))
        name = str(student.get("architecture", ""))
        is_tagged = name.startswith(_TIMM) and "." in name
        return name if is_tagged and student.get("weights") == _PRETRAINED else None

    @property
    def is_taught(self) -> bool:
        """Whether it was trained by a teacher."""
        return bool(_teachers(self._recipe))

    def described(self) -> Iterator[tuple[str, str]]:
        """Label and text of each line that says what it is."""
        model, kept = self.classifier, self.checkpoint
        yield "architecture", kept.architecture if kept is not None else type(model.model).__name__
        if kept is not None and (arguments := _written(kept.arguments)):
            yield "built with", arguments
        yield "parameters", f"{model.n_parameters:,}"
        yield "input", input_line(model.preprocess, model.input_from)
        yield "classes", f"{model.num_classes}{_first_names(model.class_names)}"
        if model.head is not None:
            yield "class activation map", f"proven: the logits follow from it to {model.head.proof_error:.1e}"
        else:
            yield "class activation map", f"none: {model.head_refusal}"
        yield "digest of the weights", model.digest()

    def trained(self) -> Iterator[tuple[str, str]]:
        """Label and text of each line that says how it was trained; none where nothing is recorded."""
        recipe = self._recipe
        if not recipe:
            return
        training = self.checkpoint.training if self.checkpoint is not None else {}
        if losses := [_loss(loss) for loss in _losses(recipe)]:
            yield "losses", listed(losses)
        for name, teacher in _teachers(recipe).items():
            yield name, _taught_by(teacher, _mapping(_mapping(training.get("teachers")).get(name)))
        yield "data", _data(_mapping(recipe.get("data")), training)
        yield "schedule", _schedule(recipe)
        if saved := _saved(self.checkpoint.metrics if self.checkpoint is not None else {}, training):
            yield "when it was saved", saved
        if self.checkpoint is not None and (versions := _written(self.checkpoint.versions)):
            yield "software", versions

    @property
    def _recipe(self) -> Mapping[str, Any]:
        return {} if self.checkpoint is None else self.checkpoint.recipe


def facts_of(model: str | Path, classifier: Classifier) -> Facts:
    """What is known of a model.

    Args:
        model: as it was named.
        classifier: as it was loaded.
    """
    file = file_of(model)
    if file is None:
        return Facts(classifier)
    content = read_weight_file(file, "model") if file.suffix in (".pt", ".safetensors") else None
    return Facts(classifier, file, parsed_checkpoint(content, file) if is_checkpoint(content) else None)


def file_of(model: str | Path) -> Path | None:
    """The file that a model is loaded from; None of one that has none of its own, as a library's."""
    name = split_words(str(model)).name
    library, _, short = name.partition("/")
    if library == _PACKAGE and not Path(name).exists():
        name = str(embedded_classifier_path(short or EMBEDDED[0]))
    return Path(name) if Path(name).is_file() else None


def _first_names(names: tuple[str, ...] | None) -> str:
    if names is None:
        return ""
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return f": {', '.join(names[:_NAMES])}{more}"


def _losses(recipe: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = recipe.get("losses")
    return [loss for loss in found if isinstance(loss, Mapping) and "method" in loss] if isinstance(found, list) else []


def _loss(loss: Mapping[str, Any]) -> str:
    """kd (weight 0.9, temperature 4)"""
    options = {name: value for name, value in loss.items() if name != "method" and value not in (None, 0, False)}
    return f"{loss['method']} ({', '.join(f'{name} {value}' for name, value in options.items())})"


def _teachers(recipe: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Of each by name; one that has none is called so."""
    one = recipe.get("teacher")
    several = {"teacher": one} if isinstance(one, Mapping) else _mapping(recipe.get("teachers"))
    return {str(name): teacher for name, teacher in several.items() if isinstance(teacher, Mapping)}


def _taught_by(teacher: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    model = teacher.get("model")
    # Where its file lies on the machine that trained is nobody else's business.
    name = f"of the recipe {teacher.get('recipe')}" if model is None else _without_folders(str(model))
    right = scores.get("test_top1")
    known = f", right on {100 * right:.2f} % of the test images" if isinstance(right, float | int) else ""
    digest = f", digest {scores['digest'][:12]}" if isinstance(scores.get("digest"), str) else ""
    return f"{name}{known}{digest}"


def _data(data: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    images = training.get("train_images")
    count = f", {counted(images, 'training image')}" if isinstance(images, int) else ""
    digest = f", digest {training['trained'][:12]}" if isinstance(training.get("trained"), str) else ""
    return f"{_without_folders(told(str(data.get('path', 'not recorded'))))}{count}{digest}"


def _without_folders(name: str) -> str:
    """A path's last part; what names no file (timm/resnet18) stays."""
    path = Path(split_words(name).name)
    return path.name if path.is_absolute() or path.suffix in _FILES or name.endswith("/") else str(path)


def _saved(metrics: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """right on 86.00 % of 1,000 test images"""
    right, images = metrics.get("test_top1"), training.get("test_images")
    if not isinstance(right, float | int):
        return ""
    return f"right on {100 * right:.2f} % of {f'{images:,}' if isinstance(images, int) else 'the'} test images"


def _schedule(recipe: Mapping[str, Any]) -> str:
    """6 epochs in batches of 32, adamw at learning rate 0.004, onecycle, fp32, seed 0"""
    optimiser, schedule = _mapping(recipe.get("optimiser")), _mapping(recipe.get("schedule"))
    parts = (
        ("{} epochs", recipe.get("epochs")),
        ("batches of {}", recipe.get("batch_size")),
        ("{}", optimiser.get("name")),
        ("learning rate {}", optimiser.get("learning_rate")),
        ("{}", schedule.get("name")),
        ("{}", recipe.get("precision")),
        ("seed {}", recipe.get("seed")),
    )
    return ", ".join(text.format(value) for text, value in parts if value is not None)


def _written(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
