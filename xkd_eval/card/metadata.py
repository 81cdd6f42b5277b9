"""What the hub reads of a card: the YAML at its head, made by the hub's own library."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from xkd_eval.card.facts import Facts
from xkd_eval.card.scores import ACCURACY, CardScore
from xkd_eval.escapes import visible

LIBRARY = "xkd-eval"
TASK = "image-classification"

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._-]+")


def metadata(
    facts: Facts,
    scores: Sequence[CardScore],
    name: str,
    license: str | None,
    base_model: str | None,
    tags: Sequence[str],
) -> Any:
    """The metadata of a model, as huggingface_hub's ModelCardData.

    Args:
        facts: of the model.
        scores: those that are undefined are left out.
        name: of the model.
        license: the hub's identifier of one; nothing is said without it.
        base_model: a repository; by default the one that the recipe names, if any.
        tags: beside the card's own.
    """
    from huggingface_hub import ModelCardData

    known = [score for score in scores if score.value is not None]
    taught = ("knowledge-distillation",) if facts.is_taught else ()
    base = base_model or facts.base_model
    return ModelCardData(
        license=None if license is None else visible(license),
        base_model=None if base is None else visible(base),
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=list(dict.fromkeys(map(visible, (TASK, "explainability", *taught, *facts.methods, *tags)))),
        metrics=["accuracy"] if any(score.spec is ACCURACY for score in known) else None,
        model_name=visible(name),
        eval_results=[_result(score) for score in known] or None,
    )


def _result(score: CardScore) -> Any:
    from huggingface_hub import EvalResult

    name, digest, _ = score.data
    return EvalResult(
        task_type=TASK,
        task_name="Image classification",
        dataset_type=_NOT_IN_IDS.sub("-", name).strip("-") or "images",
        dataset_name=visible(name),
        dataset_revision=digest,
        metric_type="accuracy" if score.spec is ACCURACY else f"{visible(score.test)}.{score.spec.name}",
        metric_name=" ".join(part for part in (score.spec.heading, visible(_of(score))) if part),
        metric_value=score.value,
        metric_args=dict(_arguments(score)),
    )


def _of(score: CardScore) -> str:
    return "" if score.maps is None else f"({score.maps})"


def _arguments(score: CardScore) -> Iterator[tuple[str, Any]]:
    """What the value is of, and how sure: `metric_args` is the one place that the hub's format has for it."""
    if score.interval is not None:
        yield "ci95", list(score.interval)
    yield "images", score.data[2]
    if score.protocol is not None:
        yield "protocol", visible(score.protocol[0])
        yield "protocol_hash", score.protocol[1]
    if score.spec.better is not None:
        yield "better", score.spec.better
