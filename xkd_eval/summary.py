"""What stands in protocol.json before a run, and in summary.json after it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

import xkd_eval
from xkd_eval.engines.eager import chunk_size
from xkd_eval.results import to_columns
from xkd_eval.runner import Job, Run, Settings, scored_rows, skipped_rows

SUMMARY_SCHEMA = "xkd-eval/summary/1"


def describe(job: Job, test_settings: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """What is run, as protocol.json holds it: a directory is continued by a run of the same description alone."""
    labels = hashlib.sha256(json.dumps(job.labels).encode()).hexdigest()
    return {
        "schema": "xkd-eval/protocol/1",
        "version": xkd_eval.__version__,
        "protocol": {"hash": job.evaluation.protocol.hash, **job.evaluation.protocol.to_dict()},
        "model": {
            "name": job.classifier.name,
            "digest": job.classifier.digest(),
            "num_classes": job.classifier.num_classes,
            "preprocess": job.preprocess.to_dict(),
        },
        "explainer": {"name": job.explainer.name, **job.explainer.parameters()},
        "precision": settings.precision,
        "settings": {**test_settings, "chunk": chunk_size(torch.device(settings.device))},
        "data": {
            "name": job.dataset.name,
            "digest": job.dataset.digest(),
            "labels_digest": labels,
            "n_images": len(job.dataset),
        },
    }


def summarise(job: Job, description: dict[str, Any], done: Run) -> dict[str, Any]:
    """The scores of a finished run with what they were measured on, as summary.json holds them."""
    scored = scored_rows(done.rows)
    columns = to_columns(scored)
    skipped = skipped_rows(done.rows)
    return {
        "schema": SUMMARY_SCHEMA,
        "test": job.evaluation.name,
        "protocol": {key: description["protocol"][key] for key in ("name", "hash")},
        "model": description["model"],
        "explainer": description["explainer"],
        "precision": description["precision"],
        "data": description["data"],
        "n_images": scored.num_rows,
        "degenerate_maps": int(columns["degenerate"].sum()),
        "skipped": {"count": len(skipped), "images": skipped},
        **job.evaluation.summarise(columns),
        "images_per_second": done.images_per_second,
    }
