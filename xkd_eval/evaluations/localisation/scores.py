"""The scores of the localisation test, of which some hold at the threshold that suits the scored images best."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from xkd_eval.evaluations.localisation.protocol import FOUND, IOUS, level_of
from xkd_eval.evaluations.means import curve_score, mean_score
from xkd_eval.evaluations.scores import Columns, ScoreSpec, StoredColumns
from xkd_eval.statistics.bootstrap import Means

MEANS = ("pointing_game", "energy_pointing_game", "relevance_rank_accuracy", "top_k_intersection", "localisation_auc")
"""Columns of which scores are means."""

CURVE = tuple(round(0.02 * step, 2) for step in range(50))
"""Thresholds of the curve."""

_SIGMAS = 5


def hits(rows: StoredColumns, found: str, iou: float) -> np.ndarray:
    """(n, 255) booleans, a threshold a column: whether the box that is found is a hit.

    Args:
        rows: with "hits", of whose byte a level bit 3 f + i is for FOUND f and IOUS i.
        found: of FOUND.
        iou: of IOUS.
    """
    return (rows["hits"] >> (len(IOUS) * FOUND.index(found) + IOUS.index(iou)) & 1).astype(bool)


def hit_columns(rows: Columns, *, with_labels: bool) -> Columns:
    """The hits at the thresholds among which the best is, for the bootstrap.

    A threshold whose share of hits is five standard errors below the best one's is the best of no resample; without it
    50,000 images need a tenth of the memory.
    """
    columns: Columns = {}
    for found in FOUND:
        for iou in IOUS:
            one = hits(rows, found, iou)
            share = one.mean(0)
            near = share >= share.max() - _SIGMAS / np.sqrt(len(one))
            columns[_named(found, iou)] = one[:, near]
            if with_labels and (found, iou) == ("largest", 0.5):
                for rank in ("top1", "top5"):
                    columns[f"{rank}_{_named(found, iou)}"] = one[:, near] & rows[rank][:, None]
    return columns


def _named(found: str, iou: float) -> str:
    return f"{found}_{round(100 * iou)}"


_ONE = _named("largest", 0.5)


def specs(level: int, threshold: float, *, with_labels: bool) -> tuple[ScoreSpec, ...]:
    """All scores.

    Args:
        level: that the fixed threshold is.
        threshold: as the user says it.
        with_labels: whether the answers enter, for top-1 and top-5 localisation.
    """
    fixed = f"threshold {threshold:g} of the maximum"
    chosen = "threshold chosen on these images"
    ranks = ("top1", "top5") if with_labels else ()
    titles = {"top1": "top-1 localisation", "top5": "top-5 localisation"}
    return (
        _score("max_box_acc", "MaxBoxAcc", partial(_best, _ONE), partial(_best_hits, "largest", 0.5), note=chosen),
        _score("max_box_acc_v2", "MaxBoxAccV2", _v2, _v2_hits, role="headline", note=chosen),
        *(
            _score(
                f"{rank}_localisation", titles[rank], partial(_best_ranked, rank), partial(_ranked, rank), note=chosen
            )
            for rank in ranks
        ),
        _score("fixed.gt_known", "GT-known localisation", partial(_fixed, "fixed"), partial(_at, level), note=fixed),
        *(
            _score(
                f"fixed.{rank}",
                f"{titles[rank]} at the fixed threshold",
                partial(_fixed, f"fixed_{rank}"),
                partial(_at_ranked, level, rank),
                note=fixed,
                role="compared",
            )
            for rank in ranks
        ),
        _mean("pointing_game", "pointing game", role="headline"),
        _mean("energy_pointing_game", "energy pointing game"),
        _score(
            "pointing_game_by_class",
            "pointing game, mean of classes",
            lambda means: means["pointing_game_by_class"],
            _by_class,
            role="compared",
        ),
        _mean("relevance_rank_accuracy", "relevance rank accuracy", role="compared"),
        _mean("top_k_intersection", "top-k intersection", role="compared"),
        _mean("localisation_auc", "ROC area of the object's pixels", role="compared"),
        *(
            _score(
                f"box_acc.{_named(found, iou)}",
                f"share of boxes with IoU >= {iou:g}, {'one contour' if found == 'largest' else 'any contour'}",
                partial(_best, _named(found, iou)),
                partial(_best_hits, found, iou),
                role="detail",
                note=chosen,
            )
            for found in FOUND
            for iou in IOUS
        ),
        curve_score("box_acc_curve", "GT-known localisation by threshold", CURVE, better="higher", role="compared"),
    )


def more_columns(rows: Columns, level: int, *, with_labels: bool) -> Columns:
    """What other scores are made of: hits at the fixed threshold, and along the curve; the pointing game by class."""
    one = hits(rows, "largest", 0.5)
    columns: Columns = {
        "has_object": rows["has_object"],
        "fixed": one[:, level],
        "box_acc_curve": one[:, [level_of(threshold) for threshold in CURVE]],
        "pointing_game_by_class": np.nan_to_num(_by_class(rows)),
    }
    if with_labels:
        columns |= {f"fixed_{rank}": one[:, level] & rows[rank] for rank in ("top1", "top5")}
    return columns


def best_thresholds(rows: StoredColumns) -> dict[str, Any]:
    """What is found and from which IoU -> the thresholds, the least and the greatest, at which most hits are."""
    chosen = {}
    for found in FOUND:
        for iou in IOUS:
            share = hits(rows, found, iou).mean(0)
            (best,) = np.nonzero(share == share.max())
            # Of the published 1000 thresholds, those that are these levels.
            steps = [step for step in range(1000) if level_of(step / 1000) in (best[0], best[-1])]
            chosen[_named(found, iou)] = [min(steps) / 1000, max(steps) / 1000]
    return chosen


def _score(
    name: str,
    title: str,
    compute: Callable[[Means], np.ndarray],
    per_image: Callable[[Columns], np.ndarray],
    **more: Any,
) -> ScoreSpec:
    return ScoreSpec(name, title, compute, better="higher", range=(0, 1), per_image=per_image, **more)


def _mean(column: str, title: str, **more: Any) -> ScoreSpec:
    return mean_score(column, title, better="higher", range=(0, 1), **more)


def _best(column: str, means: Means) -> np.ndarray:
    return means[column].max(1) / means["has_object"]


def _v2(means: Means) -> np.ndarray:
    return np.mean([_best(_named("all", iou), means) for iou in IOUS], axis=0)


def _best_ranked(rank: str, means: Means) -> np.ndarray:
    best = means[_ONE].argmax(1)[:, None]
    return np.take_along_axis(means[f"{rank}_{_ONE}"], best, axis=1)[:, 0] / means["has_object"]


def _fixed(column: str, means: Means) -> np.ndarray:
    return means[column] / means["has_object"]


def _best_hits(found: str, iou: float, rows: Columns) -> np.ndarray:
    one = hits(rows, found, iou)
    return _defined(one[:, one.mean(0).argmax()], rows)


def _v2_hits(rows: Columns) -> np.ndarray:
    return np.mean([_best_hits("all", iou, rows) for iou in IOUS], axis=0)


def _ranked(rank: str, rows: Columns) -> np.ndarray:
    return _best_hits("largest", 0.5, rows) * rows[rank]


def _at(level: int, rows: Columns) -> np.ndarray:
    return _defined(hits(rows, "largest", 0.5)[:, level], rows)


def _at_ranked(level: int, rank: str, rows: Columns) -> np.ndarray:
    return _at(level, rows) * rows[rank]


def _by_class(rows: Columns) -> np.ndarray:
    """(n,) hits of the pointing game, weighted so that their mean over the images that define it is that of classes."""
    points = rows["pointing_game"].astype(np.float64)
    there = ~np.isnan(points)
    if not there.any():
        return points
    _, of_class, counts = np.unique(rows["target"][there], return_inverse=True, return_counts=True)
    points[there] *= there.sum() / (len(counts) * counts[of_class])
    return points


def _defined(values: np.ndarray, rows: Columns) -> np.ndarray:
    return np.where(rows["has_object"], values.astype(np.float64), np.nan)
