import hashlib
import json

import numpy as np
import pytest

from tests.datasets.files import write_image
from tests.datasets.test_labels import Labels
from xkd_eval.datasets import open_dataset
from xkd_eval.datasets.base import ImageDataset, Subset, content_hash
from xkd_eval.datasets.folder import FolderOfImages


def labelled(ids, labels, kind="index"):
    return Labels(labels, kind, ids=ids)


def test_the_digest_is_of_kind_classes_ids_labels_and_sizes_as_json():
    facts = json.dumps(["index", None, ["a", "b"], [3, None], None])
    assert labelled(["a", "b"], [3, None]).digest() == hashlib.sha256(facts.encode()).hexdigest()


def test_nothing_that_differs_has_one_digest(tmp_path):
    sets: list[ImageDataset] = [
        labelled(["a", "b"], [1, 2]),
        Labels([1, 2], "index", ("x", "y", "z"), ids=["a", "b"]),
        labelled(["a\nb"], [1]),
        labelled(["a", "b"], [1, 3]),
        labelled(["a", "b"], ["1", "2"]),
        labelled(["a", "b"], ["1", "2"], "name"),
        labelled(["b", "a"], [1, 2]),
        labelled(["a", "b"], [None, None]),
        labelled(["a", "b"], [None, None], "none"),
    ]
    for size in ((8, 6), (9, 6)):
        write_image(tmp_path / str(size) / "a.bmp", size=size)
        sets.append(open_dataset(str(tmp_path / str(size))))
    assert len({dataset.digest() for dataset in sets}) == len(sets)


def test_a_part_digests_its_own_facts_alone(tmp_path):
    for name, size in (("a", 8), ("b", 9), ("c", 10)):
        write_image(tmp_path / f"{name}.bmp", size=(size, 4))
    whole = open_dataset(str(tmp_path))
    part = Subset(whole, [2, 0])
    assert part.stored_sizes() == [(tmp_path / name).stat().st_size for name in ("c.bmp", "a.bmp")]
    assert part.content_hash(0) == whole.content_hash(2)
    before = part.digest()
    write_image(tmp_path / "b.bmp", size=(20, 20))
    assert part.digest() == before
    write_image(tmp_path / "a.bmp", size=(20, 20))
    assert part.digest() != before


def test_another_size_of_an_image_is_another_set(tmp_path):
    image = write_image(tmp_path / "a.png")
    before = open_dataset(str(tmp_path)).digest()
    image.write_bytes(image.read_bytes() + b"\0")
    assert open_dataset(str(tmp_path)).digest() != before


def test_the_digest_of_many_files_opens_none(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png")
    dataset = FolderOfImages(tmp_path, ["a.png"] * 50_000, "many")
    monkeypatch.setattr(FolderOfImages, "_content", lambda *_: pytest.fail("a file is read"))
    assert dataset.digest() != FolderOfImages(tmp_path, ["a.png"] * 49_999, "many").digest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)),
        (np.zeros(2, np.uint8), np.zeros(2, np.int8)),
        (np.zeros(2, np.uint8), b"\0\0"),
    ],
)
def test_arrays_count_with_their_type_and_shape(one, other):
    assert content_hash(one) != content_hash(other)


def test_the_hash_of_bytes_is_that_of_sha256():
    assert content_hash(b"abc") == content_hash(b"ab", b"c") == hashlib.sha256(b"abc").hexdigest()[:32]
