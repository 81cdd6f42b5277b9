"""Losses of maps on the way: the functions alone, of maps at the places that the methods choose."""

from __future__ import annotations

import inspect
import textwrap
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.published_losses.cases import Pair, case
from benchmarks.published_losses.inputs import Inputs, Network
from distill.losses import at_loss, fitnet_loss, hcl_loss, norm_loss, normal_negative_mean, nst_loss, partial_l2_loss


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


@case(
    "ofd",
    "overhaul-distillation",
    "CIFAR-100/distiller.py",
    note="with margins by a batch norm, which theirs computes in float32; theirs is divided by the number of images, "
    "as its training does",
)
def ofd(given: Inputs, theirs: Any) -> Pair:
    norm = norm_of(given.teacher)
    margin = theirs.get_margin_from_BN(norm)[:, None, None]
    ours = partial_l2_loss(given.regressed, given.teacher.maps, normal_negative_mean(norm.bias, norm.weight).detach())
    return theirs.distillation_loss(given.regressed, given.teacher.maps, margin) / len(given.labels), ours


def norm_of(network: Network) -> nn.BatchNorm2d:
    """One that the network's maps might come from, some of its channels with hardly a negative value."""
    deviation, mean = network.embedding[:2].detach()
    norm = nn.BatchNorm2d(len(mean)).double()
    norm.load_state_dict({"weight": deviation, "bias": 3 * mean}, strict=False)
    return norm


_GROUPS = 4


@case("norm", "NORM", "helper/loops.py", note="of the expanded map, four groups")
def norm(given: Inputs, theirs: Any) -> Pair:
    expanded = torch.cat([given.regressed * (1 + number) for number in range(_GROUPS)], 1)
    return _lines_of_norm(theirs, expanded, given.teacher.maps, _GROUPS), norm_loss(expanded, given.teacher.maps)


@case("norm, a larger teacher", "NORM", "helper/loops.py", note="the teacher's map is max-pooled to half")
def norm_of_a_larger_teacher(given: Inputs, theirs: Any) -> Pair:
    larger = F.interpolate(given.teacher.maps.sin(), scale_factor=2, mode="bilinear")
    return _lines_of_norm(theirs, given.regressed, larger, 1), norm_loss(given.regressed, larger)


def _lines_of_norm(theirs: Any, own: Tensor, teacher: Tensor, groups: int) -> Tensor:
    """The lines of its training for CIFAR-100 as they stand there, from the size of the pool to the loss."""
    source = inspect.getsource(theirs.train_distill).partition("elif opt.dataset == 'imagenet'")[0]
    first = source.index("            pool_size = f_t.shape[2]//f_s.shape[2]")
    end = source.index("\n", source.index("loss_norm = F.mse_loss"))
    names = {"F": F, "f_s": own, "f_t": teacher, "opt": SimpleNamespace(co_sponge=groups)}
    exec(textwrap.dedent(source[first:end]), names)
    return names["loss_norm"]
