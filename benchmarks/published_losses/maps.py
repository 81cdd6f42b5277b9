"""Losses of maps on the way: the functions alone, of maps at the places that the methods choose."""

from __future__ import annotations

from typing import Any

from benchmarks.published_losses.cases import Pair, case
from benchmarks.published_losses.inputs import Inputs
from distill.losses import at_loss, fitnet_loss, hcl_loss, negative_mean, nst_loss, partial_l2_loss


@case("at", "mdistiller", "mdistiller/distillers/AT.py")
def at(given: Inputs, theirs: Any) -> Pair:
    maps = given.student.maps, given.teacher.maps
    return theirs.single_stage_at_loss(*maps, 2), at_loss(*maps, power=2)


@case("nst", "mdistiller", "mdistiller/distillers/NST.py")
def nst(given: Inputs, theirs: Any) -> Pair:
    maps = given.student.maps, given.teacher.maps
    return theirs.single_stage_nst_loss(*maps), nst_loss(*maps)


@case("fitnet", "RepDistiller", "distiller_zoo/FitNet.py", note="of the student's map behind its regressor")
def fitnet(given: Inputs, theirs: Any) -> Pair:
    maps = given.regressed, given.teacher.maps
    return theirs.HintLoss()(*maps), fitnet_loss(*maps)


@case(
    "reviewkd",
    "ReviewKD",
    "CIFAR-100/model/reviewkd.py",
    note="the hierarchical context loss, of maps behind the fusion",
)
def reviewkd(given: Inputs, theirs: Any) -> Pair:
    maps = given.regressed, given.teacher.maps
    return theirs.hcl([maps[0]], [maps[1]]), hcl_loss(*maps)


@case("ofd", "mdistiller", "mdistiller/distillers/OFD.py", note="of the student's map behind its connector")
def ofd(given: Inputs, theirs: Any) -> Pair:
    margin = negative_mean(given.teacher.maps)
    ours = partial_l2_loss(given.regressed, given.teacher.maps, margin)
    return theirs.feat_loss(given.regressed, given.teacher.maps, margin[:, None, None]), ours


@case(
    "ofd", "overhaul-distillation", "CIFAR-100/distiller.py", note="theirs divided by the images, as its training does"
)
def ofd_of_its_authors(given: Inputs, theirs: Any) -> Pair:
    margin = negative_mean(given.teacher.maps)
    total = theirs.distillation_loss(given.regressed, given.teacher.maps, margin[:, None, None])
    return total / len(given.labels), partial_l2_loss(given.regressed, given.teacher.maps, margin)
