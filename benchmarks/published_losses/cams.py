"""Losses of class activation maps, regions of them, and explanations."""

from __future__ import annotations

from contextlib import nullcontext
from enum import Enum
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.published_losses.cases import Pair, case
from benchmarks.published_losses.inputs import Inputs, Network
from distill.losses import cat_kd_loss, e2kd_loss, explanation_kd_loss
from distill.methods import create_method

_IMAGE_SIDE = 30


@case("cat_kd", "CAT-KD", "mdistiller/distillers/CAT_KD.py")
def cat_kd(given: Inputs, theirs: Any) -> Pair:
    cams = [network.passed().cams() for network in (given.student, given.teacher)]
    return theirs.CAT_loss(*cams, 2, False), cat_kd_loss(*cams, grid=2, normalise=False)


@case("cat_kd, normalised", "CAT-KD", "mdistiller/distillers/CAT_KD.py")
def normalised_cat_kd(given: Inputs, theirs: Any) -> Pair:
    cams = [network.passed().cams() for network in (given.student, given.teacher)]
    return theirs.CAT_loss(*cams, 2, True), cat_kd_loss(*cams, grid=2, normalise=True)


@case(
    "exp_kd, reading author",
    "Exp-KD",
    "mdistiller/distillers/CAM.py",
    note="of the first revision, which never calls it; that of the last revision leaves the student no gradient",
    absent=("cv2", "imageio"),
)
def exp_kd(given: Inputs, theirs: Any) -> Pair:
    student, teacher = given.student, given.teacher
    cams = [_channel_means(network) for network in (teacher, student)]
    expected = theirs.CAM.get_loss_cam(SimpleNamespace(T=1), *cams)
    method = create_method("exp_kd", reading="author")
    return expected, method(student.passed(), teacher.passed(), given.labels)["exp_kd"]


def _channel_means(network: Network) -> Tensor:
    """(K, B, h, w), as its training makes them."""
    return (network.maps * network.weight[:, None, :, None, None]).mean(2).clamp(0)


_SDD_FILES = ("mdistiller/distillers/KD.py", "mdistiller/models/cifar/utils.py")
_SDD_NOTE = "with its pooling of the last map; scales 1, 2, 4"


@case("sdd, base kd", "SDD-CVPR2024", *_SDD_FILES, note=_SDD_NOTE)
def sdd(given: Inputs, theirs: Any, pools: Any) -> Pair:
    regions = [_region_logits(pools, network) for network in (given.student, given.teacher)]
    return theirs.sdd_kd_loss(*regions, 4, given.labels), _our_sdd(given, base="kd", temperature=4)


@case(
    "sdd, base dkd",
    "SDD-CVPR2024",
    "mdistiller/distillers/SDD_DKD.py",
    "mdistiller/models/cifar/utils.py",
    note=_SDD_NOTE,
)
def sdd_by_dkd(given: Inputs, theirs: Any, pools: Any) -> Pair:
    regions = [_region_logits(pools, network) for network in (given.student, given.teacher)]
    return theirs.multi_dkd(*regions, given.labels, 1, 6, 4), _our_sdd(given, base="dkd", beta=6, temperature=4)


def _region_logits(pools: Any, network: Network) -> Tensor:
    """(B, K, R): the head on each region's average, as its networks have it."""
    regions, _ = pools.SPP(M="[1,2,4]")(network.maps)
    return nn.functional.linear(regions.transpose(1, 2), network.weight, network.bias).transpose(1, 2)


def _our_sdd(given: Inputs, **options: Any) -> Tensor:
    method = create_method("sdd", **options)
    return torch.stack(list(method(given.student.passed(), given.teacher.passed(), given.labels).values())).sum()


class _Method(Enum):
    BCOS_WEIGHT = "bcos"
    GRAD_CAM_POS = "grad_cam"


@case(
    "e2kd, gradcam",
    "GoodTeachersExplain",
    "bcos/distillation_methods/TeachersExplain.py",
    note="the loss of the explanations; its other explanation, for B-cos networks, is not here",
    absent=("bcos.experiments.utils.config_utils",),
)
def e2kd(given: Inputs, theirs: Any) -> Pair:
    theirs.ExpMethod = _Method
    images = torch.zeros(len(given.labels), 3, _IMAGE_SIDE, _IMAGE_SIDE, dtype=torch.float64)
    own, other = theirs.explanation_aware_forward(_Trainer(given), images, given.labels)
    criterion = theirs.TeachersExplainCriterion._explanation_loss
    expected = criterion(None, own["grad_cam"], other["grad_cam"][:, 0]).mean()
    given.teacher.maps.requires_grad_()
    return expected, e2kd_loss(given.student.passed(images), given.teacher.passed(images))


@case(
    "explanation_kd, cosine",
    "GoodTeachersExplain",
    "bcos/distillation_methods/TeachersExplain.py",
    note="of two given maps; the other explainers and distances have no published code",
    absent=("bcos.experiments.utils.config_utils",),
)
def explanation_kd(given: Inputs, theirs: Any) -> Pair:
    maps = given.regressed.mean(1), given.teacher.maps.mean(1)
    expected = theirs.TeachersExplainCriterion._explanation_loss(None, *maps).mean()
    return expected, explanation_kd_loss(*maps, distance="cosine")


class _Trainer:
    """What their forward pass asks of a training: both networks' logits and last maps."""

    exp_distill = livekd_training = True
    is_bcos = False

    def __init__(self, given: Inputs) -> None:
        self.criterion = SimpleNamespace(explanation_method=_Method.GRAD_CAM_POS, exp_of="top1")
        self.model, self.teacher_model = SimpleNamespace(), SimpleNamespace()
        self.sync_ctx = nullcontext
        self._networks = given.student, given.teacher

    def __call__(self, images: Tensor) -> list[dict[str, Tensor]]:
        self._networks[1].maps.requires_grad_()
        return [{"output": network.linear_logits(), "features": network.maps} for network in self._networks]
