"""e2KD: explanations in closed form, and gradients by differences."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from distill.methods import Pass, create_method
from distill.methods.e2kd import e2kd_loss, explanation_loss, grad_cam, input_x_gradient

IMAGES = 3


class Network(nn.Module):
    """Convolution, smooth activation, average, linear: its double backward is not zero."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, channels, 3, stride, padding=1)
        self.linear = nn.Linear(channels, 4)

    def run(self, images) -> Pass:
        images = images.clone().requires_grad_()
        features = F.softplus(self.convolution(images))
        logits = self.linear(features.mean((2, 3)))
        return Pass(logits, features, self.linear.weight, self.linear.bias, images=images)


@pytest.fixture
def networks():
    student, teacher = Network(4, stride=2).double(), Network(6, stride=1).double()
    teacher.requires_grad_(False)
    return student, teacher


@pytest.fixture
def images():
    return torch.randn(IMAGES, 3, 8, 8, dtype=torch.float64)


def test_cosine_by_hand():
    first = torch.tensor([[[1.0, 0.0]], [[3.0, 4.0]]])
    second = torch.tensor([[[1.0, 1.0]], [[6.0, 8.0]]])
    assert explanation_loss(first, second).item() == pytest.approx((1 - 2**-0.5 + 0) / 2)


def _upsampled(values, size):
    """A square list of rows at `size`, bilinear between the centres of its places and constant beyond the outermost."""

    def between(count, place):
        position = min(max((place + 0.5) * count / size - 0.5, 0), count - 1)
        low = int(position)
        return low, min(low + 1, count - 1), position - low

    def at(row, column):
        top, bottom, down = between(len(values), row)
        left, right, along = between(len(values), column)
        upper = values[top][left] * (1 - along) + values[top][right] * along
        lower = values[bottom][left] * (1 - along) + values[bottom][right] * along
        return upper * (1 - down) + lower * down

    return torch.tensor([[at(row, column) for column in range(size)] for row in range(size)], dtype=torch.float64)


def test_maps_are_compared_at_the_size_of_the_images(networks, images):
    student, teacher = (network.run(images) for network in networks)
    classes = teacher.logits.argmax(1)
    maps = [grad_cam(network, classes) for network in (student, teacher)]
    assert [found.shape[1] for found in maps] == [4, 8]
    coarse = F.avg_pool2d(maps[1][:, None], 2)[:, 0]
    teacher_maps = [_upsampled(values.tolist(), 8).flatten() for values in coarse]
    student_maps = [_upsampled(values.tolist(), 8).flatten() for values in maps[0]]
    pairs = zip(student_maps, teacher_maps, strict=True)
    cosines = [float(own @ other / (own.norm() * other.norm())) for own, other in pairs]
    expected = pytest.approx(1 - sum(cosines) / IMAGES)
    assert explanation_loss(maps[0], coarse, (8, 8)).item() == expected
    # At the maps' own size, 4 x 4, it is another number.
    assert explanation_loss(maps[0], coarse).item() != expected


@pytest.mark.parametrize("sides", [(8, 8), (8, 12), (12, 8)])
def test_the_larger_images_say_the_size(networks, sides):
    inputs = [torch.randn(IMAGES, 3, side, side, dtype=torch.float64) for side in sides]
    passes = [network.run(given) for network, given in zip(networks, inputs, strict=True)]
    classes = passes[1].logits.argmax(1)
    expected = explanation_loss(*(grad_cam(network, classes) for network in passes), (max(sides), max(sides)))
    torch.testing.assert_close(e2kd_loss(*passes), expected)


def test_grad_cam_of_a_linear_head_is_the_cam(networks, images):
    for network in networks:
        result = network.run(images)
        classes = result.logits.argmax(1)
        cam = result.cams(classes[:, None])[:, 0].clamp(min=0) / result.features[0, 0].numel()
        torch.testing.assert_close(grad_cam(result, classes), cam)


def test_input_x_gradient_by_differences(networks, images):
    network = networks[0]
    classes = torch.tensor([0, 1, 2])
    explanation = input_x_gradient(network.run(images), classes)
    step = torch.zeros_like(images)
    step[1, :, 2, 3] = 1e-5 * images[1, :, 2, 3]
    rise = (network.run(images + step).logits - network.run(images - step).logits)[1, 1] / 2e-5
    torch.testing.assert_close(explanation[1, 2, 3], rise, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("explanation", ["gradcam", "input_x_gradient"])
def test_the_students_gradient_by_differences(networks, images, explanation):
    student, teacher = networks
    method = create_method("e2kd", explanation=explanation)
    labels = torch.zeros(IMAGES, dtype=torch.long)

    def loss():
        return method(student.run(images), teacher.run(images), labels)["e2kd"]

    loss().backward()
    weight = student.convolution.weight
    assert weight.grad.abs().sum() > 0
    expected = weight.grad[1, 2, 0, 1].item()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[1, 2, 0, 1] += sign * 1e-5
        values.append(loss().item())
        with torch.no_grad():
            weight[1, 2, 0, 1] -= sign * 1e-5
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(expected, rel=1e-5)


def test_zero_for_the_teacher_itself(networks, images):
    teacher = networks[1]
    method = create_method("e2kd")
    result = method(teacher.run(images), teacher.run(images), torch.zeros(IMAGES, dtype=torch.long))
    assert result["e2kd"].item() == pytest.approx(0, abs=1e-12)


def test_bfloat16_autocast_ends_in_float32(networks, images):
    student, teacher = (network.float() for network in networks)
    with torch.autocast("cpu", torch.bfloat16):
        passes = student.run(images.float()), teacher.run(images.float())
        loss = create_method("e2kd")(*passes, torch.zeros(IMAGES, dtype=torch.long))["e2kd"]
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(student.convolution.weight.grad).all()
