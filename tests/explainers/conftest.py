"""Small networks whose explanations are known, or that are quick to explain."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xkd_eval.classifiers.classifier import CamHead, Classifier
from xkd_eval.classifiers.outputs import Classifying
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.testing import SmallNetwork


def trained_look(model: nn.Module) -> nn.Module:
    """Norm statistics and biases that are no identity, eval mode, frozen."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return model.eval().requires_grad_(False)


def wrap(model: nn.Module, size: int, num_classes: int, head: CamHead | None = None, **convention) -> Classifier:
    return Classifier(
        model.eval().requires_grad_(False),
        Preprocess(size=(size, size), **convention),
        name=type(model).__name__,
        num_classes=num_classes,
        head=head,
        head_refusal="" if head else "made for the test without one; use saliency",
    )


@pytest.fixture
def classifier() -> Classifier:
    head = CamHead("features", "head", "NCHW", relu=False, steps=(), map_size=(8, 8), proof_error=0.0)
    return wrap(trained_look(SmallNetwork()), 32, 5, head)


@pytest.fixture
def vit() -> Classifier:
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3, num_classes=5)
    return wrap(livened(model), 32, 5)


@pytest.fixture
def distilled_deit() -> Classifier:
    from timm.models.deit import VisionTransformerDistilled

    model = VisionTransformerDistilled(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=5)
    return wrap(livened(model), 32, 5)


@pytest.fixture
def torchvision_vit() -> Classifier:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(32, 8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=48, num_classes=5)
    return wrap(livened(model), 32, 5)


_THEIRS = {"image_size": 32, "patch_size": 8, "num_labels": 5, "hidden_size": 24, "num_hidden_layers": 3}


def theirs(config: str, model: str) -> Classifier:
    """A network of transformers, whose logits are a part of what it gives."""
    import transformers

    described = getattr(transformers, config)(**_THEIRS, num_attention_heads=3, intermediate_size=48)
    made = livened(getattr(transformers, model)(described))
    classifier = wrap(Classifying(made, None, is_binary=False), 32, 5)
    classifier.name = model
    return classifier


@pytest.fixture
def their_vit() -> Classifier:
    return theirs("ViTConfig", "ViTForImageClassification")


@pytest.fixture
def their_deit() -> Classifier:
    return theirs("DeiTConfig", "DeiTForImageClassificationWithTeacher")


@pytest.fixture
def their_dinov2() -> Classifier:
    return theirs("Dinov2Config", "Dinov2ForImageClassification")


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 32, 32)


@pytest.fixture
def classes() -> torch.Tensor:
    return torch.tensor([0, 3, 1])


def livened(model: nn.Module) -> nn.Module:
    """Weights large enough that attention differs from uniform, and heads that torchvision starts at zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return model
