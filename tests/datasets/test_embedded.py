"""The embedded data set: what DESIGN promises of it, proved on the images themselves."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
from PIL import Image

from xkd_eval.datasets.embedded import CLASSES, SIDE, EmbeddedDataset, Scene
from xkd_eval.datasets.embedded_sources import SPLITS, TEXTURE_FILES, load_digits_by_class, load_textures
from xkd_eval.errors import XkdError


@pytest.fixture(scope="module")
def dataset() -> EmbeddedDataset:
    return EmbeddedDataset("test", 500)


@pytest.fixture(scope="module")
def arrays(dataset: EmbeddedDataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return dataset.arrays()


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Of another set with the same arguments, one by one."""
    dataset = EmbeddedDataset("test", 500)
    return [dataset.scene(position) for position in range(len(dataset))]


def test_it_is_an_image_dataset_with_labels_and_masks():
    dataset = EmbeddedDataset("test", 43)
    sample = dataset.load(42)
    assert (dataset.name, len(dataset), dataset.ids[42]) == ("embedded-test", 43, "test-00042")
    assert (dataset.label_kind, dataset.classes, dataset.has_masks) == ("index", CLASSES, True)
    assert (sample.image.mode, sample.image.size) == ("RGB", (SIDE, SIDE))
    assert (sample.mask.shape, sample.mask.dtype, set(np.unique(sample.mask))) == ((SIDE, SIDE), np.int8, {0, 1})


def test_the_same_arguments_make_the_same_images(arrays, scenes):
    images, masks, labels = arrays
    assert np.array_equal(images, np.stack([scene.image() for scene in scenes]))
    assert np.array_equal(masks, np.stack([scene.mask() for scene in scenes]))
    assert np.array_equal(labels, EmbeddedDataset("test", 500).labels)


def test_an_image_depends_neither_on_the_size_nor_on_what_was_loaded_before(arrays):
    sample = EmbeddedDataset("test", 8).load(7)
    assert np.array_equal(np.asarray(sample.image), arrays[0][7])
    assert np.array_equal(sample.mask, arrays[1][7])


def test_seed_and_split_change_the_images_and_the_digest():
    sets = [EmbeddedDataset(split, 4, seed) for split in SPLITS for seed in (0, 1)]
    assert len({dataset.arrays()[0].tobytes() for dataset in sets}) == len(sets)
    assert len({dataset.digest() for dataset in sets}) == len(sets)


def test_it_survives_pickling(arrays):
    copy = pickle.loads(pickle.dumps(EmbeddedDataset("test", 3)))
    assert np.array_equal(np.asarray(copy.load(2).image), arrays[0][2])


def test_labels_are_balanced_and_so_is_every_tenth(dataset):
    assert np.array_equal(np.bincount(dataset.labels), [50] * 10)
    assert np.array_equal(np.bincount(dataset.labels[::10]), [5] * 10)
    assert np.array_equal(np.bincount(EmbeddedDataset("test", 10).labels), [1] * 10)


def test_the_mask_is_exactly_what_the_digit_changes(arrays, scenes):
    for image, mask, scene in zip(*arrays[:2], scenes, strict=True):
        assert np.array_equal((image != scene.background).any(-1), mask)


def test_every_digit_is_visible_and_whole(arrays):
    masks = arrays[1]
    pixels = masks.sum((1, 2))
    assert pixels.min() >= 40
    assert pixels.max() <= 0.25 * SIDE**2
    border = np.concatenate([masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]], axis=1)
    assert border.mean() < 0.01  # placed inside: a stroke reaches the last row only where rotation carries it there


def test_splits_share_no_digit():
    digits = {split: {digit.tobytes() for group in load_digits_by_class(split) for digit in group} for split in SPLITS}
    assert sum(map(len, digits.values())) == 1797
    assert len(set.union(*digits.values())) == 1797


def test_the_digits_are_those_of_scikit_learn_under_their_classes():
    from sklearn.datasets import load_digits

    images, targets = load_digits().images, load_digits().target
    expected = {(image.astype(np.uint8).tobytes(), int(target)) for image, target in zip(images, targets, strict=True)}
    ours = {
        (digit[2:-2, 2:-2].tobytes(), label)
        for split in SPLITS
        for label, group in enumerate(load_digits_by_class(split))
        for digit in group
    }
    assert ours == expected


def test_splits_share_no_texture_image():
    names = [name for split in SPLITS for name in TEXTURE_FILES[split]]
    assert len(set(names)) == len(names)
    pixels = [hashlib.sha256(texture.tobytes()).hexdigest() for split in SPLITS for texture in load_textures(split)]
    assert len(set(pixels)) == len(names)


def test_the_test_split_is_of_lossless_textures_so_that_no_jpeg_decoder_moves_it():
    assert all(name.endswith(".png") for name in TEXTURE_FILES["test"])


def test_the_images_are_pinned():
    # A change of generator, textures or digits changes every published figure on this set: it must be seen.
    images, masks, _ = EmbeddedDataset("test", 20).arrays()
    assert images.mean() == pytest.approx(78.766, abs=0.01)
    assert int(masks.sum()) == pytest.approx(3404, abs=5)


def test_colour_does_not_tell_the_class(arrays):
    images, masks, labels = arrays
    for pixels in (masks, 1 - masks):
        share = pixels.sum((1, 2))[:, None]
        colours = (images * pixels[..., None]).sum((1, 2)) / share
        assert nearest_mean_accuracy(colours, labels) < 0.17  # chance 0.10, standard error 0.019 on 250 images


def nearest_mean_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Fit the class means on the first half, classify the second."""
    half = len(labels) // 2
    means = np.stack([features[:half][labels[:half] == label].mean(0) for label in range(10)])
    distances = ((features[half:, None] - means) ** 2).sum(-1)
    return float((distances.argmin(1) == labels[half:]).mean())


def test_the_nearest_mean_test_finds_colour_where_it_tells_the_class():
    labels = np.arange(500) % 10
    assert nearest_mean_accuracy(np.stack([labels, -labels], axis=1) * 10.0, labels) == 1


def test_marks_do_not_tell_the_class(dataset, scenes):
    # Marks are what a scene holds beside the digit: their amount, here as the background's roughness, is class-free.
    backgrounds = np.stack([scene.background for scene in scenes])
    roughness = np.abs(np.diff(backgrounds, axis=1)).mean((1, 2, 3))[:, None]
    assert nearest_mean_accuracy(roughness, np.array(dataset.labels)) < 0.17


def test_the_centre_is_a_poor_guess_of_where_the_digit_is(arrays):
    masks = arrays[1]
    where = masks.mean(0)
    middle = where[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4]
    assert where[SIDE // 2, SIDE // 2] < 0.15
    assert middle.mean() < 2 * masks.mean()  # the middle quarter of the image holds less than twice its fair share
    assert where.max() < 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "testing"}, "'testing' is not a split of the embedded data set; expected train, val, test"),
        ({"size": 0}, "0 images asked of the embedded data set; expected 1 or more"),
        ({"seed": -1}, "seed: -1 is negative"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(XkdError, match=message):
        EmbeddedDataset(**arguments)


def test_a_position_beyond_the_end_is_an_index_error():
    with pytest.raises(IndexError):
        EmbeddedDataset("test", 3).load(3)


def test_textures_are_photographs_large_enough_for_every_crop():
    for split in SPLITS:
        for texture in load_textures(split):
            assert isinstance(texture, Image.Image)
            assert min(texture.size) >= 257
