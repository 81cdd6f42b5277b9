"""The losses on maps between the layers, re-derived by loops, and their adapters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from distill.methods import Pass, create_method
from distill.methods.at import at_loss
from distill.methods.cat_kd import cat_kd_loss
from distill.methods.fitnet import fitnet_loss
from distill.methods.nst import nst_loss
from distill.methods.ofd import negative_mean, normal_negative_mean, partial_l2_loss
from distill.methods.reviewkd import AttentionFusion, hcl_loss
from xkd_eval.errors import XkdError


def _maps(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def _pooled(maps, side):
    """Averages over equal squares, by reshaping."""
    batch, channels, height, width = maps.shape
    return maps.reshape(batch, channels, side, height // side, side, width // side).mean((3, 5))


@pytest.mark.parametrize("power", [1, 2])
def test_at(power):
    own, other = _maps(3, 4, 2, 2), _maps(3, 5, 4, 4)
    total = 0.0
    for image in range(3):
        attention = []
        for maps in (own[image], _pooled(other, 2)[image]):
            values = np.array(
                [sum(abs(channel[place].item()) ** power for channel in maps.flatten(1)) for place in range(4)]
            )
            attention.append(values / np.sqrt((values**2).sum()))
        total += ((attention[0] - attention[1]) ** 2).sum()
    assert at_loss(own, other, power).item() == pytest.approx(total / (3 * 4))


def test_nst():
    own, other = _maps(2, 3, 2, 2), _maps(2, 5, 2, 2)

    def kernel(first, second):
        values = [
            (a / a.norm()).dot(b / b.norm()).item() ** 2
            for image in range(2)
            for a in first[image].flatten(1)
            for b in second[image].flatten(1)
        ]
        return sum(values) / len(values)

    expected = kernel(other, other) + kernel(own, own) - 2 * kernel(own, other)
    assert nst_loss(own, other).item() == pytest.approx(expected)


@pytest.mark.parametrize("normalise", [True, False])
def test_cat_kd(normalise):
    own, other = _maps(2, 3, 4, 4), _maps(2, 3, 8, 8)
    total = 0.0
    for image in range(2):
        for k in range(3):
            pooled = [_pooled(maps, 2)[image, k].flatten() for maps in (own, other)]
            if normalise:
                pooled = [values / values.norm() for values in pooled]
            total += (pooled[0] - pooled[1]).square().sum().item()
    assert cat_kd_loss(own, other, 2, normalise).item() == pytest.approx(total / (2 * 3 * 4))


def test_fitnet_learns_its_regressor(student, teacher, labels):
    own, other = _maps(2, 3, 4, 4), _maps(2, 3, 8, 8)
    assert fitnet_loss(own, other).item() == pytest.approx((own - _pooled(other, 4)).square().mean().item())
    method = create_method("fitnet", student_taps=["stage2"], teacher_taps=["stage2"])
    method.setup(student, teacher, dataset_size=1)
    optimiser = torch.optim.SGD(method.parameters(), lr=0.1)
    before = method(student, teacher, labels)["fitnet"]
    before.backward()
    optimiser.step()
    assert method(student, teacher, labels)["fitnet"] < before


def _strided(maps, weight, bias):
    """A 3x3 convolution by strides of 2 with a border of zeros, place by place."""
    padded = F.pad(maps, (1, 1, 1, 1))
    rows = [
        torch.stack([torch.einsum("bchw,ochw->bo", padded[:, :, y : y + 3, x : x + 3], weight) for x in (0, 2)], -1)
        for y in (0, 2)
    ]
    return torch.stack(rows, 2) + bias[:, None, None]


def _transposed(maps, weight, bias):
    """A transposed 4x4 convolution by strides of 2: each place adds the kernel to its surroundings."""
    spread = maps.new_zeros(len(maps), weight.shape[1], 2 * maps.shape[2] + 2, 2 * maps.shape[3] + 2)
    for y in range(maps.shape[2]):
        for x in range(maps.shape[3]):
            spread[:, :, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] += torch.einsum("bc,cohw->bohw", maps[..., y, x], weight)
    return spread[:, :, 1:-1, 1:-1] + bias[:, None, None]


def _one_by_one(maps, weight, bias):
    return torch.einsum("bchw,oc->bohw", maps, weight[:, :, 0, 0]) + bias[:, None, None]


@pytest.mark.parametrize(
    ("convolve", "own", "other", "kernel"),
    [
        (_strided, (4, 4), (2, 2), (5, 3, 3, 3)),
        (_transposed, (4, 4), (8, 8), (3, 5, 4, 4)),
        (_one_by_one, (4, 4), (4, 4), (5, 3, 1, 1)),
        (_one_by_one, (2, 4), (6, 4), (5, 3, 1, 1)),
    ],
    ids=["twice", "half", "same", "otherwise"],
)
def test_fitnet_by_the_ratio_of_sizes(convolve, own, other, kernel):
    """One hint, the second stage: convolution, batch norm by the batch, ReLU, mean squared distance."""
    taps = {"a": _maps(3, 2, 9, 9), "b": _maps(3, 3, *own), "c": _maps(3, 7, 2, 2)}
    student = Pass(_maps(3, 4), taps=taps)
    teacher = Pass(_maps(3, 4), taps={"x": _maps(3, 2, 8, 8), "y": _maps(3, 5, *other)})
    method = create_method("fitnet")
    method.setup(student, teacher, dataset_size=1)
    assert method.paired == (("b", "y"),)
    convolution, norm, _ = method.regressors[0]
    assert tuple(convolution.weight.shape) == kernel
    nn.init.uniform_(norm.weight)
    nn.init.normal_(norm.bias)
    made = convolve(taps["b"], convolution.weight, convolution.bias)
    deviation = (made.var((0, 2, 3), correction=0, keepdim=True) + norm.eps).sqrt()
    made = (made - made.mean((0, 2, 3), keepdim=True)) / deviation * norm.weight[:, None, None] + norm.bias[
        :, None, None
    ]
    target = teacher.taps["y"] if own != (2, 4) else teacher.taps["y"].reshape(3, 5, 2, 3, 4).mean(3)
    expected = (made.clamp(min=0) - target).square().mean()
    torch.testing.assert_close(method(student, teacher, torch.tensor([0, 1, 2]))["fitnet"], expected)


def test_fitnet_takes_another_hint_or_listed_pairs(student, teacher):
    for options, paired in (
        ({"hint": 3}, [("stage3", "stage3")]),
        ({"hint": 7}, [("stage3", "stage3")]),
        ({"student_taps": ["stage1"]}, [("stage1", "stage2")]),
        (
            {"student_taps": ["stage1", "stage2"], "teacher_taps": ["stage2", "stage3"]},
            [("stage1", "stage2"), ("stage2", "stage3")],
        ),
    ):
        method = create_method("fitnet", **options)
        method.setup(student, teacher, dataset_size=1)
        assert [*method.paired] == paired and len(method.regressors) == len(paired)


def test_hierarchical_context_loss_weighs_each_pool_half():
    own, other = _maps(2, 3, 4, 4), _maps(2, 3, 4, 4)
    levels = [(own - other).square().mean()]
    levels += [(_pooled(own, side) - _pooled(other, side)).square().mean() for side in (2, 1)]
    expected = (levels[0] + levels[1] / 2 + levels[2] / 4) / 1.75
    torch.testing.assert_close(hcl_loss(own, other), expected)
    torch.testing.assert_close(hcl_loss(_pooled(own, 1), _pooled(other, 1)), levels[2])


def test_attention_fusion_weighs_both_maps_at_every_place():
    fusion = AttentionFusion(inputs=4, hidden=3, outputs=5, first=False).double().eval()
    own, deeper = _maps(2, 4, 4, 4), _maps(2, 3, 2, 2)
    out, passed = fusion(own, deeper, (8, 8))
    reduced = fusion.reduce(own)
    repeated = deeper.repeat_interleave(2, 2).repeat_interleave(2, 3)
    convolution = fusion.attention[0]
    scores = torch.einsum("oc,bchw->bohw", convolution.weight[:, :, 0, 0], torch.cat((reduced, repeated), 1))
    shares = torch.sigmoid(scores + convolution.bias[:, None, None])
    expected = reduced * shares[:, 0:1] + repeated * shares[:, 1:2]
    larger = expected.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(passed, larger)
    torch.testing.assert_close(out, fusion.expand(larger))
    out, passed = fusion(own, deeper, (2, 2))
    torch.testing.assert_close(passed, expected[:, :, ::2, ::2])
    torch.testing.assert_close(out, fusion.expand(passed))


def test_reviewkd_starts_from_the_published_weights(student, teacher):
    """Uniform up to sqrt(3 / inputs), where torch's own convolutions end at sqrt(1 / inputs)."""
    method = create_method("reviewkd", hidden=4)
    method.setup(student, teacher, dataset_size=1)
    for fusion in method.fusions:
        for convolution in (fusion.reduce[0], fusion.expand[0]):
            inputs = convolution.weight[0].numel()
            assert (1 / inputs) ** 0.5 < convolution.weight.abs().max() <= (3 / inputs) ** 0.5
        if fusion.attention is not None:
            assert fusion.attention[0].weight.abs().max() <= (1 / 8) ** 0.5


