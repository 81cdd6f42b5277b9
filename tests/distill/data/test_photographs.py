"""Training on photographs through workers: an ImageNet tree, crops that depend on seed, epoch and image alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from distill.data.batches import ProcessRank
from distill.data.draws import OwnDraws
from distill.data.loaders import training_images
from distill.data.splits import open_splits
from distill.data.views import Views
from distill.recipe.parse import parse_recipe
from distill.training.train import train
from tests.distill.conftest import values_of
from xkd_eval import load_classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError

WORDNET_IDS = ("n01443537", "n02123045", "n07753592")
EACH = 8


@pytest.fixture
def imagenet(tmp_path):
    generator = np.random.default_rng(0)
    for split, count in (("train", EACH), ("val", 2)):
        for wordnet_id in WORDNET_IDS:
            folder = tmp_path / "imagenet" / split / wordnet_id
            folder.mkdir(parents=True)
            for number in range(count):
                height, width = generator.integers(40, 80, 2)
                pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{wordnet_id}_{number}.JPEG")
    return tmp_path / "imagenet"


def recipe_for(imagenet, workers=0, **changes):
    data = {"loader": "workers", "path": str(imagenet), "workers": workers, "flip": True}
    student = {"architecture": "resnet8", "preprocess": {"size": [32, 32], "resize": "crop"}}
    return parse_recipe(values_of(imagenet, data=data, student=student, batch_size=8, epochs=1, **changes))


def first_epoch(recipe, share=None, first_step=0, teachers=()):
    splits = open_splits(recipe)
    views = Views.of(Preprocess(size=(32, 32), resize="crop"), teachers)
    images = training_images(recipe, splits.train, views, torch.device("cpu"), share or ProcessRank())
    return list(images.batches(0, first_step))


def test_crops_do_not_depend_on_workers_where_a_run_starts_or_how_it_is_shared(imagenet):
    recipe = recipe_for(imagenet)
    batches = first_epoch(recipe)
    assert [len(batch.labels) for batch in batches] == [8, 8, 8]
    assert batches[0].pixels.shape == (8, 3, 32, 32)
    assert sorted(torch.cat([batch.indices for batch in batches]).tolist()) == list(range(3 * EACH))
    for other in (first_epoch(recipe_for(imagenet, workers=1)), [None, *first_epoch(recipe, first_step=1)]):
        for ours, theirs in zip(batches, other, strict=True):
            if theirs is not None:
                assert all(torch.equal(a, b) for a, b in zip(ours[:3], theirs[:3], strict=True))
    halves = [first_epoch(recipe, ProcessRank(rank, 2)) for rank in range(2)]
    for ours, first, second in zip(batches, *halves, strict=True):
        assert torch.equal(ours.pixels, torch.cat([first.pixels, second.pixels]))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_that_are_started_where_draws_are_ones_own_draw_the_same_crops(imagenet, workers):
    """As a training asks for its first batch."""
    expected = first_epoch(recipe_for(imagenet))
    with OwnDraws(5):
        found = first_epoch(recipe_for(imagenet, workers=workers))
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours[:3], theirs[:3], strict=True))


def test_a_run_on_an_imagenet_tree(imagenet, tmp_path):
    result = train(recipe_for(imagenet, workers=1), tmp_path / "run", device="cpu").result
    assert 0 <= result["last"]["test_top1"] <= 1
    classifier = load_classifier(tmp_path / "run" / "student.pt")
    assert classifier.wordnet_ids == WORDNET_IDS
    assert classifier.preprocess.resize == "crop"


def test_an_unreadable_photograph_is_named(imagenet, tmp_path):
    (imagenet / "train" / WORDNET_IDS[1] / f"{WORDNET_IDS[1]}_3.JPEG").write_bytes(b"not a photograph")
    with pytest.raises(XkdError, match=rf"an image cannot be read; mend or remove it: .*{WORDNET_IDS[1]}_3"):
        train(recipe_for(imagenet), tmp_path / "run", device="cpu")


def test_a_sample_keeps_the_classes_of_the_whole(imagenet):
    recipe = recipe_for(imagenet)
    sampled = recipe.model_copy(update={"data": recipe.data.model_copy(update={"images": 2}), "batch_size": 2})
    splits = open_splits(sampled)
    assert len(splits.train.labels) == 2
    assert splits.classes == open_splits(recipe).classes
    assert splits.test.labels == open_splits(recipe).test.labels


def test_one_part_is_refused_whether_or_not_it_is_sampled(imagenet):
    one = recipe_for(imagenet / "train")
    for data in (one.data, one.data.model_copy(update={"images": 16})):
        with pytest.raises(XkdError, match="holds one part only"):
            open_splits(one.model_copy(update={"data": data}))
