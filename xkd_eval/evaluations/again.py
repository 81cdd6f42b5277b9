"""What tests need that explain images or networks of their own making."""

from __future__ import annotations

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.batch import Batch
from xkd_eval.explainers.stored import StoredMaps


def check_can_explain(batch: Batch) -> None:
    """Raise XkdError where the maps are stored ones: they would be the same for every image and network asked about."""
    if isinstance(batch.explainer, StoredMaps):
        raise XkdError(
            "maps: stored maps cannot be made again, of another image or a changed network; give an `explainer` that "
            "makes them, or leave this test out"
        )
