"""The losses as plain functions: what the methods make of the same passes, and what torch would broadcast refused."""

from __future__ import annotations

import inspect
import re

import pytest
import torch

from distill import losses
from distill.methods import METHODS, Pass, create_method
from distill.methods.ofd import negative_mean, partial_l2_loss
from xkd_eval.errors import XkdError

B, K = 5, 6


def a_pass(channels: int, size: int, trained: bool) -> Pass:
    """Of a network, its features below and above zero, in the graph of its logits; its images twice their size."""
    generator = torch.Generator().manual_seed(channels)
    features = torch.randn(B, channels, size, size, generator=generator).requires_grad_(True)
    weight = torch.randn(K, channels, generator=generator, requires_grad=trained)
    logits = features.mean((2, 3)) @ weight.T
    images = torch.zeros(B, 3, 2 * size, 2 * size)
    return Pass(logits, features, weight, taps={"last": features}, images=images, distilled_logits=2 * logits)


STUDENT, TEACHER, LABELS = a_pass(8, 4, trained=True), a_pass(12, 4, trained=False), torch.tensor([0, 1, 2, 3, 3])


def clamped(network: Pass) -> torch.Tensor:
    return network.cams().clamp(min=0) / network.last_map().shape[1]


def regions(network: Pass) -> torch.Tensor:
    return losses.region_logits(network.cams(), network.head_bias, (1, 2, 4))


LOGITS, MAPS = (STUDENT.logits, TEACHER.logits), (STUDENT.last_map(), TEACHER.last_map())
EMBEDDINGS = STUDENT.embedding(), TEACHER.embedding()
CALLS = {
    "kd": lambda: losses.kd_loss(*LOGITS),
    "dkd": lambda: losses.dkd_loss(*LOGITS, LABELS),
    "dist": lambda: losses.dist_loss(*LOGITS),
    "mld": lambda: losses.mld_loss(*LOGITS),
    "tf_kd": lambda: losses.tf_kd_loss(STUDENT.logits, LABELS),
    "ttm": lambda: losses.ttm_loss(*LOGITS),
    "wttm": lambda: losses.wttm_loss(*LOGITS),
    "mlkd": lambda: losses.mlkd_loss(*LOGITS),
    "token_kd": lambda: losses.token_kd_loss(STUDENT.distilled_logits, TEACHER.logits),
    "sdd": lambda: losses.sdd_loss(regions(STUDENT), regions(TEACHER), TEACHER.logits, LABELS),
    "exp_kd": lambda: losses.exp_kd_loss(clamped(STUDENT), clamped(TEACHER)),
    "cat_kd": lambda: losses.cat_kd_loss(STUDENT.cams(), TEACHER.cams()),
    "e2kd": lambda: losses.e2kd_loss(STUDENT, TEACHER),
    "at": lambda: losses.at_loss(*MAPS),
    "nst": lambda: losses.nst_loss(*MAPS),
    "sp": lambda: losses.sp_loss(*MAPS),
    "rkd": lambda: losses.rkd_loss(*EMBEDDINGS),
    "pkt": lambda: losses.pkt_loss(*EMBEDDINGS),
}
TRAINED = {"fitnet", "vid", "simkd", "ofd", "reviewkd", "norm", "vitkd", "srd", "crd", "explanation_kd"}
"""Methods with layers, a memory or a network to run, of which the loss alone is a function."""


def test_every_method_has_its_function():
    assert {name for name in METHODS.names() if METHODS.is_own(name)} == {*CALLS, *TRAINED, "ce"}


@pytest.mark.parametrize("name", CALLS)
def test_a_function_by_its_defaults_is_the_method_by_its_defaults(name):
    expected = sum(create_method(name)(STUDENT, TEACHER, LABELS).values())
    loss = CALLS[name]()
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, STUDENT.head_weight, retain_graph=True, allow_unused=True)
    assert gradient is None or gradient.any()
    assert loss.requires_grad


def test_the_functions_of_methods_that_train_layers():
    own, other = torch.randn(B, 12, 4, 4, requires_grad=True), torch.randn(B, 12, 4, 4)
    made = [losses.fitnet_loss(own, other), losses.hcl_loss(own, other), losses.vitkd_loss(own, other)]
    made.append(losses.norm_loss(own, other[:, :4]))
    made.append(losses.partial_l2_loss(own, other, losses.negative_mean(other)))
    made.append(losses.nce_loss(torch.rand(B, 9, requires_grad=True), dataset_size=20))
    made.append(losses.simkd_loss(own, other))
    made.append(losses.vid_loss(own, other, torch.zeros(12)))
    made.append(losses.srd_loss(own.mean((2, 3)), other.mean((2, 3))))
    made.append(losses.explanation_kd_loss(own[:, 0], other[:, 0]))
    for loss in made:
        assert loss.shape == () and loss > 0 and loss.requires_grad
    assert losses.partial_l2_loss is partial_l2_loss and losses.negative_mean is negative_mean


