"""Augmentation as a recipe says it: what is read, and what is refused by its name."""

import pytest

from distill.recipe.augmentation import RandAugmentWords, parse_randaugment
from distill.recipe.parse import parse_recipe
from tests.distill.conftest import values_of
from xkd_eval.errors import XkdError


def recipe_with(tmp_path, loader="device", **keys):
    return parse_recipe(values_of(tmp_path, data={"loader": loader, "path": "x", **keys}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rand", RandAugmentWords(10, 2, 0.5, 0)),
        ("rand-m9-mstd0.5", RandAugmentWords(9, 2, 0.5, 0.5)),
        ("rand-mstd0.5-n3-m7-p1-inc1", RandAugmentWords(7, 3, 1, 0.5)),
    ],
)
def test_the_words_of_randaugment(text, words):
    assert parse_randaugment(text) == words


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"randaugment": "rand-q3"}, r"data\.randaugment: 'q3' in 'rand-q3': expected m \(magnitude, 0 to 10\), n "),
        ({"randaugment": "augmix-m3"}, r"data\.randaugment: 'augmix-m3' found; expected rand, then words"),
        ({"randaugment": "rand-m9-m8"}, r"data\.randaugment: m stands twice in 'rand-m9-m8'"),
        ({"randaugment": "rand-m11"}, r"data\.randaugment: 'm11': expected at most 10"),
        ({"randaugment": "rand-n0"}, r"data\.randaugment: 'n0': expected a whole number of operations from 1 to 10"),
        ({"randaugment": "rand-p0"}, r"data\.randaugment: 'p0': expected a share above 0, at most 1"),
        ({"randaugment": "rand-inc0"}, r"data\.randaugment: 'inc0': every operation grows with the magnitude here"),
        ({"randaugment": "rand", "colour_jitter": 0.4}, "colour_jitter: found beside randaugment"),
        ({"colour_jitter": [0.4, 0.4]}, r"data\.colour_jitter: \[0\.4, 0\.4\] found; expected a number, or \["),
        ({"colour_jitter": [0, 0, 0, 0.6]}, r"data\.colour_jitter\.3: 0\.6 found"),
        ({"colour_jitter": 0}, "colour_jitter: 0 found, which changes nothing; leave it out"),
        ({"mixup": 0}, r"data\.mixup: 0 found"),
        ({"cutmx": 1.0}, "data: nothing reads the key 'cutmx'; nearest: cutmix"),
        ({"erasing": 1.5}, r"data\.erasing: 1\.5 found"),
    ],
)
@pytest.mark.parametrize("loader", ["device", "workers"])
def test_what_cannot_hold_is_refused_by_its_name(tmp_path, loader, keys, message):
    with pytest.raises(XkdError, match=message) as error:
        recipe_with(tmp_path, loader, **keys)
    assert "\n" not in str(error.value)


def test_one_strength_stands_for_three_and_is_recorded_as_four(tmp_path):
    recipe = recipe_with(tmp_path, colour_jitter=0.4)
    assert recipe.data.colour_jitter == (0.4, 0.4, 0.4, 0.0)
    assert parse_recipe(recipe.model_dump(mode="json")) == recipe
