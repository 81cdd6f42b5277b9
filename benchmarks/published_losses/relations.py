"""Losses that compare the images of a batch, or one with a memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from benchmarks.published_losses.cases import Pair, case
from benchmarks.published_losses.inputs import Inputs
from distill.losses import kd_loss, pkt_loss, rkd_loss, sp_loss, srd_loss
from distill.methods import Pass
from distill.methods.crd import Crd


@case("sp", "mdistiller", "mdistiller/distillers/SP.py")
def sp(given: Inputs, theirs: Any) -> Pair:
    maps = given.student.maps, given.teacher.maps
    return theirs.similarity_loss(*maps), sp_loss(*maps)


@case(
    "rkd",
    "mdistiller",
    "mdistiller/distillers/RKD.py",
    note="theirs expands the squared distances, ours takes differences",
)
def rkd(given: Inputs, theirs: Any) -> Pair:
    embeddings = given.student.embedding, given.teacher.embedding
    return theirs.rkd_loss(*embeddings), rkd_loss(*embeddings)


@case("pkt", "mdistiller", "mdistiller/distillers/PKT.py")
def pkt(given: Inputs, theirs: Any) -> Pair:
    embeddings = given.student.embedding, given.teacher.embedding
    return theirs.pkt_loss(*embeddings), pkt_loss(*embeddings)


_CHANNELS = 512  # which theirs has written into it


@case(
    "srd",
    "Simple-Recipe-Distillation",
    "imagenet/torchdistill/losses/single.py",
    note="the whole of theirs: twice srd, on embeddings of 512 channels behind its projector, beside kd of T 1",
)
def srd(given: Inputs, theirs: Any) -> Pair:
    published = theirs.OurDistillationLoss("log_bn_corr_4").double()
    own, other = (_widened(network.embedding) for network in (given.student, given.teacher))
    logits = given.student.logits, given.teacher.logits
    maps = own[:, :, None, None], other[:, :, None, None]
    seen = [{"layer4": {"output": each[0]}, "fc": {"output": each[1]}} for each in zip(maps, logits, strict=True)]
    ours = 2 * srd_loss(published.embed(own), other) + kd_loss(*logits, temperature=1)
    return published(*seen, "train"), ours


def _widened(embedding: Tensor) -> Tensor:
    return embedding @ torch.randn(embedding.shape[1], _CHANNELS, dtype=embedding.dtype)


_NEGATIVES = 30
_IN_MEMORY = 50
_DIMENSIONS = 16
_TEMPERATURE = 0.0625  # exact in float32, in which theirs keeps it


@case(
    "crd",
    "RepDistiller",
    "crd/criterion.py",
    note="of both embeddings, memories and normalisers, over two steps; both are given the same negatives",
)
def crd(given: Inputs, theirs: Any) -> Pair:
    batch, own = given.student.embedding.shape
    indices = torch.arange(batch)
    drawn = torch.randint(_IN_MEMORY, (batch, _NEGATIVES))
    candidates = torch.cat((indices[:, None], drawn), dim=1)
    options = SimpleNamespace(
        s_dim=own,
        t_dim=given.teacher.embedding.shape[1],
        feat_dim=_DIMENSIONS,
        nce_k=_NEGATIVES,
        nce_t=_TEMPERATURE,
        nce_m=0.5,
        n_data=_IN_MEMORY,
    )
    published = theirs.CRDLoss(options).double()
    method = _same_crd(given, published, candidates)
    embeddings = given.student.embedding, given.teacher.embedding
    passes = [Pass(logits=embedding, pooled=embedding) for embedding in embeddings]
    their_total: Tensor | float = 0.0
    our_total: Tensor | float = 0.0
    for _ in range(2):
        their_total = their_total + published(*embeddings, indices, candidates).sum()
        our_total = our_total + sum(method.losses(*passes, indices, indices).values())
    assert isinstance(their_total, Tensor) and isinstance(our_total, Tensor)
    return their_total, our_total


def _same_crd(given: Inputs, published: Any, candidates: Tensor) -> Crd:
    """Ours with their layers, their memories and their negatives."""
    method = Crd(_DIMENSIONS, _NEGATIVES, _TEMPERATURE, momentum=0.5, pool="all")
    passes = (Pass(network.logits, pooled=network.embedding) for network in (given.student, given.teacher))
    method.setup(*passes, dataset_size=_IN_MEMORY)
    method.student_embed.load_state_dict(published.embed_s.linear.state_dict())
    method.teacher_embed.load_state_dict(published.embed_t.linear.state_dict())
    method.student_memory.copy_(published.contrast.memory_v1)
    method.teacher_memory.copy_(published.contrast.memory_v2)
    method._candidates = lambda indices, labels: candidates  # type: ignore[method-assign]
    return method
