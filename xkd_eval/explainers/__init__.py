"""Saliency maps: the closed-form CAM, adapters to grad-cam and captum, transformers, references, stored maps.

A family is imported when an explainer is first looked up, and the library beneath it when the explainer first runs.
"""

from __future__ import annotations

from xkd_eval.explainers.base import EXPLAINERS, Context, Explainer, register_explainer
from xkd_eval.explainers.named import ExplainerInfo, as_explainer, create_explainer, list_explainers

__all__ = [
    "EXPLAINERS",
    "Context",
    "Explainer",
    "ExplainerInfo",
    "as_explainer",
    "create_explainer",
    "list_explainers",
    "register_explainer",
]
