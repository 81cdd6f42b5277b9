"""VGG with batch norm for small images (Simonyan & Zisserman, ICLR 2015), one linear layer on the global average."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from xkd_eval.classifiers.architectures.layers import PooledNet, initialise


def vgg(convolutions: int, num_classes: int) -> PooledNet:
    """Five stages of `convolutions` 3x3 convolutions; the first three end in 2x2 max pooling, so 32 px give 4x4."""
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = 3
    for number, outputs in enumerate((64, 128, 256, 512, 512), start=1):
        layers: list[nn.Module] = []
        for _ in range(convolutions):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        stages[f"stage{number}"] = nn.Sequential(*layers)
        if number <= 3:
            stages[f"pool{number}"] = nn.MaxPool2d(2)
    model = PooledNet(stages, inputs, num_classes)
    model.stages = model.stages[1:]  # what is published compares four maps, and has the first as a stem
    initialise(model)
    nn.init.normal_(model.linear.weight, std=0.01)
    nn.init.zeros_(model.linear.bias)
    return model
