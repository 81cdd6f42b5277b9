"""Which rules there are, by whose name, and what the test needs of its data."""

from __future__ import annotations

from dataclasses import replace

import pytest

import xkd_eval
from tests.evaluations.localisation.scoring import block, scored
from xkd_eval import XkdError
from xkd_eval.datasets.base import ImageDataset
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.evaluations.localisation.test import LocalisationTest
from xkd_eval.testing import check_test


@pytest.mark.parametrize("spelt", ["localisation", "localisation:regions=masks,preset=quantus"])
def test_the_contract(spelt):
    check_test(spelt)


@pytest.mark.parametrize(
    ("offered", "spelt"),
    [
        ({"labels", "boxes", "masks"}, ""),
        ({"boxes", "masks"}, "regions=masks"),
        ({"labels", "masks"}, "regions=masks"),
        ({"labels"}, None),
    ],
)
def test_the_core_takes_what_there_is(offered, spelt):
    assert LocalisationTest.suited(offered) == spelt


@pytest.mark.parametrize("preset", ["choe2020", "zhou2016", "ebp", "quantus", "score-cam"])
def test_presets_are_told_by_their_rules(preset):
    _, summary = scored([block(50, 60, 149, 159)], [[[60, 50, 159, 149]]], preset=preset)
    assert summary["preset"]["name"] == preset
    assert (summary["preset"]["departs_from_paper"] is not None) == (preset in ("quantus", "score-cam"))


@pytest.mark.parametrize("changed", [{"threshold": 0.3}, {"top_pixels": 10}, {"tolerance": 3}])
def test_a_rule_that_no_preset_has_is_the_users_own(changed):
    _, summary = scored([block(50, 60, 149, 159)], [[[60, 50, 159, 149]]], **changed)
    assert summary["preset"]["name"] == "own"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preset": "rise"}, r"^preset: unknown value 'rise'; expected .*choe2020"),
        ({"threshold": 1.0}, r"^threshold: 1.0 found; expected a share of the maximum"),
        ({"tolerance": 0.0}, r"^tolerance: 0.0 found; expected pixels above 0, of which 1 is the pixel itself"),
        ({"tolerance": 1e300}, r"^tolerance: 1e\+300 found; .* and no more than the 224 of a map's side"),
        ({"top_pixels": 0}, r"^top_pixels: 0 found; expected 1 to 50176"),
        ({"regions": "points"}, r"^regions: unknown value 'points'; expected .*boxes"),
        ({"peak": "last"}, r"^peak: unknown value 'last'"),
    ],
)
def test_odd_options(options, said):
    with pytest.raises(XkdError, match=said):
        xkd_eval.evaluate("embedded/kd", tests="localisation", limit=2, **options)


class Plain(EmbeddedDataset):
    """The embedded images without masks, boxes or both."""

    def __init__(self, *without):
        super().__init__(size=2)
        self.without = without
        for name in without:
            setattr(self, f"has_{name}", False)

    def load(self, position):
        names = {"masks": "mask", "boxes": "boxes"}
        return replace(super().load(position), **{names[name]: None for name in self.without})


def unlabelled() -> ImageDataset:
    images = EmbeddedDataset(size=2)
    images.labels, images.label_kind = [None] * 2, "none"
    return images


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (Plain("boxes"), {}, r"^data: embedded-test has no boxes; localisation scores against them: pass `boxes`$"),
        (Plain("masks"), {"regions": "masks"}, r"^data: embedded-test has no masks; localisation expects "),
        (unlabelled(), {}, r"^data: embedded-test has no labels; localisation scores against the true class"),
        (EmbeddedDataset(size=2), {"resize": "crop"}, r"^resize crop: localisation scores the whole photograph"),
    ],
)
def test_data_that_lacks_something(data, options, said):
    with pytest.raises(XkdError, match=said):
        xkd_eval.evaluate("embedded/kd", data, tests="localisation", **options)


def test_masks_need_neither_boxes_nor_labels():
    images = Plain("boxes")
    images.labels, images.label_kind = [None] * 2, "none"
    result = xkd_eval.evaluate("embedded/kd", images, tests="localisation:regions=masks").results[0]
    assert result.summary["n_images"] == 2
    assert result.rows["target"].to_pylist() == result.rows["predicted"].to_pylist()
