"""Insertion and deletion: a sum classifier by hand, a slow loop, and the curves and areas that four tools printed."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.evaluations.conftest import batch_of
from xkd_eval import XkdError, evaluate
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.evaluations.blurs import reflecting_blur, rise_blur, rise_kernel
from xkd_eval.evaluations.insertion_deletion.options import PRESETS, InsertionDeletionOptions
from xkd_eval.evaluations.insertion_deletion.protocol import pixel_counts
from xkd_eval.evaluations.insertion_deletion.test import InsertionDeletionTest
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.evaluations.removal import fill_image
from xkd_eval.testing import check_test

DIRECTIONS = ("insertion", "deletion")
TENTHS = Preprocess(size=(2, 2), mean=(0.0,) * 3, std=(10 / 255,) * 3)
PIXELS = torch.tensor([4, 3, 2, 1], dtype=torch.uint8).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)


def made(**options) -> InsertionDeletionTest:
    return InsertionDeletionTest.create(Rules(), InsertionDeletionOptions(**options))


def sum_of_pixels(images: torch.Tensor) -> torch.Tensor:
    """The probability of class 0 is the sum of the pixels of a channel."""
    total = images[:, 0].double().sum((1, 2)).clamp(0, 1)
    return torch.stack([total, 1 - total], 1).log().float()


def rows_of(relevance=(0.4, 0.3, 0.2, 0.1), network=sum_of_pixels, **options):
    maps = torch.tensor(relevance).reshape(1, 2, 2)
    batch = batch_of(PIXELS, maps, network, [0], TENTHS)
    return made(insertion_from="mean", **options).rows(batch)


def test_two_pixels_a_step_of_a_sum():
    rows = rows_of(steps=2)
    np.testing.assert_allclose(rows["deletion_curve"], [[1, 0.3, 0]], atol=1e-6)
    assert rows["deletion"] == pytest.approx(0.4, abs=1e-6)
    assert rows["insertion"] == pytest.approx(0.6, abs=1e-6)


def test_one_pixel_a_step_of_a_sum():
    rows = rows_of(steps=4)
    assert rows["deletion"] == pytest.approx(0.375, abs=1e-6)
    assert rows["insertion"] == pytest.approx(0.625, abs=1e-6)


def test_latecs_curve_has_neither_end():
    rows = rows_of(preset="latec", steps=4)
    np.testing.assert_allclose(rows["deletion_curve"], [[0.6, 0.3, 0.1]], atol=1e-6)
    assert rows["deletion"] == pytest.approx(0.21667, abs=1e-5)
    assert rows["insertion"] == pytest.approx(0.45, abs=1e-6)


@pytest.mark.parametrize("relevance", [(0.4, 0.3, 0.2, 0.1), (0.1, 0.4, 0.2, 0.3), (1.0, 1.0, 1.0, 1.0)])
def test_of_an_additive_score_both_areas_sum_to_the_clean_answer(relevance):
    rows = rows_of(relevance, steps=4)
    assert rows["insertion"] + rows["deletion"] == pytest.approx(1, abs=1e-6)


def test_a_constant_classifier_scores_its_probability():
    rows = rows_of(network=lambda images: torch.tensor([[0.7, 0.3]]).log().expand(len(images), 2), steps=2)
    assert rows["insertion"] == pytest.approx(0.7)
    assert rows["deletion"] == pytest.approx(0.7)


def test_logits_are_scored_where_a_tool_scores_them():
    rows = rows_of(network=lambda images: images.sum((2, 3))[:, :2], preset="torch-cam", steps=2, answer="logit")
    np.testing.assert_allclose(rows["deletion_curve"], [[1, 0.3, 0]], atol=1e-6)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_rows_equal_one_image_and_one_step_at_a_time(preset):
    generator = torch.Generator().manual_seed(1)
    preprocess = Preprocess(size=(9, 12), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    pixels = torch.randint(0, 256, (3, 3, 9, 12), generator=generator, dtype=torch.uint8)
    maps = torch.randn(3, 9, 12, generator=generator)
    weight = torch.randn(4, 3 * 108, generator=generator) / 10
    steps = {"rise": 7, "torch-cam": 5, "xplique": 7, "latec": 6.5}[preset]
    test = made(preset=preset, steps=steps)
    rows = test.rows(batch_of(pixels, maps, lambda x: x.flatten(1) @ weight.T, [0] * 3, preprocess))
    counts = {
        "torch-cam": [min(k * 22, 108) for k in range(6)],
        "latec": [int(k * 108 / 6.5) for k in range(1, 7)],
    }.get(preset, [int(k * 108 / 7) for k in range(8)])
    for place in range(3):
        clean = preprocess.normalise(pixels[place : place + 1])[0].flatten(1)
        blurred = fill_image(pixels[place : place + 1], preprocess, test.protocol.insertion_from)
        substrate = blurred.expand(1, 3, 9, 12)[0].flatten(1)
        order = maps[place].flatten().argsort(descending=True)
        explained = int((weight @ clean.flatten()).argmax())
        curves = {"insertion": [], "deletion": []}
        for count in counts:
            for name, start, end in (("insertion", substrate, clean), ("deletion", clean, clean * 0)):
                changed = start.clone()
                changed[:, order[:count]] = end[:, order[:count]]
                curves[name].append(float((weight @ changed.flatten()).softmax(0)[explained]))
        for name, curve in curves.items():
            np.testing.assert_allclose(rows[f"{name}_curve"][place], curve, atol=1e-6)
            pairs = [(before + after) / 2 for before, after in pairwise(curve)]
            widths = np.diff(counts) / 108 if preset == "torch-cam" else np.full(len(pairs), 1 / len(pairs))
            if preset == "latec":
                widths = np.full(len(pairs), 1 / len(curve))
            assert rows[name][place] == pytest.approx(float(np.dot(pairs, widths)), abs=1e-6)


def test_steps_are_those_of_the_tools_at_224():
    of = {name: pixel_counts(made(preset=name).protocol, (224, 224)) for name in PRESETS}
    assert of["rise"] == list(range(0, 50177, 1792))
    assert of["torch-cam"][:3] + of["torch-cam"][-2:] == [0, 2509, 5018, 47671, 50176]
    assert of["xplique"] == np.linspace(0, 50176, 11).astype(int).tolist()
    assert of["latec"] == list(range(50, 50151, 50))
    assert len(pixel_counts(made(preset="latec").protocol, (48, 80))) == 1003  # the same number at any size


def test_no_image_is_made_whose_answer_is_known():
    asked = []

    def answer(images):
        asked.append(images.clone())
        return sum_of_pixels(images)

    batch = batch_of(PIXELS, torch.tensor([[[0.4, 0.3], [0.2, 0.1]]]), answer, [0], TENTHS)
    asked.clear()
    made(preset="torch-cam", steps=2).rows(batch)
    images = torch.cat(asked)  # half deleted, all deleted, half inserted
    assert len(images) == 3
    assert sorted(int((image[0] != 0).sum()) for image in images) == [0, 2, 2]


# An image takes 20 to 56 forwards, so 4 of the 16 are asked. Under latec's 1003 steps a direction one is, on demand:
# what those depend on, the counts of pixels and the rest of the rule, is tested by itself as well.
FEW = (0, 5, 9, 14)
GOLDEN = {
    "rise/tie_free": ("insertion_deletion", FEW),
    "torch-cam/tie_free": ("insertion_deletion:preset=torch-cam", FEW),
    "xplique/tie_free": ("insertion_deletion:preset=xplique", FEW),
    "latec/1792": ("insertion_deletion:preset=latec,steps=28", FEW),
}
THOUSAND = "latec/50"
TIED = ("rise/minmax", "torch-cam/minmax")


def check_printed(golden, direction, entry, result, places, tolerance=1e-4):
    expected = golden.metrics[f"{direction}/{entry}"]
    np.testing.assert_allclose(result.columns[direction], np.take(expected["per_image"], places), atol=tolerance)
    if "first_image_curve" in expected and entry not in TIED:
        curve = expected["first_image_curve"]["score"]
        np.testing.assert_allclose(result.columns[f"{direction}_curve"][0], curve, atol=tolerance)


@pytest.mark.parametrize("entry", GOLDEN)
def test_what_the_tools_printed(entry, golden):
    test, places = GOLDEN[entry]
    result = golden.run(test, "tie_free", places)
    for direction in DIRECTIONS:
        check_printed(golden, direction, entry, result, places)


# 2006 forwards, 40 CPU-seconds: the first image alone.
@pytest.mark.long
def test_latecs_thousand_steps(golden):
    result = golden.run("insertion_deletion:preset=latec", "tie_free", (0,))
    for direction in DIRECTIONS:
        check_printed(golden, direction, THOUSAND, result, (0,))


# Each tool sorts equal values in its own way, and ours go by the tie permutation: as the file says, 1e-3 an image.
@pytest.mark.parametrize("entry", TIED)
def test_ties_move_an_image_by_a_thousandth(entry, golden):
    result = golden.run(f"insertion_deletion:preset={entry.split('/')[0]}", "source", FEW[:1])
    for direction in DIRECTIONS:
        check_printed(golden, direction, entry, result, FEW[:1], tolerance=2e-3)


def test_every_golden_entry_of_the_family_is_held(golden):
    held = {f"{direction}/{entry}" for entry in (*GOLDEN, *TIED, THOUSAND) for direction in DIRECTIONS}
    assert {name for name in golden.metrics if name.split("/")[0] in DIRECTIONS} == held


def test_rises_kernel_and_its_substrate(golden, golden_classifier, golden_photographs):
    printed = golden.metrics["insertion/rise/tie_free"]
    row = rise_kernel()
    np.testing.assert_allclose(np.outer(row, row), printed["kernel_11x11"], atol=1e-10)
    image = golden_photographs.load(0).image
    preprocess = golden_classifier.preprocess
    images = preprocess.normalise(preprocess.pixels(image)[None])
    blurred = rise_blur(images)[0]
    assert float(blurred.mean()) == pytest.approx(printed["blurred_first_image"]["mean"], abs=1e-5)
    np.testing.assert_allclose(blurred[:, 0, 0], printed["blurred_first_image"]["corner"], atol=1e-5)
    np.testing.assert_allclose(blurred[:, 112, 112], printed["blurred_first_image"]["centre"], atol=1e-5)


def test_rises_blur_is_one_convolution_with_zeros_around():
    images = torch.randn(2, 3, 9, 14, generator=torch.Generator().manual_seed(2))
    row = torch.from_numpy(rise_kernel()).float()
    kernel = torch.outer(row, row).expand(3, 1, 11, 11)
    torch.testing.assert_close(rise_blur(images), F.conv2d(images, kernel, padding=5, groups=3))
    assert row[5] ** 2 / row[0] ** 2 == pytest.approx(1.14, abs=0.005)


def test_the_summary_says_whose_rules():
    found = {}
    for options in ("", ":preset=xplique", ":steps=5", ":preset=torch-cam,answer=logit"):
        result = evaluate("embedded/kd", tests=[f"insertion_deletion{options}"], limit=2).results[0]
        found[options] = result.summary["preset"]["name"], result.test.notes(result.summary)
    assert found[""] == ("rise", [])
    assert found[":preset=xplique"][0] == "xplique"
    assert "10 steps" in found[":preset=xplique"][1][0]
    assert found[":steps=5"] == ("own", ["preset own: rules of the user's own"])
    assert "logits are scored, and not probabilities" in found[":preset=torch-cam,answer=logit"][1]


def test_a_constant_map_is_counted_and_scored_as_a_random_one():
    rows = rows_of((1.0, 1.0, 1.0, 1.0), steps=4)
    assert rows["degenerate"].tolist() == [True]
    assert rows["tie_share"].tolist() == [1]


def test_curves_are_drawn_and_written(tmp_path):
    result = evaluate("embedded/kd", tests=["insertion_deletion:preset=xplique"], limit=4, output=tmp_path).results[0]
    figure = result.test.figures("kd", result.summary, result.columns)["insertion_deletion_curves"]
    assert [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()] == ["Pixels replaced (%)"] * 2
    logits = made(preset="xplique", answer="logit")
    assert logits.curve_figure({"insertion_curve": []}, None) is None


def test_bad_input_is_refused_in_one_line():
    with pytest.raises(XkdError, match=r"^answer: logit with preset rise, whose curves are of probabilities; "):
        made(answer="logit")
    with pytest.raises(XkdError, match=r"^steps: 0 found; expected 1 to 1000000"):
        made(steps=0)
    with pytest.raises(XkdError, match=r"^steps: 1e\+09 found; expected 1 to 1000000"):
        made(steps=1e9)
    with pytest.raises(XkdError, match=r"^steps: 2 found; expected 3 to 1000000"):
        made(preset="latec", steps=2)
    with pytest.raises(XkdError, match=r"^steps: 28 found for images of 2x2 pixels, of which some .* at most 4$"):
        rows_of()
    with pytest.raises(XkdError, match=r"^steps: 3 found for images of 2x2 pixels, of which some .* at most 2$"):
        rows_of(preset="torch-cam", steps=3)
    with pytest.raises(XkdError, match=r"^deletion_to: unknown value 'noise'"):
        made(deletion_to="noise")
    with pytest.raises(XkdError, match=r"^preset: unknown value 'paper'; expected one of rise, torch-cam"):
        made(preset="paper")
    with pytest.raises(XkdError, match=r"direction.*'up'"):
        evaluate("embedded/kd", tests=["insertion_deletion:direction=up"], limit=2)
    with pytest.raises(
        XkdError, match=r"^fill: reflecting_blur of an image of 4x9 pixels; expected sides of at least 8"
    ):
        reflecting_blur(torch.zeros(1, 3, 4, 9))


@pytest.mark.parametrize(
    "test", ["insertion_deletion", "insertion_deletion:preset=latec,steps=9", "insertion_deletion:direction=deletion"]
)
def test_contract(test):
    check_test(test)
