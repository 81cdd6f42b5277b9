"""Losses of logits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from torch.nn import functional as F

from benchmarks.published_losses.cases import Pair, case
from benchmarks.published_losses.inputs import Inputs
from distill.losses import dist_loss, dkd_loss, kd_loss, standardise_logits, tf_kd_loss


@case("kd", "mdistiller", "mdistiller/distillers/KD.py")
def kd(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    return theirs.kd_loss(*logits, 4), kd_loss(*logits, temperature=4)


@case("kd", "RepDistiller", "distiller_zoo/KD.py")
def kd_of_repdistiller(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    return theirs.DistillKL(4)(*logits), kd_loss(*logits, temperature=4)


@case("kd, standardised", "logit-standardization-KD", "mdistiller/distillers/KD.py")
def standardised_kd(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    return theirs.kd_loss(*logits, 2, True), kd_loss(*map(standardise_logits, logits), temperature=2)


@case("dkd", "mdistiller", "mdistiller/distillers/DKD.py")
def dkd(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits, given.labels
    return theirs.dkd_loss(*logits, 1, 8, 4), dkd_loss(*logits, alpha=1, beta=8, temperature=4)


@case("dkd, standardised", "logit-standardization-KD", "mdistiller/distillers/DKD.py")
def standardised_dkd(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    own, other = map(standardise_logits, logits)
    ours = dkd_loss(own, other, given.labels, alpha=1, beta=8, temperature=2)
    return theirs.dkd_loss(*logits, given.labels, 1, 8, 2, True), ours


@case("dist, T 4", "image_classification_sota", "lib/models/losses/dist_kd.py")
def dist(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    return theirs.DIST(2, 1, 4)(*logits), dist_loss(*logits, beta=2, gamma=1, temperature=4)


@case("dist, T 1", "DIST_KD", "segmentation/losses/dist_kd.py")
def dist_of_segmentation(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    return theirs.DIST()(*logits), dist_loss(*logits)


@case(
    "tf_kd, variant author",
    "Teacher-free-Knowledge-Distillation",
    "my_loss_function.py",
    note="its cross-entropy taken off; the default is the paper's eq. 9, which softens both sides",
)
def tf_kd(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits
    weighed = SimpleNamespace(reg_alpha=0.5, reg_temperature=20, multiplier=1.0)
    total = theirs.loss_kd_regularization(logits, given.labels, weighed)
    alone = (total - 0.5 * F.cross_entropy(logits, given.labels)) / 0.5
    return alone, tf_kd_loss(logits, given.labels, correct=0.99, temperature=20, variant="author")
