"""Losses of maps with what is trained beside the student: regressors, fusions, projectors. Both sides' start equal."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.published_losses.cases import Pair, case
from benchmarks.published_losses.inputs import Inputs, Network
from benchmarks.published_losses.maps import norm_of
from distill.losses import fitnet_loss, simkd_loss, vitkd_loss
from distill.methods import Pass
from distill.methods.fitnet import regressor
from distill.methods.ofd import Ofd
from distill.methods.reviewkd import ReviewKd
from distill.methods.vid import VidRegressor
from distill.methods.vitkd import Generation
from xkd_eval.classifiers.architectures.reused_head import projector


@case("fitnet", "mdistiller", "mdistiller/distillers/FitNet.py", note="with its regressor")
def fitnet(given: Inputs, theirs: Any) -> Pair:
    own, other = given.student.maps, given.teacher.maps
    published = theirs.ConvReg(own.shape, other.shape).double()
    training = SimpleNamespace(
        student=lambda images: (given.student.logits, {"feats": [own]}),
        teacher=lambda images: (given.teacher.logits, {"feats": [other]}),
        conv_reg=published,
        hint_layer=0,
        ce_loss_weight=0.0,
        feat_loss_weight=1.0,
    )
    regress = regressor(own, other).double()
    _same(regress[0], published.conv)
    _, losses = theirs.FitNet.forward_train(training, None, given.labels)
    return losses["loss_kd"], fitnet_loss(regress(own), other)


@case(
    "ofd",
    "mdistiller",
    "mdistiller/distillers/OFD.py",
    note="of two maps, with its connectors; with margins by batch norms, which theirs computes in float32",
)
def ofd(given: Inputs, theirs: Any) -> Pair:
    own = [F.avg_pool2d(given.regressed, 2), given.regressed.sin()]
    other = [given.teacher.maps, given.teacher.maps.cos()]
    channels, norms = [maps.shape[1] for maps in other], [norm_of(given.teacher)] * 2
    described = SimpleNamespace(
        get_stage_channels=lambda: [0, *channels],
        get_bn_before_relu=lambda: norms,
    )
    weights = SimpleNamespace(
        LOSS=SimpleNamespace(CE_WEIGHT=0, FEAT_WEIGHT=1), CONNECTOR=SimpleNamespace(KERNEL_SIZE=1)
    )
    published = theirs.OFD(described, described, SimpleNamespace(OFD=weights)).double()
    method = Ofd()
    method.teacher_norms = {str(place): (norm.bias, norm.weight) for place, norm in enumerate(norms)}
    passes = _tapped(given.student, own), _tapped(given.teacher, other)
    method.setup(*passes, dataset_size=1)
    for ours, connector in zip(method.connectors, published.connectors.connectors, strict=True):
        _same(ours, connector)
    return published.ofd_loss(own, other), 1000 * method(*passes, given.labels)["ofd"]


@case(
    "reviewkd", "mdistiller", "mdistiller/distillers/ReviewKD.py", note="of two maps and the embedding, with its fusion"
)
def reviewkd(given: Inputs, theirs: Any) -> Pair:
    student, teacher = given.student, given.teacher
    own, other = (
        [F.interpolate(network.maps, scale_factor=2).sin(), network.maps, network.embedding[:, :, None, None]]
        for network in (student, teacher)
    )
    shaped = SimpleNamespace(
        SHAPES=[maps.shape[3] for maps in own[::-1]],
        OUT_SHAPES=[maps.shape[3] for maps in other[::-1]],
        IN_CHANNELS=[maps.shape[1] for maps in own],
        OUT_CHANNELS=[maps.shape[1] for maps in other],
        CE_WEIGHT=0,
        REVIEWKD_WEIGHT=1,
        WARMUP_EPOCHS=1,
        STU_PREACT=False,
        MAX_MID_CHANNEL=512,
    )
    published = theirs.ReviewKD(
        lambda images: (student.logits, {"feats": own[:2], "pooled_feat": student.embedding}),
        lambda images: (teacher.logits, {"preact_feats": [None, *other[:2]], "pooled_feat": teacher.embedding}),
        SimpleNamespace(REVIEWKD=shaped),
    ).double()
    method = ReviewKd()
    passes = _tapped(student, own[:2]), _tapped(teacher, other[:2])
    method.setup(*passes, dataset_size=1)
    for ours, fusion in zip(method.fusions, published.abfs, strict=True):
        for own_part, part in (("reduce", "conv1"), ("attention", "att_conv"), ("expand", "conv2")):
            _same(getattr(ours, own_part), getattr(fusion, part))
    _, losses = published.forward_train(None, given.labels, epoch=1)
    return losses["loss_kd"], method(*passes, given.labels)["reviewkd"]


@case("vid", "RepDistiller", "distiller_zoo/VID.py", note="with its regressor")
def vid(given: Inputs, theirs: Any) -> Pair:
    own, other = given.student.maps, given.teacher.maps
    channels = other.shape[1]
    published = theirs.VIDLoss(own.shape[1], channels, channels).double()
    regress = VidRegressor(own.shape[1], channels, variance=5.0).double()
    _same(regress.mean, published.regressor)
    return published(own, other), regress(own, other)


@case("simkd", "SimKD", "models/util.py", note="with its projector")
def simkd(given: Inputs, theirs: Any) -> Pair:
    own, other = given.student.maps, given.teacher.maps
    published = theirs.SimKD(s_n=own.shape[1], t_n=other.shape[1], factor=2).double()
    project = projector(own.shape[1], other.shape[1], other.shape[1] // 2).double()
    _same(project, published.transfer)
    mapped, target, _ = published(own, other, nn.Linear(other.shape[1], 1).double())
    smaller = min(own.shape[2], other.shape[2])
    return F.mse_loss(mapped, target), simkd_loss(project(F.adaptive_avg_pool2d(own, smaller)), other)


@case(
    "vitkd",
    "cls_KD",
    "mmcls/models/dis_losses/vitkd.py",
    note="of three blocks, with its generation",
    absent=("mmcls", "mmcls.registry"),
)
def vitkd(given: Inputs, theirs: Any) -> Pair:
    maps, channels = given.teacher.maps, given.teacher.maps.shape[1]
    own = [given.regressed, 2 * given.regressed, given.regressed.cos()]
    other = [maps, maps.sin(), 3 * maps]
    published = theirs.ViTKDLoss("", True, channels, channels).double()
    nn.init.normal_(published.mask_token)
    generation = Generation(channels, masked=0.5).double()
    generation.mask_token.data = published.mask_token.data.reshape(1, channels, 1, 1)
    _same(generation.generate, published.generation)
    torch.manual_seed(0)
    expected = published(*map(_as_tokens, (own, other)))
    torch.manual_seed(0)
    made, mask = generation(own[2])
    mimicked = vitkd_loss(own[0], other[0]) + vitkd_loss(own[1], other[1])
    return expected, 3e-5 * mimicked + 3e-6 / 0.5 * vitkd_loss(made, other[2], mask)


def _as_tokens(maps: Sequence[Tensor]) -> list[Tensor]:
    """Of two shallow blocks (B, 2, N, C), and of the deepest (B, N, C)."""
    first, second, last = (each.flatten(2).transpose(1, 2) for each in maps)
    return [torch.stack((first, second), 1), last]


def _tapped(network: Network, maps: Sequence[Tensor]) -> Pass:
    taps = {str(place): each for place, each in enumerate(maps)}
    return Pass(network.logits, taps=taps, pooled=network.embedding)


def _same(ours: nn.Module | None, theirs: nn.Module | None) -> None:
    """Give ours the weights of theirs."""
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        ours.load_state_dict(theirs.state_dict())
