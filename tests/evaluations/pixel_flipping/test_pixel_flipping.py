"""Pixel flipping: a sum classifier's curve by hand, a slow loop over features, Quantus' own figures."""

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import batch_of, share_of_light
from xkd_eval import XkdError, evaluate
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.evaluations.pixel_flipping.options import PixelFlippingOptions
from xkd_eval.evaluations.pixel_flipping.test import PixelFlippingTest
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.testing import check_test

HUNDREDTHS = Preprocess(size=(2, 2), mean=(0.0, 0.0, 0.0), std=(100 / 255,) * 3)
FOUR = torch.tensor([[40, 30], [20, 10]], dtype=torch.uint8).expand(1, 3, 2, 2)


def made(**options) -> PixelFlippingTest:
    return PixelFlippingTest.create(Rules(), PixelFlippingOptions(**options))


def by_hand(**options) -> dict:
    test = made(steps=4, **options)
    return test.rows(batch_of(FOUR, FOUR[:, 0].float(), share_of_light, [0], HUNDREDTHS))


def test_four_pixels_by_hand():
    rows = by_hand()
    assert rows["pixel_flipping_curve"][0] == pytest.approx([1, 0.6, 0.3, 0.1, 0], abs=1e-6)
    assert rows["pixel_flipping"] == pytest.approx([0.375], abs=1e-6)
    rows = by_hand(start=False, area="unit_steps")
    assert rows["pixel_flipping_curve"][0] == pytest.approx([0.6, 0.3, 0.1, 0], abs=1e-6)
    assert rows["pixel_flipping"] == pytest.approx([0.7], abs=1e-6)


def test_black_in_the_sense_of_quantus_is_the_smallest_value():
    # The pixel of 0.1 stays as it is: the others become 0.1, so the last two steps end at four times 0.1.
    rows = by_hand(infill="lowest", start=False)
    assert rows["pixel_flipping_curve"][0] == pytest.approx([0.7, 0.5, 0.4, 0.4], abs=1e-6)


@pytest.mark.parametrize(("feature", "infill"), [("pixels", "opposite"), ("values", "lowest"), ("values", "mean")])
def test_curve_equals_one_feature_after_the_other(feature, infill):
    generator = torch.Generator().manual_seed(2)
    preprocess = Preprocess(size=(5, 6), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    pixels = torch.randint(0, 256, (3, 3, 5, 6), generator=generator, dtype=torch.uint8)
    maps, weight = torch.randn(3, 5, 6, generator=generator), torch.randn(4, 90, generator=generator)
    model = lambda images: images.flatten(1) @ weight.T / 9  # noqa: E731
    test = made(feature=feature, steps=7, infill=infill, area="equal_steps")
    rows = test.rows(batch_of(pixels, maps, model, [0, 1, 2], preprocess, chunk=5))
    for image in range(3):
        clean = preprocess.normalise(pixels[image : image + 1])[0]
        target = int(model(clean[None]).argmax())
        order = maps[image].flatten().argsort(descending=True).tolist()
        channels = [[0], [1], [2]] if feature == "values" else [[0, 1, 2]]
        features = [(channel, pixel) for pixel in order for channel in channels]
        flipped, points = clean.flatten(1).clone(), [float(model(clean[None]).softmax(1)[0, target])]
        for step in range(1, 8):
            for channel, pixel in features[(step - 1) * len(features) // 7 : step * len(features) // 7]:
                value = {"opposite": -clean.flatten(1)[channel, pixel], "lowest": clean.min(), "mean": 0.0}[infill]
                flipped[channel, pixel] = value
            points.append(float(model(flipped.reshape(1, 3, 5, 6)).softmax(1)[0, target]))
        assert rows["pixel_flipping_curve"][image] == pytest.approx(points, rel=1e-4, abs=1e-6)
        assert rows["pixel_flipping"][image] == pytest.approx(np.trapezoid(points) / 7, rel=1e-4)


def test_a_constant_map_is_counted_and_flipped_in_a_random_order():
    rows = made(steps=4).rows(batch_of(FOUR, torch.ones(1, 2, 2), share_of_light, [0], HUNDREDTHS))
    assert rows["degenerate"].tolist() == [True]
    assert rows["tie_share"].tolist() == [1]
    assert rows["pixel_flipping_curve"][0, [0, 4]] == pytest.approx([1, 0], abs=1e-6)


def test_quantus_in_channel_values_without_ties(golden):
    expected = golden.metrics["pixel_flipping/quantus/tie_free3"]
    places = range(3)  # of the 16, since each takes 48 forwards
    result = golden.run("pixel_flipping:preset=quantus", "tie_free", places)
    assert result.summary["preset"]["name"] == "quantus"
    assert result.summary["preset"]["departs_from_paper"]
    np.testing.assert_allclose(result.columns["pixel_flipping_curve"], np.array(expected["curves"])[:3], atol=1e-4)
    areas = [np.trapezoid(curve) for curve in expected["curves"]]
    assert np.mean(areas) == pytest.approx(expected["aggregate"], abs=1e-4)
    np.testing.assert_allclose(result.columns["pixel_flipping"], areas[:3], atol=5e-4)  # a sum of 48 probabilities


def test_quantus_where_the_channels_of_a_pixel_tie(golden):
    # Loose: there the three equal values of a pixel part in no order that can be told.
    expected = golden.metrics["pixel_flipping/quantus/minmax"]
    columns = golden.run("pixel_flipping:preset=quantus", "source", range(1)).columns
    np.testing.assert_allclose(columns["pixel_flipping"], expected["per_image"][:1], atol=5e-3)


def test_whose_rules_they_are():
    for name in ("paper", "quantus", "latec"):
        assert made(preset=name).extras({})["preset"]["name"] == name
    assert made(preset="quantus", form="relu").extras({})["preset"]["name"] == "own"


def test_bad_input_is_one_line():
    with pytest.raises(XkdError, match=r"^preset: unknown value 'torch-cam'; expected one of paper, quantus, latec$"):
        evaluate("embedded/kd", tests="pixel_flipping", preset="torch-cam", limit=2)
    with pytest.raises(XkdError, match=r"^steps: 0 found; expected a whole number from 1 to 1,000,000"):
        evaluate("embedded/kd", tests="pixel_flipping", steps=0, limit=2)
    with pytest.raises(XkdError, match=r"^steps: 1000000000 found; expected a whole number from 1 to 1,000,000"):
        evaluate("embedded/kd", tests="pixel_flipping", steps=10**9, limit=2)
    with pytest.raises(XkdError, match=r"^steps: 1 found, and a curve without the clean image; expected two or more"):
        made(steps=1, start=False)
    with pytest.raises(XkdError, match=r"steps: 5 found for images of 4 features; expected at most one a feature"):
        made(steps=5).rows(batch_of(FOUR, FOUR[:, 0].float(), share_of_light, [0], HUNDREDTHS))


def test_what_every_study_relies_on():
    check_test("pixel_flipping:steps=5")
    check_test("pixel_flipping:preset=quantus,steps=5")
