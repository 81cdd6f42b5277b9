"""IROF: a sum classifier's value by hand, a slow loop over superpixels."""

import numpy as np
import pytest
import torch

from tests.evaluations.conftest import batch_of, share_of_light
from xkd_eval import XkdError, evaluate
from xkd_eval.classifiers.preprocess import Preprocess, stacked
from xkd_eval.evaluations.irof.options import IrofOptions
from xkd_eval.evaluations.irof.segments import segment_ranks, superpixels
from xkd_eval.evaluations.irof.test import IrofTest
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.testing import check_test

HUNDREDTHS = Preprocess(size=(2, 2), mean=(0.0, 0.0, 0.0), std=(100 / 255,) * 3)
FOUR = torch.tensor([[40, 30], [20, 10]], dtype=torch.uint8).expand(1, 3, 2, 2)


def made(**options) -> IrofTest:
    return IrofTest.create(Rules(), IrofOptions(**options))


@pytest.fixture
def single_pixels(monkeypatch):
    """Superpixels of one pixel each."""
    monkeypatch.setattr("xkd_eval.evaluations.irof.test.superpixels", lambda *given: np.arange(4).reshape(2, 2))


def test_four_pixels_by_hand(single_pixels):
    rows = made().rows(batch_of(FOUR, FOUR[:, 0].float(), share_of_light, [0], HUNDREDTHS))
    assert rows["irof"] == pytest.approx([0.625], abs=1e-6)
    assert rows["irof_curve"][0, ::5] == pytest.approx([1, 0.6, 0.3, 0.1, 0], abs=1e-6)
    assert rows["segments"].tolist() == [4]


def test_no_probability_to_lose_leaves_the_image_out(single_pixels):
    never = lambda images: torch.tensor([[0.0, -torch.inf]]).expand(len(images), 2)  # noqa: E731
    batch = batch_of(FOUR, FOUR[:, 0].float(), never, [0], HUNDREDTHS)
    test = made()
    sure = test.rows(batch)
    assert sure["irof"].tolist() == [0.0]
    lost = test.rows(type(batch)(**{**vars(batch), "target": torch.tensor([1])}))
    assert np.isnan(lost["irof"]).all()
    both = {name: np.concatenate([sure[name], lost[name]]) for name in sure}
    summary = test.summarise(both)
    assert summary["irof"]["value"] == 0.0
    assert [point["value"] for point in summary["irof_curve"]] == [1.0] * 21


def test_curve_equals_one_superpixel_after_the_other():
    generator = torch.Generator().manual_seed(5)
    preprocess = Preprocess(size=(24, 30), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    pixels = torch.randint(0, 256, (2, 3, 24, 30), generator=generator, dtype=torch.uint8)
    maps, weight = torch.rand(2, 24, 30, generator=generator), torch.randn(4, 2160, generator=generator)
    model = lambda images: images.flatten(1) @ weight.T / 30  # noqa: E731
    rows = made(segments=9).rows(batch_of(pixels, maps, model, [0, 1], preprocess, chunk=5))
    for image in range(2):
        segments = superpixels(pixels[image], 9, 10.0)
        order = sorted(range(segments.max() + 1), key=lambda one: -float(maps[image][segments == one].mean()))
        removed = preprocess.normalise(pixels[image : image + 1])[0]
        answers = model(removed[None]).softmax(1)[0]
        target, points = int(answers.argmax()), [float(answers.max())]
        for segment in order:
            removed[:, segments == segment] = 0.0
            points.append(float(model(removed[None]).softmax(1)[0, target]))
        expected = 1 - np.trapezoid(np.array(points) / points[0]) / len(order)
        assert rows["irof"][image] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_superpixels_of_bytes_are_the_same_beside_finer_values():
    """SLIC reckons bytes in another precision, which decides between equals: those of stripes of few levels."""
    generator = torch.Generator().manual_seed(1)
    stripes = 51 * torch.randint(0, 6, (4, 40, 40), generator=generator)[:, :, :1].expand(-1, -1, 40).byte()
    beside = stacked([stripes, torch.rand(4, 40, 40, generator=generator)])[0]
    assert beside.dtype == torch.float32
    np.testing.assert_array_equal(superpixels(beside, 30, 10.0), superpixels(stripes, 30, 10.0))


def test_segments_of_equal_relevance_go_in_the_order_of_the_permutation():
    segments = np.arange(16).reshape(4, 4)
    orders = {tuple(segment_ranks(torch.ones(4, 4), segments, seed).flatten().tolist()) for seed in (0, 0, 1)}
    assert len(orders) == 2
    assert all(sorted(order) == list(range(16)) for order in orders)


def test_a_photograph_of_one_colour_is_still_cut(single_pixels):
    assert len(np.unique(superpixels(torch.full((3, 32, 32), 7, dtype=torch.uint8), 4, 10.0))) > 1


def test_bad_input_is_one_line():
    with pytest.raises(XkdError, match=r"^segments: 1 found; expected a whole number of at least 2"):
        evaluate("embedded/kd", tests="irof", segments=1, limit=2)
    with pytest.raises(XkdError, match=r"^infill: unknown value 'noise'; expected one of black, mean, blur"):
        evaluate("embedded/kd", tests="irof", infill="noise", limit=2)
    with pytest.raises(XkdError, match=r"^segments: 1601 found for images of 40x40 pixels; choose at most 1600"):
        evaluate("embedded/kd", tests="irof", segments=1601, limit=2)


def test_what_every_study_relies_on():
    check_test("irof:segments=8")
