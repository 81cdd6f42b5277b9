"""MLD, token distillation, NORM and ViTKD, as their papers write them: slowly, one image and one number at a time."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from distill.losses import mld_loss, norm_loss, token_kd_loss, vitkd_loss
from distill.methods import Pass, create_method
from distill.methods.vitkd import Generation
from xkd_eval.errors import XkdError

CHANNELS = 3


def sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value))


def test_mld_label_by_label():
    student, teacher = torch.randn(2, 3, 4, dtype=torch.float64)
    total = 0.0
    for own, other in zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True):
        there, here = sigmoid(other), sigmoid(own)
        total += there * log(there / here) + (1 - there) * log((1 - there) / (1 - here))
    assert mld_loss(student, teacher).item() == pytest.approx(total / 3)


def test_mld_by_hand_and_beyond_what_a_sigmoid_tells_apart():
    even, sure = torch.zeros(1, 1), torch.tensor([[log(3.0)]])  # 1/2 and 3/4
    assert mld_loss(even, sure).item() == pytest.approx(0.75 * log(1.5) + 0.25 * log(0.5))
    far = torch.tensor([[60.0, -200.0]], requires_grad=True)
    loss = mld_loss(far, -far.detach())
    loss.backward()
    assert loss.item() == pytest.approx(260)
    assert far.grad[0].tolist() == pytest.approx([1, -1])


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_the_distillation_token_learns_from_the_teacher_and_the_class_token_does_not(student, teacher, labels, kind):
    method = create_method("token_kd", kind=kind, temperature=2)
    method.setup(student, teacher, 20)
    loss = method(student, teacher, labels)["token_kd"]
    total = 0.0
    for own, other in zip(student.distilled_logits, teacher.logits, strict=True):
        if kind == "hard":
            total -= own.log_softmax(0)[other.argmax()].item()
        else:
            there = (other / 2).softmax(0)
            total += 4 * (there * (there.log() - (own / 2).log_softmax(0))).sum().item()
    assert loss.item() == pytest.approx(total / len(labels))
    assert torch.autograd.grad(loss, student.logits, retain_graph=True, allow_unused=True) == (None,)
    assert loss.item() == pytest.approx(token_kd_loss(student.distilled_logits, teacher.logits, kind, 2).item())


def test_a_student_of_one_token_is_named(student, teacher, labels):
    with pytest.raises(XkdError, match=r"^distilled_logits: the pass has none; this method needs a student with a dis"):
        create_method("token_kd")(replace(student, distilled_logits=None), teacher, labels)


def test_norm_group_by_group():
    own, teacher = torch.randn(2, 4 * CHANNELS, 2, 2, dtype=torch.float64), torch.randn(2, CHANNELS, 2, 2).double()
    groups = [(own[:, CHANNELS * number : CHANNELS * (number + 1)] - teacher).square().mean() for number in range(4)]
    torch.testing.assert_close(norm_loss(own, teacher), torch.stack(groups).sum())


def test_norm_takes_the_largest_of_a_larger_map():
    own, larger = torch.zeros(1, 2, 1, 1), torch.tensor([[[[1.0, 3.0], [2.0, 0.0]]]])
    assert norm_loss(own, larger).item() == pytest.approx(2 * 9)


def maps_of(channels: int, side: int, **taps) -> Pass:
    return Pass(torch.randn(2, 5), taps={path: torch.randn(2, channels, side, side) for path in ("a", "b", "c")})


def test_norm_expands_the_deepest_stage():
    student, teacher = maps_of(4, 2), maps_of(CHANNELS, 4)
    method = create_method("norm", groups=5)
    method.setup(student, teacher, 20)
    assert method.paired == (("c", "c"),)
    (expand,) = method.expansions
    assert expand[0].weight.shape == (5 * CHANNELS, 4, 1, 1)
    loss = method(student, teacher, torch.tensor([0, 1]))["norm"]
    torch.testing.assert_close(loss, norm_loss(expand(student.taps["c"]), teacher.taps["c"]))
    several = create_method("norm", student_taps=["a", "c"], teacher_taps=["a", "b"])
    several.setup(student, teacher, 20)
    assert several.paired == (("a", "a"), ("c", "b"))


def test_vitkd_token_by_token():
    own, teacher = torch.randn(2, 2, CHANNELS, 2, 2, dtype=torch.float64)
    mask = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]])
    every, masked = 0.0, 0.0
    for image in range(2):
        for row in range(2):
            for column in range(2):
                square = (own - teacher)[image, :, row, column].square().sum().item()
                every += square / 2
                masked += square / 2 * mask[image, row, column].item()
    assert vitkd_loss(own, teacher).item() == pytest.approx(every)
    assert vitkd_loss(own, teacher, mask).item() == pytest.approx(masked)


def test_half_of_the_tokens_are_hidden_from_what_generates_them():
    torch.manual_seed(0)
    generation = Generation(CHANNELS, masked=0.5)
    generation.generate = nn.Identity()
    nn.init.constant_(generation.mask_token, 7.0)
    features = torch.randn(4, CHANNELS, 3, 3)
    made, mask = generation(features)
    assert mask.sum((1, 2)).tolist() == [5.0] * 4  # of nine, four are shown
    assert len({tuple(one.flatten().tolist()) for one in mask}) > 1
    assert bool((made[mask[:, None].bool().expand_as(made)] == 7).all())
    assert torch.equal(made * (1 - mask[:, None]), features * (1 - mask[:, None]))


def test_vitkd_mimics_the_shallow_pairs_and_generates_the_deepest():
    student, teacher = maps_of(2, 4), maps_of(CHANNELS, 4)
    method = create_method("vitkd", mimicking=0.1, generation=0.01, masked=0.25)
    method.setup(student, teacher, 20)
    assert len(method.align) == 3
    torch.manual_seed(3)
    losses = method(student, teacher, torch.tensor([0, 1]))
    mimicked = [F.mse_loss(method.align[at](student.taps[path]), teacher.taps[path], reduction="sum") / 2
                for at, path in enumerate("ab")]  # fmt: skip
    torch.testing.assert_close(losses["vitkd/mimicking"], 0.1 * sum(mimicked))
    torch.manual_seed(3)
    made, mask = method.generator(method.align[2](student.taps["c"]))
    expected = ((made - teacher.taps["c"]) * mask[:, None]).square().sum() / 2
    torch.testing.assert_close(losses["vitkd/generation"], 0.01 / 0.25 * expected)


def test_vitkd_trains_no_alignment_between_equal_channels_and_needs_two_pairs():
    student, teacher = maps_of(CHANNELS, 4), maps_of(CHANNELS, 2)
    method = create_method("vitkd")
    method.setup(student, teacher, 20)
    assert [name.partition(".")[0] for name, _ in method.named_parameters()] == ["generator"] * 5
    with pytest.raises(XkdError, match=r"^student_taps: 1 pair found; expected 2 or more, of which the deepest is gen"):
        create_method("vitkd", student_taps=["c"], teacher_taps=["c"]).setup(student, teacher, 20)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("norm", {"groups": 0}, "^groups: 0 found; expected an integer of at least 1"),
        ("vitkd", {"masked": 1.0}, r"^masked: 1\.0 found; expected a number from 0 to below 1"),
        ("vitkd", {"masked": 0}, "^masked: 0 found; expected a number above 0"),
        ("vitkd", {"mimicking": -1}, "^mimicking: -1 found; expected a number above 0"),
        ("token_kd", {"kind": "firm"}, "^kind: 'firm' found; expected one of 'hard', 'soft'"),
        ("token_kd", {"temperature": 0}, "^temperature: 0 found"),
    ],
)
def test_bad_options_are_named(name, options, message):
    with pytest.raises(XkdError, match=message):
        create_method(name, **options)
