"""The losses of distill's methods as plain functions of tensors, for a loop of one's own.

Each returns a scalar that has a gradient where its student has one, unless its docstring says otherwise (`help` prints
it, with shapes and paper). The defaults are those of the method of that name::

    of logits (B, K)          kd_loss, dkd_loss, dist_loss, tf_kd_loss, ttm_loss, wttm_loss, mlkd_loss;
                              standardise_logits in front of the first three; mld_loss of any number of labels,
                              token_kd_loss of a distillation token's
    of class activation maps  exp_kd_loss, cat_kd_loss; sdd_loss of their region_logits
    of explanations           explanation_loss and explanation_kd_loss, of two maps; e2kd_loss, of two Passes
    of maps (B, C, h, w)      at_loss, nst_loss, sp_loss; fitnet_loss, simkd_loss, vid_loss, vitkd_loss, hcl_loss
                              (ReviewKD) and partial_l2_loss (OFD, by the teacher's negative_mean, or the
                              normal_negative_mean of its norm) of as many channels, and norm_loss of N times as many,
                              the student's through a layer of yours
    of embeddings (B, C)      rkd_loss, pkt_loss, sp_loss; srd_loss of as many channels, the student's through a layer
                              of yours; nce_loss (CRD) of the scores of a memory of yours

Several have parts, which dkd_losses, dist_losses, mlkd_losses and sdd_losses return, and rkd_distance_loss and
rkd_angle_loss.
In mixed precision call them outside of autocast, on `Pass.full_precision()`; of several processes each compares its own
images. Methods see to both: `distill.create_method` makes one, as a recipe does, with its trained layers or its memory
(fitnet, vid, simkd, ofd, reviewkd, norm, vitkd, srd, crd). `distill.observe` makes a network return its maps and
embeddings beside its logits.

Example:
    >>> import torch
    >>> from distill.losses import exp_kd_loss, kd_loss
    >>> student, teacher = torch.randn(8, 10, requires_grad=True), torch.randn(8, 10)
    >>> kd_loss(student, teacher, temperature=4).backward()
    >>> student.grad.shape
    torch.Size([8, 10])
    >>> maps = torch.rand(8, 10, 4, 4)
    >>> exp_kd_loss(maps, maps)
    tensor(0.)
"""

from __future__ import annotations

from distill.methods.at import at_loss
from distill.methods.cat_kd import cat_kd_loss
from distill.methods.crd import nce_loss
from distill.methods.dist import dist_loss, dist_losses
from distill.methods.dkd import dkd_loss, dkd_losses
from distill.methods.e2kd import e2kd_loss, explanation_loss
from distill.methods.exp_kd import exp_kd_loss
from distill.methods.explanation_kd import explanation_kd_loss
from distill.methods.fitnet import fitnet_loss
from distill.methods.kd import kd_loss, standardise_logits
from distill.methods.mld import mld_loss
from distill.methods.mlkd import mlkd_loss, mlkd_losses
from distill.methods.norm import norm_loss
from distill.methods.nst import nst_loss
from distill.methods.ofd import negative_mean, normal_negative_mean, partial_l2_loss
from distill.methods.pkt import pkt_loss
from distill.methods.reviewkd import hcl_loss
from distill.methods.rkd import rkd_angle_loss, rkd_distance_loss, rkd_loss
from distill.methods.sdd import region_logits, sdd_loss, sdd_losses
from distill.methods.simkd import simkd_loss
from distill.methods.sp import sp_loss
from distill.methods.srd import srd_loss
from distill.methods.tf_kd import tf_kd_loss
from distill.methods.token_kd import token_kd_loss
from distill.methods.ttm import ttm_loss
from distill.methods.vid import vid_loss
from distill.methods.vitkd import vitkd_loss
from distill.methods.wttm import wttm_loss

__all__ = [
    "at_loss",
    "cat_kd_loss",
    "dist_loss",
    "dist_losses",
    "dkd_loss",
    "dkd_losses",
    "e2kd_loss",
    "exp_kd_loss",
    "explanation_kd_loss",
    "explanation_loss",
    "fitnet_loss",
    "hcl_loss",
    "kd_loss",
    "mld_loss",
    "mlkd_loss",
    "mlkd_losses",
    "nce_loss",
    "negative_mean",
    "norm_loss",
    "normal_negative_mean",
    "nst_loss",
    "partial_l2_loss",
    "pkt_loss",
    "region_logits",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "rkd_loss",
    "sdd_loss",
    "sdd_losses",
    "simkd_loss",
    "sp_loss",
    "srd_loss",
    "standardise_logits",
    "tf_kd_loss",
    "token_kd_loss",
    "ttm_loss",
    "vid_loss",
    "vitkd_loss",
    "wttm_loss",
]
