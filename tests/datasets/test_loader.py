import hashlib
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from tests.datasets.files import noise, write_image, write_mat
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets import open_dataset
from xkd_eval.datasets.base import ImageDataset, Sample
from xkd_eval.datasets.loader import Item, Skipped, starting_workers, stream
from xkd_eval.errors import UnreadableImageError, XkdError

SMALL = Preprocess(size=(5, 7))


@pytest.fixture
def photos(tmp_path):
    """Forty images of distinct colours, the fifth empty and the last no image."""
    for k in range(40):
        write_image(tmp_path / f"{k:02d}.png", colour=(k, 2 * k, 3 * k), size=(10, 4))
    (tmp_path / "04.png").write_bytes(b"")
    (tmp_path / "39.png").write_text("words")
    return open_dataset(str(tmp_path))


@pytest.mark.parametrize("workers", [0, 2])
def test_order_and_contents(photos, workers):
    positions = [7, 3, *range(10, 38), 0, 7]
    items = list(stream(photos, positions, SMALL, workers=workers))
    assert [item.position for item in items] == positions
    for item in items:
        k = item.position
        assert item.id == f"{k:02d}.png"
        assert item.pixels.shape == (3, 5, 7)
        assert item.pixels.dtype == torch.uint8
        assert item.pixels[:, 0, 0].tolist() == [k, 2 * k, 3 * k]
        assert item.size == (4, 10)
        assert item.mask is None
        assert item.content_hash == hashlib.sha256((photos.root / item.id).read_bytes()).hexdigest()[:32]


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_images_are_yielded_in_their_place(photos, workers):
    entries = list(stream(photos, range(40), SMALL, workers=workers))
    skipped = [entry for entry in entries if isinstance(entry, Skipped)]
    assert [entry.position for entry in entries] == list(range(40))
    assert skipped == [
        Skipped(4, "04.png", "empty file (0 bytes)", hashlib.sha256(b"").hexdigest()[:32]),
        Skipped(39, "39.png", "not an image", hashlib.sha256(b"words").hexdigest()[:32]),
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_strict_raises_one_line(photos, workers):
    with pytest.raises(UnreadableImageError, match=r"^strict: 04\.png: empty file \(0 bytes\)$"):
        list(stream(photos, range(40), SMALL, workers=workers, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_masks_are_resized_by_pils_nearest(tmp_path, workers):
    masks = [np.random.default_rng(k).choice([0, 1, 255], (9, 13)).astype(np.uint8) for k in range(20)]
    path = write_mat(tmp_path / "x.mat", [noise(9, 13, seed=k) for k in range(20)], masks)
    dataset = open_dataset(str(path))
    dataset.load(0)  # so that this process holds the file open when the workers are forked
    for item in stream(dataset, range(20), SMALL, mask_size=(4, 6), workers=workers):
        expected = np.asarray(Image.fromarray(masks[item.position]).resize((6, 4), Image.Resampling.NEAREST))
        assert item.mask.dtype == torch.int8
        assert item.mask.tolist() == expected.view(np.int8).tolist()
        assert set(item.mask.unique().tolist()) <= {-1, 0, 1}


def test_masks_stay_out_when_no_size_is_asked_for(tmp_path):
    path = write_mat(tmp_path / "x.mat", [noise(9, 13)], [np.ones((9, 13), np.uint8)])
    (item,) = stream(open_dataset(str(path)), [0], SMALL)
    assert isinstance(item, Item)
    assert item.mask is None


def test_workers_end_with_the_stream(photos):
    entries = stream(photos, range(40), SMALL, workers=2)
    next(entries)
    assert len(multiprocessing.active_children()) == 2
    entries.close()
    assert multiprocessing.active_children() == []


def test_no_positions(photos):
    assert list(stream(photos, [], SMALL)) == list(stream(photos, [], SMALL, workers=1)) == []


class _Killer(ImageDataset):
    """Kills the process that loads from it."""

    name = "killer"

    def __init__(self):
        self.ids, self.labels = ["a"], [None]

    def load(self, position):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_a_one_line_error():
    with pytest.raises(XkdError, match=r"workers 1: a worker died .*; try fewer, or 0") as caught:
        list(stream(_Killer(), [0], SMALL, workers=1))
    assert "\n" not in str(caught.value)


def test_every_kind_of_set_passes_through_workers(shared):
    for folder in ("imagenet_like", "imagenet_val", "cifar100", "imagenet_segmentation"):
        dataset = open_dataset(str(shared / "data" / folder))
        positions = range(0, len(dataset), max(len(dataset) // 20, 1))
        here = list(stream(dataset, positions, SMALL, mask_size=(8, 8)))
        there = list(stream(dataset, positions, SMALL, mask_size=(8, 8), workers=2))
        assert len(here) == len(there) >= 11
        for one, other in zip(here, there, strict=True):
            assert torch.equal(one.pixels, other.pixels)
            assert (one.mask is None) == (not dataset.has_masks)
            assert one.mask is None or torch.equal(one.mask, other.mask)


class Odd(ImageDataset):
    """One image, of which loading gives or raises what it is told to."""

    name = "odd"

    def __init__(self, outcome, has_masks=False):
        self.ids, self.labels = ["a"], [None]
        self.outcome, self.has_masks = outcome, has_masks

    def load(self, position):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


RGB, INT8 = Image.new("RGB", (6, 4)), np.zeros((4, 6), np.int8)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Odd(KeyError("x")), r"loading fails \(KeyError 'x'\); expected a Sample, or UnreadableImageError"),
        (Odd(XkdError("data: gone")), "^data: gone$"),
        (Odd(None), "a NoneType found; expected a Sample of an RGB image"),
        (Odd(Sample(RGB.convert("L"))), "a L image found; expected a Sample of an RGB image"),
        (Odd(Sample(RGB, content_hash=7)), "the content hash 7 found; expected ASCII text, or None"),
        (Odd(Sample(RGB), has_masks=True), "no mask found; expected one"),
        (Odd(Sample(RGB, INT8.astype(np.int64))), r"int64 of shape \(4, 6\) found; expected int8 of shape \(4, 6\)"),
        (Odd(Sample(RGB, INT8.T)), r"int8 of shape \(6, 4\) found; expected int8 of shape \(4, 6\)"),
    ],
)
def test_a_data_set_that_fails_is_one_line_in_every_process(dataset, message, workers):
    with pytest.raises(XkdError, match=message) as caught:
        list(stream(dataset, [0], SMALL, mask_size=(2, 2), workers=workers))
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, UnreadableImageError)
    assert str(caught.value).startswith("data: ")


def test_a_set_without_hashes_is_hashed_by_its_pixels_and_mask():
    def of(*sample):
        (item,) = stream(Odd(Sample(*sample)), [0], SMALL)
        return item.content_hash

    white = Image.new("RGB", (6, 4), "white")
    assert len({of(RGB), of(white), of(RGB.resize((4, 6))), of(RGB, INT8), of(RGB, INT8 + np.int8(1))}) == 5
    assert of(RGB) == of(RGB.copy()) == Odd(Sample(RGB)).content_hash(0)


def test_a_strip_is_not_scaled_to_gigabytes(tmp_path):
    Image.new("RGB", (1, 40_000)).save(tmp_path / "a.png")
    (entry,) = stream(open_dataset(str(tmp_path)), [0], Preprocess(resize="crop"))
    assert isinstance(entry, Skipped)
    assert entry.reason.startswith("1x40000 pixels would be scaled to 256x10240000")


def test_a_signal_waits_until_all_workers_are_there():
    came = []
    former = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with starting_workers():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not came
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, former)


def test_no_more_workers_than_work_and_no_warning(photos, recwarn):
    assert len(list(stream(photos, range(20), SMALL, workers=1000))) == 20
    assert not recwarn.list


@pytest.mark.parametrize(
    ("ahead", "workers", "expected"), [(0, 2, 2), (32, 2, 2), (256, 2, 8), (250, 3, 6), (256, 16, 2)]
)
def test_workers_have_so_many_images_ready(photos, monkeypatch, ahead, workers, expected):
    given = {}

    def loader(decoded, **options):
        given.update(options)
        return iter([])

    monkeypatch.setattr("xkd_eval.datasets.loader.DataLoader", loader)
    assert list(stream(photos, [0] * 256, SMALL, workers=workers, ahead=ahead)) == []
    assert (given["num_workers"], given["prefetch_factor"]) == (workers, expected)
