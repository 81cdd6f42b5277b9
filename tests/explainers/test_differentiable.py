"""The maps that a student is taught by are those that are evaluated, in the graph of its weights."""

from __future__ import annotations

import pytest
import torch

from xkd_eval.explainers import EXPLAINERS, Context, create_explainer
from xkd_eval.explainers.named import differentiable_explainers, may_be_differentiated

NAMES = ("cam", "gradcam", "gradcam++", "hirescam", "input_x_gradient", "layercam", "saliency", "xgradcam")


def test_which_they_are():
    assert sorted(differentiable_explainers()) == sorted(NAMES)
    assert not may_be_differentiated(EXPLAINERS["rise"])


@pytest.mark.parametrize(
    "written", [*NAMES, "gradcam:relu=false", "layercam:relu=false", "cam:reduction=mean,clamp=true"]
)
def test_it_is_the_evaluated_map_with_a_gradient(classifier, images, classes, written):
    explainer = create_explainer(written)
    expected = explainer(classifier, images, classes)
    trained = classifier.private().requires_grad_()
    maps = explainer.differentiable(trained, images, classes)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    maps.square().sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in trained.parameters())
    assert not any(module._forward_hooks for module in trained.modules())


def test_the_features_that_are_known_are_used(classifier, images, classes):
    features = classifier.forward_with_features(images).features.requires_grad_()
    classifier.model.features = None  # a forward would fail
    maps = create_explainer("cam").differentiable(classifier, images, classes, Context(features=features))
    maps.sum().backward()
    torch.testing.assert_close(features.grad[0, :, 0, 0], classifier.head_weight[classes[0]])
