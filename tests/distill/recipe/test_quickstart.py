"""The students that ship are those of the quickstart recipes, as good as recorded, and look at the digit."""

from functools import cache

import pytest
import torch
from torch.nn import functional as F

from distill.recipe.files import expand, load_recipe
from distill.recipe.parse import parse_recipe
from xkd_eval import load_classifier
from xkd_eval.assets import EMBEDDED, embedded_classifier_path
from xkd_eval.classifiers.checkpoint import read_checkpoint
from xkd_eval.datasets.embedded import CLASSES, EmbeddedDataset

N_IMAGES = 200


@pytest.fixture(scope="module")
def held_out():
    images, masks, labels = EmbeddedDataset("test", N_IMAGES).arrays()
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(masks), torch.from_numpy(labels)


@cache
def pixels(preprocess):
    dataset = EmbeddedDataset("test", N_IMAGES)
    return torch.stack([preprocess.pixels(dataset.load(place).image) for place in range(N_IMAGES)])


@cache
def passed(name):
    """A shipped classifier, and its logits and features of the images."""
    classifier = load_classifier(f"embedded/{name}")
    with torch.inference_mode():
        inputs = classifier.preprocess.normalise(pixels(classifier.preprocess))
        return classifier, *classifier.forward_with_features(inputs)


def test_they_are_the_rows_of_the_recipe_and_small():
    assert expand("quickstart") == [f"quickstart/{name}" for name in EMBEDDED]
    assert sum(embedded_classifier_path(name).stat().st_size for name in EMBEDDED) < 1_000_000


@pytest.mark.parametrize("name", EMBEDDED)
def test_each_is_what_its_recipe_makes_and_as_good_as_recorded(name, held_out):
    shipped = read_checkpoint(embedded_classifier_path(name))
    assert parse_recipe(shipped.recipe) == load_recipe(f"quickstart/{name}")
    assert shipped.class_names == CLASSES
    predicted = passed(name)[1].argmax(1)
    # 200 of the images that the recorded figure is on: within three standard errors.
    accuracy = (predicted == held_out[2]).float().mean().item()
    assert accuracy == pytest.approx(shipped.metrics["test_top1"], abs=0.06)
    assert accuracy > 0.8


@pytest.mark.parametrize("name", EMBEDDED)
def test_their_maps_peak_at_the_digit_and_the_centre_does_not(name, held_out):
    _, masks, labels = held_out
    classifier, _, features = passed(name)
    with torch.inference_mode():
        maps = classifier.cams(features, labels[:, None])
    peaks = F.interpolate(maps, size=64, mode="bilinear").flatten(1).argmax(1)
    near = F.max_pool2d(masks[:, None].float(), 7, stride=1, padding=3).flatten(1)  # within 3 px of the digit
    assert near.gather(1, peaks[:, None]).mean() > 0.7
    assert near[:, 32 * 64 + 32].mean() < 0.25


def test_embedded_is_the_teacher():
    assert load_classifier("embedded").digest() == load_classifier("embedded/teacher").digest()
