import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest

from tests.datasets.files import write_image
from tests.datasets.stand_ins import stand_in
from xkd_eval.datasets import open_dataset, resolve_labels
from xkd_eval.datasets.base import content_hash
from xkd_eval.errors import XkdError

NAMES_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def planar(images):
    """(N, 32, 32, 3) -> (N, 3072), red first."""
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def random_images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


class _Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2's str, as the published archives hold it."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, value):
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

    dispatch[bytes] = save_string


def python2(fields):
    buffer = io.BytesIO()
    _Python2Pickler(buffer, protocol=2).dump({key.encode(): value for key, value in fields.items()})
    return buffer.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def write_pickle(path, **fields):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(python2(fields))


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("encode", [str.encode, str])
def test_archives_packed_again_by_python_3(cifar10, protocol, encode):
    fields = {encode("data"): planar(random_images(3, 0)), encode("labels"): [3, 8, 1]}
    (cifar10 / "test_batch").write_bytes(pickle.dumps(fields, protocol))
    check_cifar10_test(open_dataset(str(cifar10)))


@pytest.fixture
def cifar10(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write_pickle(folder / "batches.meta", label_names=[name.encode() for name in NAMES_10], num_vis=3072)
    for number in range(1, 6):
        write_pickle(folder / f"data_batch_{number}", data=planar(random_images(2, number)), labels=[number, 0])
    write_pickle(folder / "test_batch", data=planar(random_images(3, 0)), labels=[3, 8, 1])
    return folder


@pytest.fixture
def cifar100(tmp_path):
    folder = tmp_path / "cifar-100-python"
    names = [f"class {index}".encode() for index in range(100)]
    write_pickle(folder / "meta", fine_label_names=names, coarse_label_names=names[:20])
    for split, labels in (("train", [99, 5]), ("test", [7, 98])):
        images = planar(random_images(2, len(split)))
        write_pickle(folder / split, data=images, fine_labels=labels, coarse_labels=[1, 2])
    return folder


def packed(folder):
    archive = folder.parent / ("cifar-10-python.tar.gz" if "10-" in folder.name else "cifar-100-python.tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


def check_cifar10_test(dataset):
    assert (dataset.name, dataset.labels, dataset.classes) == ("cifar10-test", [3, 8, 1], NAMES_10)
    for position, image in enumerate(random_images(3, 0)):
        np.testing.assert_array_equal(np.asarray(dataset.load(position).image), image)


def test_cifar10_folder_its_parent_and_its_archive(cifar10):
    check_cifar10_test(open_dataset(str(cifar10)))
    check_cifar10_test(open_dataset(str(cifar10.parent)))
    archive = packed(cifar10)
    check_cifar10_test(open_dataset(str(archive)))
    alone = archive.parent / "alone" / archive.name
    alone.parent.mkdir()
    archive.rename(alone)
    check_cifar10_test(open_dataset(str(alone.parent)))


def test_cifar10_train_is_all_five_batches_in_order(cifar10):
    dataset = open_dataset(str(cifar10), split="train")
    assert dataset.labels == [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]
    np.testing.assert_array_equal(np.asarray(dataset.load(9).image), random_images(2, 5)[1])
    assert len(set(dataset.ids)) == 10


@pytest.mark.parametrize("form", [lambda folder: folder, packed])
def test_cifar100_has_fine_labels(cifar100, form):
    dataset = open_dataset(str(form(cifar100)))
    assert (dataset.name, dataset.labels, len(dataset.classes)) == ("cifar100-test", [7, 98], 100)
    assert open_dataset(str(form(cifar100)), split="train").labels == [99, 5]
    with pytest.raises(XkdError, match="cifar100-test has 100 classes, and stand-in 10"):
        resolve_labels(dataset, stand_in(10))


class _Runs:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


def test_a_pickle_that_runs_code_does_not(cifar10, tmp_path):
    target = tmp_path / "made"
    write_pickle(cifar10 / "test_batch", data=_Runs(target), labels=[])
    with pytest.raises(XkdError, match=r"'test_batch' of .* is damaged or no CIFAR file .*mkdir is not allowed"):
        open_dataset(str(cifar10))
    assert not target.exists()


def test_incomplete_and_damaged_archives(cifar10):
    archive = packed(cifar10)
    content = archive.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) * 9 // 10):
        archive.write_bytes(content[:length])
        with pytest.raises(XkdError, match=r"data: .*cifar-10-python\.tar\.gz' (cannot be read|has no)"):
            open_dataset(str(archive))
    whole = (cifar10 / "test_batch").read_bytes()
    (cifar10 / "test_batch").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(XkdError, match=r"'test_batch' of .* is damaged"):
        open_dataset(str(cifar10))
    write_pickle(cifar10 / "test_batch", data=np.zeros((2, 5), np.uint8), labels=[1, 2])
    with pytest.raises(XkdError, match=r"holds no \(N, 3072\) uint8 images"):
        open_dataset(str(cifar10))
    write_pickle(cifar10 / "test_batch", data=planar(random_images(2, 0)), labels=[1])
    with pytest.raises(XkdError, match=r"damaged or no CIFAR file \(2 images and 1 labels\)"):
        open_dataset(str(cifar10))
    (cifar10 / "test_batch").unlink()
    with pytest.raises(XkdError, match="has no 'test_batch'"):
        open_dataset(str(cifar10))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"labels": [1, 10]}, "the label 10 of 10 classes"),
        ({"labels": [1, -1]}, "the label -1 of 10 classes"),
        ({"labels": 3}, "not iterable"),
        ({"labels": ["a", "b"]}, "cannot be interpreted as an integer"),
        ({"labels": [1, 2.5]}, "cannot be interpreted as an integer"),
        ({}, "KeyError 'labels'"),
    ],
)
def test_labels_that_are_none(cifar10, fields, reason):
    write_pickle(cifar10 / "test_batch", data=planar(random_images(2, 0)), **fields)
    with pytest.raises(XkdError, match=rf"'test_batch' of .* is damaged or no CIFAR file \(.*{reason}") as caught:
        open_dataset(str(cifar10))
    assert "\n" not in str(caught.value)