@pytest.mark.parametrize("maps", ["stages", "preactivations"])
def test_reviewkd_takes_the_students_maps_behind_or_before_their_relu(maps):
    method = create_method("reviewkd", student_maps=maps)
    assert (method.student_maps, method.teacher_maps) == (maps, "preactivations")
    assert create_method("reviewkd").student_maps == "stages"
    with pytest.raises(XkdError, match="student_maps: 'before' found; expected one of 'stages', 'preactivations'"):
        create_method("reviewkd", student_maps="before")


def test_reviewkd_adds_up_deep_to_shallow(student, teacher, labels):
    method = create_method("reviewkd", hidden=4).eval()
    method.setup(student, teacher, dataset_size=1)
    method.eval()
    assert len(method.fusions) == 4
    passed, total = None, 0
    depths = [
        (student.embedding()[..., None, None], teacher.embedding()[..., None, None]),
        *((student.taps[f"stage{depth}"], teacher.taps[f"stage{depth}"]) for depth in (3, 2, 1)),
    ]
    for fuse, (own, other) in zip(method.fusions, depths, strict=True):
        reviewed, passed = fuse(own, passed, tuple(other.shape[2:]))
        total = total + hcl_loss(reviewed, other)
    torch.testing.assert_close(method(student, teacher, labels)["reviewkd"], total)


