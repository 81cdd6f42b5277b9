"""Losses of logits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.published_losses.cases import Pair, case
from benchmarks.published_losses.inputs import Inputs
from distill.losses import (
    dist_loss,
    dkd_loss,
    kd_loss,
    mld_loss,
    mlkd_loss,
    standardise_logits,
    tf_kd_loss,
    token_kd_loss,
    ttm_loss,
    wttm_loss,
)


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
    note="without its cross-entropy; our default is the paper's eq. 9, which softens both sides",
)
def tf_kd(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits
    weighed = SimpleNamespace(reg_alpha=0.5, reg_temperature=20, multiplier=1.0)
    total = theirs.loss_kd_regularization(logits, given.labels, weighed)
    alone = (total - 0.5 * F.cross_entropy(logits, given.labels)) / 0.5
    return alone, tf_kd_loss(logits, given.labels, correct=0.99, temperature=20, variant="author")


@case("ttm", "TTM", "distiller_zoo/ttm.py")
def ttm(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    return theirs.TTM(0.1)(*logits), ttm_loss(*logits, exponent=0.1)


@case("wttm", "TTM", "distiller_zoo/wttm.py")
def wttm(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    return theirs.WTTM(0.2)(*logits), wttm_loss(*logits, exponent=0.2)


_ONE_VIEW = "without its cross-entropy; both of its views are the same images"


@case(
    "mlkd",
    "Multi-Level-Logit-Distillation",
    "mdistiller/distillers/KD_ours.py",
    note=_ONE_VIEW,
    absent=("turtle",),
)
def mlkd(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    return _of_two_views(given, theirs.KD_ours), mlkd_loss(*logits)


@case(
    "mlkd, standardised",
    "logit-standardization-KD",
    "mdistiller/distillers/MLKD.py",
    note=_ONE_VIEW,
    absent=("turtle",),
)
def standardised_mlkd(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    return _of_two_views(given, theirs.MLKD), mlkd_loss(*logits, standardise=True)


def _of_two_views(given: Inputs, distiller: Any) -> Tensor:
    training = SimpleNamespace(
        student=lambda images: (given.student.logits, None),
        teacher=lambda images: (given.teacher.logits, None),
        temperature=4,
        ce_loss_weight=0.0,
        kd_loss_weight=1.0,
        logit_stand=True,
    )
    _, losses = distiller.forward_train(training, None, None, given.labels)
    return torch.stack([losses[name] for name in ("loss_kd", "loss_cc", "loss_bc")]).sum()


@case("mld", "L2D", "criterion/distiller_zoo/logits_based/mld.py", note="theirs clamps probabilities at 1e-8")
def mld(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    return theirs.MLD()(*logits), mld_loss(*logits)


@case("token_kd, hard", "deit", "losses.py")
def hard_token_kd(given: Inputs, theirs: Any) -> Pair:
    return _of_a_token(given, theirs, "hard"), token_kd_loss(given.student.logits, given.teacher.logits)


@case(
    "token_kd, soft",
    "deit",
    "losses.py",
    note="theirs is multiplied by K, by which its code divides and the paper does not",
)
def soft_token_kd(given: Inputs, theirs: Any) -> Pair:
    logits = given.student.logits, given.teacher.logits
    expected = _of_a_token(given, theirs, "soft") * logits[0].shape[1]
    return expected, token_kd_loss(*logits, kind="soft", temperature=3)


def _of_a_token(given: Inputs, theirs: Any, kind: str) -> Tensor:
    """Its whole loss, of which the teacher's part is all."""
    loss = theirs.DistillationLoss(F.cross_entropy, lambda images: given.teacher.logits, kind, alpha=1.0, tau=3.0)
    return loss(None, (given.student.logits.detach(), given.student.logits), given.labels)
