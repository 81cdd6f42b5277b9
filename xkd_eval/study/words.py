"""What stands behind models' names, against the rules that all models of a study share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import told_of
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.told import ToldInput
from xkd_eval.classifiers.words import read_words
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.study.models import NamedModel
from xkd_eval.study.options import PREPROCESS, RunOptions


def words_of(entry: NamedModel) -> dict[str, Any]:
    """The fields of Preprocess that stand behind a model's name."""
    found = read_words(entry.model)[1] if isinstance(entry.model, str) else {}
    return {name: value for name, value in found.items() if name in PREPROCESS}


def shared_resize(said: Mapping[str, Mapping[str, Any]], options: RunOptions) -> dict[str, Any]:
    """How photographs come to their size, which is one rule for all models, where it stands behind their names.

    Args:
        said: of each model, by name, what stands behind it.
        options: of the study.

    Returns:
        {"resize": ...}, or nothing.

    Raises:
        XkdError: not the same for all.
    """
    if not any("resize" in words for words in said.values()):
        return {}
    asked = {name: words.get("resize", options.resize or "squash") for name, words in said.items()}
    if len(set(asked.values())) > 1:
        listed = ", ".join(f"{resize} for {name}" for name, resize in asked.items())
        raise XkdError(f"resize: one rule for all models, and their names say {listed}; give `resize` instead")
    return {"resize": next(iter(asked.values()))}


def check_words(name: str, words: Mapping[str, Any], own: Preprocess, rules: Rules) -> None:
    """Refuse what stands behind a model's name where the rules say otherwise for all models.

    Args:
        name: of the model.
        words: behind it.
        own: its input convention, with these words.
        rules: of the study.
    """
    resolved = rules.resolve(own)
    for field_name in words:
        if getattr(own, field_name) != getattr(resolved, field_name):
            raise XkdError(
                f"models: behind the name of {name} stands {field_name}, which protocol {rules.name} says for all "
                "models; leave it out, or use `protocol` model"
            )


def told_under(entry: NamedModel, classifier: Classifier, weights: str | Path | None, rules: Rules) -> ToldInput:
    """The input under which a model is evaluated, and who says it: the protocol where it is not the model's own."""
    told = told_of(classifier, entry.model, weights, entry.name)
    preprocess = rules.resolve(classifier.preprocess)
    fields = [name for name in rules.preprocess if getattr(preprocess, name) != getattr(told.preprocess, name)]
    if rules.name != "model":
        fields = list(rules.preprocess)
    return replace(told, preprocess=preprocess, source=told.source.but(f"protocol {rules.name}", fields))