def test_partial_l2_by_cases():
    # target = max(teacher, margin -0.5); lost unless the target is not positive and the student lies below it.
    cases = [
        (1.0, 2.0, 1.0),  # positive target: the distance counts
        (3.0, 2.0, 1.0),
        (-1.0, 2.0, 9.0),
        (-0.2, -3.0, 0.09),  # negative target, student above it: pulled down to the margin
        (-0.9, -3.0, 0.0),  # below the margin already
        (-0.4, -0.3, 0.0),  # below a negative target within the margin
    ]
    for own, other, expected in cases:
        maps = [torch.tensor(value).reshape(1, 1, 1, 1) for value in (own, other)]
        assert partial_l2_loss(*maps, torch.tensor([-0.5])).item() == pytest.approx(expected), (own, other)


def test_partial_l2_sums_over_places_and_averages_over_images():
    own, other = torch.zeros(4, 3, 2, 2), torch.ones(4, 3, 2, 2)
    assert partial_l2_loss(own, other, torch.full((3,), -1.0)).item() == 3 * 2 * 2


def test_the_margin_is_the_mean_of_the_negative_values():
    maps = torch.tensor([[-1.0, 4.0], [-3.0, 2.0]]).reshape(2, 2, 1, 1)
    assert negative_mean(maps).tolist() == [-2.0, 0.0]


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.7, 0.4), (-1.2, 0.3), (0.5, -2.0), (3.0, 1.0)])
def test_the_margin_of_a_norm_is_the_mean_of_its_negative_values(mean, deviation):
    """By integrating over a fine grid."""
    values = np.linspace(mean - 12 * abs(deviation), 0, 2_000_001)
    density = np.exp(-(((values - mean) / deviation) ** 2) / 2)
    expected = (values * density).sum() / density.sum()
    margin = normal_negative_mean(torch.tensor([mean]), torch.tensor([deviation]))
    assert margin.item() == pytest.approx(expected, rel=1e-4)


def test_the_margin_of_a_norm_that_is_hardly_ever_negative_is_three_deviations():
    # Below -3.09 deviations lies one value in 1,000.
    margins = normal_negative_mean(torch.tensor([3.1, 3.08, 9.0, 1.0, -2.0]), torch.tensor([1.0, 1.0, -2.0, 0.0, 0.0]))
    assert margins[[0, 2, 3, 4]].tolist() == [-3.0, -6.0, 0.0, -2.0]
    assert -0.4 < margins[1] < -0.2


def test_ofd_takes_the_margins_of_the_norms_that_it_is_told(student, teacher, labels):
    method = create_method("ofd")
    norms = {f"stage{depth}": (_maps(channels), _maps(channels)) for depth, channels in ((1, 4), (2, 8), (3, 16))}
    method.teacher_norms = dict(norms)
    method.setup(student, teacher, dataset_size=1)
    for margin, norm in zip(method.margins, norms.values(), strict=True):
        torch.testing.assert_close(margin.detach(), normal_negative_mean(*norm))
    assert method.remark == ""
    method.teacher_norms.pop("stage1")
    method.setup(student, teacher, dataset_size=1)
    torch.testing.assert_close(method.margins[0].detach(), negative_mean(teacher.taps["stage1"]))
    assert method.remark == "margins of stage1 are measured on one batch, as no batch norm is known there"


def test_ofd_starts_from_the_published_weights():
    """Normal, of variance 2 / outputs."""
    taps = [{"last": _maps(2, channels, 2, 2)} for channels in (300, 200)]
    method = create_method("ofd")
    method.setup(*(Pass(_maps(2, 4), taps=its) for its in taps), dataset_size=1)
    weight = method.connectors[0][0].weight
    assert weight.std().item() == pytest.approx((2 / 200) ** 0.5, rel=0.02)


def test_ofd_halves_the_weight_per_stage_towards_the_input(student, teacher, labels):
    method = create_method("ofd")
    method.setup(student, teacher, dataset_size=1)
    method.eval()
    terms = []
    for depth, connect in enumerate(method.connectors, start=1):
        own, other = connect(student.taps[f"stage{depth}"]), teacher.taps[f"stage{depth}"]
        other = F.adaptive_avg_pool2d(other, own.shape[2:])
        terms.append(partial_l2_loss(own, other, negative_mean(teacher.taps[f"stage{depth}"])))
    expected = (terms[0] / 4 + terms[1] / 2 + terms[2]) / 1000
    torch.testing.assert_close(method(student, teacher, labels)["ofd"], expected)
    assert [margin.requires_grad for margin in method.margins] == [False] * 3
