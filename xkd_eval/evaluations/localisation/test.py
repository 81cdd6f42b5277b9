"""Localisation test: does a map find the object's box, and does it point at it?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from torch import Tensor

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.base import Evaluation
from xkd_eval.evaluations.batch import MASK_SIZE, Batch
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.localisation.options import LocalisationOptions
from xkd_eval.evaluations.localisation.protocol import PRESETS, LocalisationProtocol, level_of, localisation_protocol
from xkd_eval.evaluations.localisation.scores import MEANS, best_thresholds, hit_columns, more_columns, specs
from xkd_eval.evaluations.means import defined_columns
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.ranks import removal_order
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns
from xkd_eval.wording import counted

if TYPE_CHECKING:
    from xkd_eval.evaluations.localisation.one_image import Truth


class LocalisationTest(Evaluation):
    """MaxBoxAcc and its kin, and the pointing games, against boxes or masks."""

    name = "localisation"
    title = "Localisation test"
    citation = "Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020"
    question = "Does the map find the object's box, and does its peak lie on the object?"
    cost = "1"
    takes_label_sets = True
    is_core = True
    columns_of_all = True
    needs_labels = True
    needs_boxes = True
    in_comparisons = False
    about = (
        "A map is cut at a share of its maximum, and the box around what is left is a hit where it overlaps the "
        "object's by half. MaxBoxAcc chooses that share on the scored images themselves; GT-known localisation has it "
        "fixed."
    )
    presets = PRESETS
    Options = LocalisationOptions
    Protocol = LocalisationProtocol
    protocol: LocalisationProtocol

    def __init__(self, protocol: LocalisationProtocol) -> None:
        super().__init__(protocol)
        self.needs_boxes = self.needs_labels = protocol.regions == "boxes"
        self.needs_masks = protocol.regions == "masks"
        self.reads_answers = self.needs_labels
        # Of one class a photograph: where it holds several, the likeliest may be another of them.
        self._ranks_labels = self.needs_labels and protocol.probability == "softmax"

    @classmethod
    def create(cls, rules: Rules, options: LocalisationOptions) -> Self:
        """See Evaluation.create."""
        return cls(localisation_protocol(rules, options))

    @classmethod
    def suited(cls, offered: Collection[str]) -> str | None:
        """See Evaluation.suited: against masks where there are no boxes, or no labels for them."""
        if "labels" in offered and "boxes" in offered:
            return ""
        return "regions=masks" if "masks" in offered else None

    def scored_size(self, preprocess: Preprocess) -> tuple[int, int]:
        """The model's input's, or that at which masks come."""
        return MASK_SIZE if self.needs_masks else preprocess.size

    def rows(self, batch: Batch) -> Columns:
        """See Evaluation.rows. The classifier is not asked again."""
        from xkd_eval.evaluations.localisation.one_image import score_image  # with OpenCV and SciPy

        rules, size = self.protocol, self.scored_size(batch.preprocess)
        maps = batch.required_maps()
        sharp, degenerate = in_form(maps, "cubic", size, rules.tie_seed)
        smooth, flat = in_form(maps, "minmax", size, rules.tie_seed)
        ranks, _ = removal_order(size, rules.tie_seed, smooth.device).descending(smooth)
        boxed, pointing, order = (found.cpu().numpy() for found in (sharp, smooth, ranks))
        truths = self._truths(batch, size)
        rows = [score_image(*image, rules) for image in zip(boxed, pointing, order, truths, strict=True)]
        columns = {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}
        if self._ranks_labels:
            columns |= _ranked(batch.logits, batch.labels)
        return {"degenerate": (degenerate | flat).cpu().numpy(), **columns}

    def _truths(self, batch: Batch, size: tuple[int, int]) -> list[Truth]:
        from xkd_eval.evaluations.localisation.one_image import Truth, covered, on_the_map

        own = batch.mask_boxes if self.needs_masks else batch.boxes
        if own is None or (self.needs_masks and batch.masks is None):
            raise XkdError(f"data: the set has no {self.protocol.regions}; localisation finds them: give `regions`")
        boxes = [on_the_map(found.numpy(), image, size) for found, image in zip(own, batch.sizes, strict=True)]
        if batch.masks is not None and self.needs_masks:
            masks = batch.masks.cpu().numpy()
            return [Truth(found, mask == 1, mask == 1, mask >= 0) for found, mask in zip(boxes, masks, strict=True)]
        all_known = np.ones(size, dtype=bool)
        truths = []
        for found in boxes:
            region = covered(found, size)
            first = self.protocol.energy_box == "first"
            energy_region = covered(found[:1], size, last=False) if first else region
            truths.append(Truth(found, region, energy_region, all_known))
        return truths

    def columns(self, rows: Columns) -> Columns:
        """See Evaluation.columns."""
        labels = self._ranks_labels
        own = {**hit_columns(rows, with_labels=labels), **more_columns(rows, self._level, with_labels=labels)}
        return own | defined_columns(rows, MEANS)

    def specs(self) -> tuple[ScoreSpec, ...]:
        """See Evaluation.specs."""
        return specs(self._level, self.protocol.threshold, with_labels=self._ranks_labels)

    @property
    def _level(self) -> int:
        return level_of(self.protocol.threshold)

    def extras(self, rows: StoredColumns) -> dict[str, Any]:
        """See Evaluation.extras."""
        return {
            **super().extras(rows),
            "best_threshold": best_thresholds(rows),
            "without_object": int((~rows["has_object"]).sum()),
        }

    def notes(self, summary: Mapping[str, Any]) -> list[str]:
        """See Evaluation.notes."""
        low, high = summary["best_threshold"]["largest_50"]
        fixed = summary["fixed"]["gt_known"]["value"]
        at_fixed = "" if fixed is None else f"; at the fixed {self.protocol.threshold:g} it is {100 * fixed:.1f} %"
        notes = [f"MaxBoxAcc is that of the threshold that suits these images best, {low:g} to {high:g}{at_fixed}"]
        unknown = (summary["data"].get("boxes") or {}).get("unknown")
        if unknown:
            notes.append(f"the boxes name {counted(unknown, 'other image')}, not among these")
        if summary["without_object"]:
            without = counted(summary["without_object"], "image")
            notes.append(f"left out of every score: {without} without an object in the mask")
        return notes + super().notes(summary)

    def quality(self, rows: StoredColumns) -> np.ndarray:
        """See Evaluation.quality: the best overlap that any threshold gives."""
        return rows["best_iou"]


def _ranked(logits: Tensor, labels: Tensor) -> Columns:
    """Whether the label is the prediction, and among the five likeliest classes."""
    best = logits.topk(min(5, logits.shape[1])).indices
    top1, top5 = logits.argmax(1) == labels, (best == labels[:, None]).any(1)
    return {"top1": top1.cpu().numpy(), "top5": (top1 | top5).cpu().numpy()}
