"""Localisation of maps that are made by hand, as a study scores them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tests.evaluations.conftest import batch_of
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.evaluations import Rules
from xkd_eval.evaluations.localisation.options import LocalisationOptions
from xkd_eval.evaluations.localisation.test import LocalisationTest

SIZE = 224


def made(**options) -> LocalisationTest:
    return LocalisationTest.create(Rules(), LocalisationOptions(**options))


def scored(maps, boxes, *, sizes=None, masks=None, logits=None, labels=None, side=SIZE, **options):
    """The rows of maps against boxes (or masks), and the summary."""
    maps = torch.as_tensor(np.asarray(maps), dtype=torch.float32)
    count = len(maps)
    pixels = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    answers = torch.tensor([[1.0, 0.0]]).repeat(count, 1) if logits is None else torch.tensor(logits)
    batch = batch_of(pixels, maps, lambda _: answers, labels or [0] * count, Preprocess(size=(side, side)))
    truth = tuple(torch.tensor(found, dtype=torch.int64).reshape(-1, 4) for found in boxes)
    own = {"mask_boxes": truth, "masks": torch.tensor(masks)} if masks is not None else {"boxes": truth}
    test = made(**options)
    rows = test.rows(replace(batch, sizes=sizes or ((side, side),) * count, **own))
    rows["target"] = batch.labels.numpy()
    return rows, test.summarise(rows)


def block(top, left, bottom, right, side=SIZE):
    """Ones on rows top to bottom and columns left to right, both ends included."""
    found = np.zeros((side, side))
    found[top : bottom + 1, left : right + 1] = 1
    return found
