"""Any torch module as a Classifier; loading imports the model libraries, so it is resolved when it is first used."""

from __future__ import annotations

from typing import Any

from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.classifiers.preprocess import Preprocess

__all__ = ["CamHead", "Classifier", "Preprocess", "load_classifier"]


def __getattr__(name: str) -> Any:
    if name == "load_classifier":
        from xkd_eval.classifiers.loading import load_classifier

        return load_classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
