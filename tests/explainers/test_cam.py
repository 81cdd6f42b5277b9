"""The closed-form CAM as an explainer."""

import pytest
import torch

from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import Context, create_explainer
from xkd_eval.testing import SmallNetwork

from .conftest import wrap


def test_mean_plus_bias_is_the_logit(classifier, images, classes):
    maps = create_explainer("cam")(classifier, images, classes)
    logits = classifier(images).gather(1, classes[:, None])[:, 0]
    torch.testing.assert_close(maps.mean((1, 2)) + classifier.head_bias[classes], logits)


def test_known_features_are_used_and_nothing_is_run(classifier, images, classes):
    features = classifier.forward_with_features(images).features
    expected = create_explainer("cam")(classifier, images, classes)
    classifier.model.features = None  # a forward would fail
    maps = create_explainer("cam")(classifier, images, classes, Context(features=features))
    torch.testing.assert_close(maps, expected)


def test_options(classifier, images, classes):
    maps = create_explainer("cam")(classifier, images, classes)
    mean = create_explainer("cam", reduction="mean", clamp=True)(classifier, images, classes)
    torch.testing.assert_close(mean, maps.clamp(min=0) / 12)


def test_without_a_head_the_reason_is_quoted(images, classes):
    headless = wrap(SmallNetwork(), 32, 5)
    with pytest.raises(ExplainerError, match=r"explainer 'cam': SmallNetwork has no .*: made for the test without one"):
        create_explainer("cam").check(headless)