def test_an_array_that_claims_too_much_and_names_that_are_none(cifar10):
    bomb = b"\x80\x02}U\x04dataq\x00cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n(\x8a\x07" + b"\xff" * 6
    (cifar10 / "test_batch").write_bytes(bomb + b"\x00tC\x01b\x87Rs.")
    with pytest.raises(XkdError, match=r"'test_batch' of .* is damaged or no CIFAR file"):
        open_dataset(str(cifar10))
    write_pickle(cifar10 / "batches.meta", label_names=[b"\xff"])
    with pytest.raises(XkdError, match=r"'batches\.meta' of .* is damaged or no CIFAR file \('utf-8'"):
        open_dataset(str(cifar10))


def test_the_checksum_of_the_archive_is_read(cifar10):
    archive = packed(cifar10)
    content = bytearray(archive.read_bytes())
    content[-6] ^= 1
    archive.write_bytes(content)
    with pytest.raises(XkdError, match=r"cifar-10-python\.tar\.gz' cannot be read \(CRC check failed"):
        open_dataset(str(archive))


def test_a_file_that_is_there_twice(cifar10):
    archive = cifar10.parent / "cifar-10-python.tar"
    with tarfile.open(archive, "w") as tar:
        for _ in range(2):
            tar.add(cifar10, cifar10.name)
    with pytest.raises(XkdError, match="is there twice"):
        open_dataset(str(archive))


def test_the_hash_is_of_the_pixels(cifar10):
    dataset = open_dataset(str(cifar10))
    assert dataset.content_hash(1) == dataset.load(1).content_hash == content_hash(random_images(3, 0)[1])
    assert dataset.content_hash(0) != dataset.content_hash(1)
    assert dataset.stored_sizes() == [3072] * 3


def test_class_folders_with_a_class_called_train(tmp_path):
    """CIFAR-100 has one; it is no split."""
    for split in ("train", "test"):
        for name in ("apple", "train", "streetcar"):
            write_image(tmp_path / split / name / f"{split}.png")
    for root in (tmp_path, tmp_path / "test"):
        dataset = open_dataset(str(root))
        assert dataset.labels == ["apple", "streetcar", "train"]
        assert dataset.ids[0] == "apple/test.png"
        assert resolve_labels(dataset, stand_in(3, class_names=("train", "streetcar", "apple"))) == [2, 1, 0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x05\x96" + b"\xff" * 7 + b"\x0f.", "bytearray8, but only 1 remain"),
        (pickle.dumps(np.dtype("O")), "numbers of 'O8' are not allowed"),
        (pickle.dumps(np.dtype([("a", "u1")])), "numbers of 'V1' are not allowed"),
    ],
)
def test_a_pickle_of_sizes_or_types_that_no_archive_has(cifar10, content, reason):
    (cifar10 / "test_batch").write_bytes(content)
    with pytest.raises(XkdError, match=rf"'test_batch' of .* is damaged or no CIFAR file \(.*{reason}"):
        open_dataset(str(cifar10))