@pytest.mark.parametrize("name", losses.__all__)
def test_each_says_shapes_and_paper(name):
    text = inspect.getdoc(getattr(losses, name))
    assert name in losses.__doc__ or name.removesuffix("es") in losses.__doc__
    assert "(B, " in text or "Other arguments as there" in text
    if name.endswith("loss") and name != "sdd_loss":
        assert re.search(r"\b20\d\d\b", text), "no paper"


SHORT, SHORT_MAPS = (STUDENT.logits, TEACHER.logits[:1]), (MAPS[0], MAPS[1][:1])
REFUSED = {
    "kd": (lambda: losses.kd_loss(*SHORT), r"^teacher: shape \(1, 6\) found; expected \(5, 6\), as the student"),
    "dist": (lambda: losses.dist_loss(*SHORT), "^teacher: shape"),
    "ttm": (lambda: losses.ttm_loss(*SHORT), "^teacher: shape"),
    "wttm": (lambda: losses.wttm_loss(*SHORT), "^teacher: shape"),
    "mlkd": (lambda: losses.mlkd_loss(*SHORT), "^teacher: shape"),
    "dkd": (lambda: losses.dkd_loss(*LOGITS, LABELS[:1]), r"^labels: shape \(1,\) found; expected \(5\)"),
    "tf_kd": (lambda: losses.tf_kd_loss(STUDENT.logits, LABELS[:1]), "^labels: shape"),
    "sdd": (lambda: losses.sdd_loss(regions(STUDENT), regions(TEACHER)[:1], TEACHER.logits, LABELS), "^teacher: "),
    "exp_kd": (lambda: losses.exp_kd_loss(clamped(STUDENT), clamped(TEACHER)[:, :1]), r"expected \(5, 6, ...\)"),
    "exp_kd by": (lambda: losses.exp_kd_loss(clamped(STUDENT), clamped(TEACHER), reduction="none"), "^reduction: "),
    "cat_kd": (lambda: losses.cat_kd_loss(STUDENT.cams(), TEACHER.cams()[:1]), "^teacher: "),
    "e2kd": (lambda: losses.e2kd_loss(STUDENT, TEACHER, "cam"), "^explanation: 'cam' found"),
    "at": (lambda: losses.at_loss(MAPS[0], MAPS[1][:1]), "^teacher: "),
    "nst": (lambda: losses.nst_loss(MAPS[0], MAPS[1][:1]), "^teacher: "),
    "sp": (lambda: losses.sp_loss(MAPS[0], MAPS[1][:1]), "^teacher: "),
    "rkd": (lambda: losses.rkd_loss(EMBEDDINGS[0], EMBEDDINGS[1][:1]), "^teacher: "),
    "pkt": (lambda: losses.pkt_loss(EMBEDDINGS[0], EMBEDDINGS[1][:1]), "^teacher: "),
    "vitkd": (lambda: losses.vitkd_loss(*MAPS), "^teacher: "),
    "norm": (lambda: losses.norm_loss(MAPS[0], MAPS[1][:, :5]), r"^teacher: shape .* and a divisor of its 8 channels"),
    "mld": (lambda: losses.mld_loss(*SHORT), "^teacher: "),
    "token_kd": (lambda: losses.token_kd_loss(*SHORT), "^teacher: "),
    "token_kd by": (lambda: losses.token_kd_loss(*LOGITS, kind="firm"), "^kind: 'firm' found"),
    "fitnet": (lambda: losses.fitnet_loss(*MAPS), "^teacher: "),
    "explanation_kd": (lambda: losses.explanation_kd_loss(*(maps.mean(1) for maps in SHORT_MAPS)), "^teacher: "),
    "hcl": (lambda: losses.hcl_loss(*MAPS), "^teacher: "),
    "simkd": (lambda: losses.simkd_loss(*MAPS), "^teacher: "),
    "srd": (lambda: losses.srd_loss(*EMBEDDINGS), "^teacher: "),
    "vid": (lambda: losses.vid_loss(*MAPS, torch.zeros(12)), "^teacher: "),
    "vid by": (lambda: losses.vid_loss(MAPS[1], MAPS[1], torch.zeros(1)), "^log_scale: "),
    "ofd": (lambda: losses.partial_l2_loss(*MAPS, torch.zeros(12)), "^teacher: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_torch_would_broadcast_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(XkdError, match=message):
        call()


def test_maps_of_two_sizes_are_compared_at_the_larger():
    small, large = torch.rand(B, K, 2, 2), torch.rand(B, K, 4, 4)
    grown = torch.nn.functional.interpolate(small, size=(4, 4), mode="bilinear")
    assert losses.exp_kd_loss(small, large) == losses.exp_kd_loss(grown, large)
