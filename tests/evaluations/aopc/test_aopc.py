"""Region perturbation: a sum classifier's AOPC by hand, a slow loop over regions, Quantus' own figures."""

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import batch_of, share_of_light
from xkd_eval import XkdError, evaluate
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.evaluations.aopc.options import AopcOptions
from xkd_eval.evaluations.aopc.regions import region_numbers
from xkd_eval.evaluations.aopc.test import AopcTest
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.testing import check_test

HUNDREDTHS = Preprocess(size=(2, 2), mean=(0.0, 0.0, 0.0), std=(100 / 255,) * 3)
FOUR = torch.tensor([[40, 30], [20, 10]], dtype=torch.uint8).expand(1, 3, 2, 2)


def made(**options) -> AopcTest:
    return AopcTest.create(Rules(), AopcOptions(**options))


def test_four_regions_by_hand():
    test = made(region=112, regions=4, infill="mean")
    rows = test.rows(batch_of(FOUR, FOUR[:, 0].float(), share_of_light, [0], HUNDREDTHS))
    assert 1 - rows["aopc_morf_curve"][0] == pytest.approx([0, 0.4, 0.7, 0.9, 1], abs=1e-6)
    assert rows["aopc_morf"] == pytest.approx([0.6], abs=1e-6)
    assert 1 - rows["aopc_lerf_curve"][0] == pytest.approx([0, 0.1, 0.3, 0.6, 1], abs=1e-6)
    assert rows["aopc_lerf"] == pytest.approx([0.4], abs=1e-6)
    assert test.summarise(rows)["aopc_morf"]["value"] == pytest.approx(0.6, abs=1e-6)


def test_regions_lie_in_the_middle_and_scale_with_the_image():
    numbers, grid = region_numbers((224, 224), 9)
    assert grid == (25, 25)
    assert np.bincount(numbers[:, 0] // 25).tolist() == [9] * 24 + [8]
    numbers, grid = region_numbers((64, 96), 28)  # 8 pixels, where the shorter side has 64
    assert grid == (8, 12)
    assert np.unique(numbers, return_counts=True)[1].tolist() == [64] * 96
    assert region_numbers((7, 10), 96)[0][0].tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    assert region_numbers((4, 4), 1)[1] == (4, 4)


def slow_infill(name, clean, identifier, preprocess, step):
    if name == "noise":
        drawn = image_generator(identifier, 3, "noise").random((3, 6, 8), dtype="float32")
        return preprocess.normalise(torch.from_numpy(drawn)[None])[0]
    if name == "shade":
        return torch.full_like(clean, float(image_generator(identifier, 3, "shade").random(48, dtype="float32")[step]))
    return torch.full_like(clean, float(clean.min()))


@pytest.mark.parametrize("infill", ["noise", "shade", "lowest"])
def test_curves_equal_one_region_after_the_other(infill):
    generator = torch.Generator().manual_seed(4)
    preprocess = Preprocess(size=(6, 8), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    pixels = torch.randint(0, 256, (3, 3, 6, 8), generator=generator, dtype=torch.uint8)
    maps, weight = torch.rand(3, 6, 8, generator=generator), torch.randn(4, 144, generator=generator)
    model = lambda images: images.flatten(1) @ weight.T / 9  # noqa: E731
    test = made(region=75, regions=9, infill=infill, seed=3)  # 2 pixels
    rows = test.rows(batch_of(pixels, maps, model, [0, 1, 2], preprocess, chunk=5))
    corners = [(y, x) for y in (0, 2, 4) for x in (0, 2, 4, 6)]
    for image in range(3):
        clean = preprocess.normalise(pixels[image : image + 1])[0]
        target = int(model(clean[None]).argmax())
        sums = [float(maps[image, y : y + 2, x : x + 2].sum()) for y, x in corners]
        places = image_generator(str(image), 3, "order").permutation(12)
        orders = {"morf": np.argsort(sums)[::-1], "lerf": np.argsort(sums), "random": np.argsort(places)}
        for name, order in orders.items():
            replaced, points = clean.clone(), [float(model(clean[None]).softmax(1)[0, target])]
            for step, region in enumerate(order[:9]):
                y, x = corners[region]
                fill = slow_infill(infill, clean, str(image), preprocess, step)
                replaced[:, y : y + 2, x : x + 2] = fill[:, y : y + 2, x : x + 2]
                points.append(float(model(replaced[None]).softmax(1)[0, target]))
            assert rows[f"aopc_{name}_curve"][image] == pytest.approx(points, rel=1e-4, abs=1e-6)
            assert rows[f"aopc_{name}"][image] == pytest.approx(points[0] - np.mean(points), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("entry", "options", "places"),
    [
        ("morf14", "region=14,regions=10,order=morf", range(16)),
        ("lerf56", "region=56,regions=16,order=lerf", range(16)),
        ("morf28", "region=28,regions=64,order=morf", range(2)),  # of the 16, since each takes 64 forwards
    ],
)
def test_quantus(golden, entry, options, places):
    expected = golden.metrics[f"region_perturbation/quantus/{entry}"]
    columns = golden.run(f"aopc:preset=quantus,{options}", "source", places).columns
    order = entry[:4]
    curve = columns[f"aopc_{order}_curve"]
    np.testing.assert_allclose(curve[:, :1] - curve[:, 1:], np.array(expected["curves"])[: len(places)], atol=1e-4)
    np.testing.assert_allclose(columns[f"aopc_{order}"], expected["per_image"][: len(places)], atol=1e-4)


def test_whose_rules_they_are():
    for name in ("samek", "quantus", "latec"):
        assert made(preset=name).extras({})["preset"]["name"] == name
    for other in ({"regions": 10}, {"form": "relu"}):
        assert made(preset="quantus", **other).extras({})["preset"]["name"] == "own"


def test_a_constant_map_is_counted_and_replaced_in_a_random_order():
    test = made(region=112, regions=4, infill="mean")
    rows = test.rows(batch_of(FOUR, torch.ones(1, 2, 2), share_of_light, [0], HUNDREDTHS))
    assert rows["degenerate"].tolist() == [True]
    assert rows["aopc_morf_curve"][0, [0, 4]] == pytest.approx([1, 0], abs=1e-6)


def test_bad_input_is_one_line():
    with pytest.raises(XkdError, match=r"^preset: unknown value 'paper'; expected one of samek, quantus, latec$"):
        evaluate("embedded/kd", tests="aopc", preset="paper", limit=2)
    with pytest.raises(XkdError, match=r"^region: 300 found; expected a whole number from 1 to 224"):
        evaluate("embedded/kd", tests="aopc", region=300, limit=2)
    with pytest.raises(XkdError, match=r"^regions: 1000000000 found; expected a whole number from 1 to 1,000,000"):
        evaluate("embedded/kd", tests="aopc", regions=10**9, limit=2)
    with pytest.raises(XkdError, match=r"regions: 100 found; an image of 2x2 pixels has 4; expected no more"):
        made().rows(batch_of(FOUR, FOUR[:, 0].float(), share_of_light, [0], HUNDREDTHS))


def test_what_every_study_relies_on():
    check_test("aopc:regions=4")
    check_test("aopc:preset=latec,regions=3,order=morf")
