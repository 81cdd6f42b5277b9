"""A network of one's own, as any module that can be imported; a recipe names it `py:mynet:make`."""

from torch import nn


def make(num_classes: int, width: int = 16) -> nn.Module:
    """(B, 3, H, W) -> (B, num_classes)."""

    layers: list[nn.Module] = []
    inputs = 3
    for outputs, stride in ((width, 2), (2 * width, 2), (2 * width, 1), (3 * width, 1)):
        convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes))
