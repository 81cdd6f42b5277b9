"""Exp-KD: the definition place by place, and the properties that its published code lacks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from distill.methods import Pass, create_method
from distill.methods.exp_kd import exp_kd_loss
from xkd_eval.errors import XkdError


def _slow_maps(network: Pass, channel: str, clamp: bool) -> list:
    """A[b][k][v][u] by the sum over channels, one number at a time."""
    features, weight = network.features.tolist(), network.head_weight.tolist()
    maps = []
    for image in features:
        channels, height, width = len(image), len(image[0]), len(image[0][0])
        scale = channels if channel == "mean" else 1
        maps.append(
            [
                [
                    [
                        max(value, 0.0) if clamp else value
                        for u in range(width)
                        for value in [sum(row[c] * image[c][v][u] for c in range(channels)) / scale]
                    ]
                    for v in range(height)
                ]
                for row in weight
            ]
        )
    return maps


def _slow_loss(student, teacher, temperature: float, reduction: str) -> float:
    total, places = 0.0, 0
    for own, other in zip(student, teacher, strict=True):
        for v in range(len(own[0])):
            for u in range(len(own[0][0])):
                places += 1
                p, q = ([math.exp(maps[k][v][u] / temperature) for k in range(len(maps))] for maps in (own, other))
                total += sum((a / sum(p) - b / sum(q)) ** 2 for a, b in zip(p, q, strict=True))
    return total / places if reduction == "mean" else total


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("channel", ["mean", "sum"])
def test_the_definition_place_by_place(student, teacher, labels, channel, clamp, reduction):
    options = {"channel": channel, "clamp": clamp, "reduction": reduction, "temperature": 0.7}
    small = _slow_maps(student, channel, clamp)
    upsampled = F.interpolate(torch.tensor(small, dtype=torch.float64), size=(8, 8), mode="bilinear")
    expected = _slow_loss(upsampled.tolist(), _slow_maps(teacher, channel, clamp), 0.7, reduction)
    loss = create_method("exp_kd", **options)(student, teacher, labels)["exp_kd"]
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_the_author_variant_is_the_sum_times_100(student, teacher, labels):
    author = create_method("exp_kd", reading="author")(student, teacher, labels)["exp_kd"]
    plain = create_method("exp_kd", reduction="sum")(student, teacher, labels)["exp_kd"]
    torch.testing.assert_close(author, 100 * plain)


def test_known_values():
    # Two classes, one place: softmax of (log 3, 0) is (3/4, 1/4), of (0, 0) is (1/2, 1/2).
    own = torch.tensor([math.log(3), 0.0]).reshape(1, 2, 1, 1)
    loss = exp_kd_loss(own, torch.zeros(1, 2, 1, 1))
    assert loss.item() == pytest.approx(2 * 0.25**2)
    certain = torch.tensor([1000.0, 0.0]).reshape(1, 2, 1, 1)
    assert exp_kd_loss(certain, certain.flip(1)).item() == pytest.approx(2)


_OPTIONS = [
    {},
    {"top_k": 3},
    {"resize": 2},
    {"pool": 2},
    {"channel": "sum"},
    *({"reading": reading} for reading in ("author", "l2", "kl", "decoupled", "batch")),
]


@pytest.mark.parametrize("options", _OPTIONS, ids=str)
def test_zero_for_the_teacher_itself_and_a_gradient_otherwise(student, teacher, labels, options):
    method = create_method("exp_kd", **options)
    assert method(teacher, teacher, labels)["exp_kd"].item() == 0
    method(student, teacher, labels)["exp_kd"].backward()
    assert student.features.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "options", [{}, {"top_k": 3}, {"clamp": False}, {"reading": "l2"}, {"reading": "kl"}, {"reading": "batch"}], ids=str
)
def test_permuting_the_batch_or_the_classes_changes_nothing(student, teacher, labels, options):
    method = create_method("exp_kd", **options)
    loss = method(student, teacher, labels)["exp_kd"]
    order = torch.tensor([4, 2, 0, 1, 3])

    def shuffled(network):
        return replace(network, features=network.features[order], logits=network.logits[order])

    torch.testing.assert_close(method(shuffled(student), shuffled(teacher), labels)["exp_kd"], loss)
    classes = torch.tensor([5, 0, 3, 1, 4, 2])

    def renamed(network):
        return replace(network, head_weight=network.head_weight[classes], logits=network.logits[:, classes])

    torch.testing.assert_close(method(renamed(student), renamed(teacher), labels)["exp_kd"], loss)


def test_an_image_loses_the_same_whatever_else_is_in_the_batch(student, teacher, labels):
    method = create_method("exp_kd", reduction="sum")
    whole = method(student, teacher, labels)["exp_kd"]

    def only(network, row):
        rows = slice(row, row + 1)
        return replace(network, features=network.features[rows], logits=network.logits[rows])

    alone = [
        method(only(student, row), only(teacher, row), labels[row : row + 1])["exp_kd"] for row in range(len(labels))
    ]
    torch.testing.assert_close(torch.stack(alone).sum(), whole)


def test_the_convolution_is_the_broadcast_product(student):
    broadcast = (student.head_weight[None, :, :, None, None] * student.features[:, None]).sum(2)
    torch.testing.assert_close(student.cams(), broadcast, rtol=1e-5, atol=1e-12)
    single = replace(student, features=student.features.float(), head_weight=student.head_weight.float())
    torch.testing.assert_close(single.cams().double(), broadcast, rtol=1e-5, atol=1e-5)


def test_top_k_takes_the_teachers_classes_for_both(student, teacher, labels):
    classes = teacher.logits.argsort(1, descending=True)[:, :3]
    gathered = [
        torch.stack([(network.cams() / channels)[row, kept] for row, kept in enumerate(classes)]).clamp(min=0)
        for network, channels in ((student, 8), (teacher, 16))
    ]
    expected = exp_kd_loss(F.interpolate(gathered[0], size=(8, 8), mode="bilinear"), gathered[1])
    torch.testing.assert_close(create_method("exp_kd", top_k=3)(student, teacher, labels)["exp_kd"], expected)


def test_resize_rules(student, teacher, labels):
    own, other = ((network.cams() / network.features.shape[1]).clamp(min=0) for network in (student, teacher))

    def loss(resize):
        return create_method("exp_kd", resize=resize)(student, teacher, labels)["exp_kd"]

    down = F.interpolate(other, size=(4, 4), mode="bilinear", align_corners=False)
    torch.testing.assert_close(loss("teacher-to-student"), exp_kd_loss(own, down))
    pooled = [maps.unflatten(2, (2, -1)).unflatten(4, (2, -1)).mean((3, 5)) for maps in (own, other)]
    torch.testing.assert_close(loss(2), exp_kd_loss(*pooled))


def test_pooled_maps_are_clamped_after_they_are_averaged(student, teacher, labels):
    pooled = [
        (network.cams() / network.features.shape[1]).unflatten(2, (2, -1)).unflatten(4, (2, -1)).mean((3, 5))
        for network in (student, teacher)
    ]
    assert all((maps < 0).any() for maps in pooled)
    before = create_method("exp_kd", pool=2)(student, teacher, labels)["exp_kd"]
    torch.testing.assert_close(before, exp_kd_loss(*(maps.clamp(min=0) for maps in pooled)))
    after = create_method("exp_kd", resize=2)(student, teacher, labels)["exp_kd"]
    assert not torch.isclose(before, after)


def _slow_reading(reading: str, own: list[list[float]], other: list[list[float]], image: int, label: int) -> float:
    """Of one place, whose maps are own[b][k] over images b and classes k; T = 0.7."""

    def softmax(values):
        powers = [math.exp(value / 0.7) for value in values]
        return [power / sum(powers) for power in powers]

    def kl(p, q):
        return 0.7**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    if reading == "l2":
        return sum((a - b) ** 2 for a, b in zip(own[image], other[image], strict=True))
    if reading == "batch":
        columns = [[softmax(column)[image] for column in zip(*maps, strict=True)] for maps in (own, other)]
        return sum((a - b) ** 2 for a, b in zip(*columns, strict=True))
    p, q = softmax(own[image]), softmax(other[image])
    if reading == "kl":
        return kl(q, p)
    rest = [softmax([value for k, value in enumerate(maps[image]) if k != label]) for maps in (own, other)]
    return kl([q[label], 1 - q[label]], [p[label], 1 - p[label]]) + 2 * kl(rest[1], rest[0])


@pytest.mark.parametrize("reading", ["l2", "kl", "decoupled", "batch"])
def test_the_other_readings_place_by_place(reading):
    generator = torch.Generator().manual_seed(3)
    own, other = (torch.randn(3, 5, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([4, 0, 2])
    expected = [
        _slow_reading(reading, own[:, :, v, u].tolist(), other[:, :, v, u].tolist(), image, label)
        for image, label in enumerate(labels.tolist())
        for v in range(2)
        for u in range(2)
    ]
    loss = exp_kd_loss(own, other, 1.0 if reading == "l2" else 0.7, reading=reading, labels=labels, beta=2.0)
    assert loss.item() == pytest.approx(sum(expected) / 12, rel=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reading": "author", "clamp": False}, "clamp: False found with the reading 'author'; expected True"),
        ({"reading": "l2", "temperature": 2.0}, "temperature: 2.0 found with the reading 'l2'"),
        ({"beta": 2.0}, "beta: 2.0 found with the reading 'published'"),
        ({"reading": "decoupled", "top_k": 3}, "top_k: 3 found with the reading 'decoupled'"),
        ({"reading": "softmax"}, "reading: 'softmax' found; expected one of 'published'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_that_a_reading_does_not_read_are_refused(options, said):
    with pytest.raises(XkdError, match=said):
        create_method("exp_kd", **options)


def test_mixed_labels_have_no_class_apart(student, teacher):
    shares = torch.full((5, 6), 1 / 6, dtype=torch.float64)
    create_method("exp_kd", reading="kl")(student, teacher, shares)
    with pytest.raises(XkdError, match="labels"):
        create_method("exp_kd", reading="decoupled")(student, teacher, shares)


@pytest.mark.parametrize("reading", ["published", "l2", "kl", "decoupled", "batch"])
def test_relative_losses_of_small_maps_are_one_number(reading):
    """The squared difference of the sum maps, added up over classes, whatever the reading makes of it."""
    generator = torch.Generator().manual_seed(5)
    images, classes, channels = 400, 300, 16
    weight, other_weight = (torch.randn(classes, channels, generator=generator).double() for _ in range(2))
    features = 1e-3 * torch.rand(images, channels, 1, 1, generator=generator).double()
    networks = [Pass(torch.zeros(images, classes).double(), features, head) for head in (weight, other_weight)]
    own, other = (network.cams() for network in networks)
    difference = own - other
    centred = difference - difference.mean(0 if reading == "batch" else 1, keepdim=True)
    expected = (difference if reading == "l2" else centred).square().sum(1).mean()
    options = {"beta": 1.0} if reading == "decoupled" else {}
    method = create_method("exp_kd", reading=reading, clamp=False, relative=True, **options)
    labels = torch.randint(classes, (images,), generator=generator)
    torch.testing.assert_close(method(*networks, labels)["exp_kd"], expected, rtol=2e-2, atol=0)


def test_nearly_uniform_softmax_gives_the_stated_scale():
    own, other = (1e-3 * torch.randn(2, 10, 4, 4, dtype=torch.float64) for _ in range(2))
    difference = (own - other) - (own - other).mean(1, keepdim=True)
    expected = difference.square().sum(1).mean() / 10**2
    torch.testing.assert_close(exp_kd_loss(own, other), expected, rtol=1e-2, atol=0)


def test_what_the_clamp_silences_is_counted(labels):
    # One image, two classes, two places: both classes below zero at the first, one of them at the second.
    maps = torch.tensor([[-1.0, 2.0], [-1.0, -3.0]], dtype=torch.float64).reshape(1, 2, 1, 2).requires_grad_()
    identity = torch.eye(2, dtype=torch.float64)
    student = Pass(torch.zeros(1, 2).double(), maps, identity)
    other = Pass(
        torch.zeros(1, 2).double(), torch.tensor([[5.0, 5.0], [1.0, 1.0]]).double().reshape(1, 2, 1, 2), identity
    )
    method = create_method("exp_kd")
    method(student, other, labels[:1])["exp_kd"].backward()
    assert method.statistics["exp_kd/clamped"].item() == pytest.approx(0.75)
    assert method.statistics["exp_kd/dead_places"].item() == pytest.approx(0.5)
    assert (maps.grad != 0).flatten().tolist() == [False, True, False, False]
    unclamped = create_method("exp_kd", clamp=False)
    unclamped(student, other, labels[:1])
    assert unclamped.statistics == {}


def test_bfloat16_passes_are_compared_in_float32(student, teacher, labels):
    def cast(network, dtype):
        return Pass(network.logits.to(dtype), network.features.to(dtype), network.head_weight.to(dtype))

    method = create_method("exp_kd")
    halves = [cast(network, torch.bfloat16) for network in (student, teacher)]
    with torch.autocast("cpu", torch.bfloat16):
        loss = method(*halves, labels)["exp_kd"]
    exact = method(*(cast(half, torch.float64) for half in halves), labels)["exp_kd"]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "channels"), [({}, 16), ({"channel": "sum", "temperature": 8.0}, 1), ({"top_k": 3}, 16)]
)
def test_the_relative_weight_takes_the_scale_out(student, teacher, labels, options, channels):
    absolute = create_method("exp_kd", **options)(student, teacher, labels, None)["exp_kd"]
    relative = create_method("exp_kd", **options, relative=True)(student, teacher, labels, None)["exp_kd"]
    scale = (options.get("top_k", 6) * channels * options.get("temperature", 1.0)) ** 2
    torch.testing.assert_close(relative, absolute * scale)
