"""The boxes of a map above each threshold, and how well they meet the object's: one map at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from xkd_eval.evaluations.localisation.protocol import LEVELS

_ROUGH = 8
"""Edges a row, in the mean over all thresholds, beyond which contours are not followed one by one."""

_TOGETHER = 2**15

Found = tuple[np.ndarray, np.ndarray]
"""(n, 4) x, y, width and height of the boxes of a thresholded map; and (4,), of the largest contour or component."""


def iou_by_level(values: np.ndarray, truth: np.ndarray, largest: str) -> tuple[np.ndarray, np.ndarray]:
    """IoU of what is found above each threshold with the nearest of the object's boxes (Choe et al., CVPR 2020).

    Args:
        values: (H, W) uint8, of which the largest is 255.
        truth: (m, 4) x0, y0, x1, y1 on the map, ends inclusive; m > 0.
        largest: by what the one box is chosen: "contour" or "component".

    Returns:
        (2, 255) float64: of the box of the largest contour alone, and of the best of all contours' boxes; and (255, 4)
        the former.
    """
    # Between two values that the map has, each threshold leaves the same.
    present = np.unique(values)
    present = present[present < LEVELS]
    last = np.array(values.shape[::-1]) - 1
    single, best, ones = [], [], []
    for block in _blocks(_found(values, present, largest)):
        boxes, chosen = _cut(np.concatenate([found for found, _ in block]), last), _cut([one for _, one in block], last)
        starts = np.cumsum([0, *(len(found) for found, _ in block[:-1])])
        best.append(np.maximum.reduceat(iou_of(boxes, truth).max(1), starts))
        single.append(iou_of(chosen, truth).max(1))
        ones.append(chosen)
    below = np.searchsorted(present, np.arange(LEVELS), side="right") - 1
    return np.stack([np.concatenate(single), np.concatenate(best)])[:, below], np.concatenate(ones)[below]


def iou_of(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n, 4) and (m, 4) boxes -> (n, m), all ends counted as inclusive, as the published code has it."""
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    common = np.maximum(high - low + 1, 0).prod(2)
    areas = [(found[:, 2:] - found[:, :2] + 1).prod(1) for found in (boxes, truth)]
    return np.asarray(common / (areas[0][:, None] + areas[1][None] - common))


def _found(values: np.ndarray, present: np.ndarray, largest: str) -> Iterator[Found]:
    edges = np.abs(np.diff(values.astype(np.int16), axis=1)).sum()
    follow = _of_components if edges > _ROUGH * LEVELS * len(values) else _of_contours
    for level in present:
        above = cv2.threshold(values, int(level), 255, cv2.THRESH_BINARY)[1]
        boxes, one = follow(above, largest)
        yield boxes, _largest_component(above) if largest == "component" else one


def _blocks(found: Iterator[Found]) -> Iterator[list[Found]]:
    """Of several thresholds together, but of a bounded number of boxes."""
    block: list[Found] = []
    count = 0
    for boxes, one in found:
        block.append((boxes, one))
        count += len(boxes)
        if count > _TOGETHER:
            yield block
            block, count = [], 0
    if block:
        yield block


def _cut(boxes: Any, last: np.ndarray) -> np.ndarray:
    """x, y, width and height -> x0, y0, x1, y1, the latter one past the last pixel and cut at the map's last."""
    boxes = np.asarray(boxes, dtype=np.int64)
    return np.concatenate([boxes[:, :2], np.minimum(boxes[:, :2] + boxes[:, 2:], last)], 1)


def _of_contours(above: np.ndarray, largest: str) -> tuple[np.ndarray, np.ndarray]:
    """x, y, width and height of every contour, a hole's too, and of the one that encloses most."""
    contours = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    boxes = np.array([cv2.boundingRect(contour) for contour in contours])
    if len(boxes) == 1:
        return boxes, boxes[0]
    return boxes, boxes[int(np.argmax([cv2.contourArea(contour) for contour in contours]))]


def _of_components(above: np.ndarray, largest: str) -> tuple[np.ndarray, np.ndarray]:
    """The same by components, for maps of which each threshold leaves thousands.

    A contour goes around a component of the map, or along the pixels around a hole, a component of the background that
    the map's edge does not meet. So a hole's box is one pixel wider on each side.
    """
    labels, own = cv2.connectedComponentsWithStats(above, connectivity=8)[1:3]
    behind = cv2.connectedComponentsWithStats(255 - above, connectivity=4)[2]
    own, behind = own[1:, :4], behind[1:, :4]
    size = np.array(above.shape[::-1])
    enclosed = (behind[:, :2] > 0).all(1) & (behind[:, :2] + behind[:, 2:] < size).all(1)
    boxes = np.concatenate([own, behind[enclosed] + [-1, -1, 2, 2]])
    return boxes, own[_encloses_most(labels, own)] if largest == "contour" else own[0]


def _encloses_most(labels: np.ndarray, boxes: np.ndarray) -> int:
    """The component whose outer contour encloses most, any of equals: none encloses more than its box."""
    most = (boxes[:, 2:] - 1).prod(1)
    best, best_area = 0, -1.0
    for component in np.argsort(-most, kind="stable"):
        if most[component] <= best_area:
            break
        x, y, width, height = boxes[component]
        own = (labels[y : y + height, x : x + width] == component + 1).astype(np.uint8)
        outer = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        area = max(map(cv2.contourArea, outer))
        if area > best_area:
            best, best_area = int(component), area
    return best


def _largest_component(above: np.ndarray) -> np.ndarray:
    """x, y, width and height of the component of most pixels, the first of equals."""
    statistics = cv2.connectedComponentsWithStats(above, connectivity=8)[2][1:]
    return np.asarray(statistics[int(statistics[:, cv2.CC_STAT_AREA].argmax()), :4])
