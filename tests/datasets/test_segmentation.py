import hashlib
import pickle

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tests.datasets.files import noise, write_image, write_mat
from xkd_eval.datasets import open_dataset
from xkd_eval.errors import UnreadableImageError, XkdError


@pytest.fixture
def mat(tmp_path):
    images = [noise(6, 9, seed=0), noise(5, 4, seed=1)]
    masks = [np.zeros((6, 9), np.uint8), np.zeros((5, 4), np.uint8)]
    masks[0][1:3, 2:8] = 1
    masks[1][4, 3] = 1
    masks[1][0, 0] = 255
    return write_mat(tmp_path / "gtsegs_ijcv.mat", images, masks), images, masks


def test_images_and_masks_are_turned_to_rows_and_columns(mat):
    path, images, masks = mat
    dataset = open_dataset(str(path))
    assert (dataset.name, dataset.ids, dataset.has_masks) == ("imagenet-segmentation", ["0000", "0001"], True)
    for position in (1, 0):
        sample = dataset.load(position)
        np.testing.assert_array_equal(np.asarray(sample.image), images[position])
        np.testing.assert_array_equal(sample.mask, masks[position].view(np.int8))
        assert sample.mask.dtype == np.int8
    assert dataset.load(1).mask[0, 0] == -1


def test_the_folder_of_the_file_will_do(mat):
    assert len(open_dataset(str(mat[0].parent))) == 2


def test_the_data_set_pickles_after_use(mat):
    path, images, _ = mat
    dataset = open_dataset(str(path))
    dataset.load(0)
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(dataset)).load(1).image), images[1])


def test_real_file_against_a_direct_reading(shared):
    path = shared / "data" / "imagenet_segmentation" / "gtsegs_format.mat"
    dataset = open_dataset(str(path))
    assert len(dataset) == 88
    with h5py.File(path) as file:
        for position in range(88):
            sample = dataset.load(position)
            pixels = file[file["value/img"][position, 0]][()].transpose(2, 1, 0)
            mask = file[file[file["value/gt"][position, 0]][0, 0]][()].transpose(1, 0)
            assert (np.asarray(sample.image) == pixels).all()
            assert (sample.mask == mask).all()


def test_truncated_anywhere(mat, tmp_path):
    content = mat[0].read_bytes()
    for share in (0.0, 0.05, 0.3, 0.5, 0.9, 0.999):
        broken = tmp_path / "broken.mat"
        broken.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(XkdError, match=r"data: .*broken\.mat' is truncated, damaged, or no HDF5") as caught:
            open_dataset(str(broken))
        assert "\n" not in str(caught.value)


def test_other_mat_files(tmp_path):
    savemat(tmp_path / "old.mat", {"value": np.zeros(3)})
    with pytest.raises(XkdError, match=r"old\.mat' is truncated, damaged, or no HDF5.*expected gtsegs_ijcv\.mat"):
        open_dataset(str(tmp_path / "old.mat"))
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file["something"] = np.zeros(3)
    with pytest.raises(XkdError, match=r"holds \['something'\]; expected gtsegs_ijcv\.mat"):
        open_dataset(str(tmp_path / "other.mat"))
    with h5py.File(tmp_path / "uneven.mat", "w") as file:
        file.create_dataset("value/img", (3, 1), dtype=h5py.ref_dtype)
        file.create_dataset("value/gt", (2, 1), dtype=h5py.ref_dtype)
    with pytest.raises(XkdError, match=r"/value/img \(3, 1\) and /value/gt \(2, 1\)"):
        open_dataset(str(tmp_path / "uneven.mat"))


def test_a_broken_reference_costs_its_image_alone(mat):
    path, images, _ = mat
    with h5py.File(path, "a") as file:
        file["value/img"][0, 0] = h5py.Reference()
    dataset = open_dataset(str(path))
    with pytest.raises(UnreadableImageError, match="0000: damaged in"):
        dataset.load(0)
    np.testing.assert_array_equal(np.asarray(dataset.load(1).image), images[1])


def test_mask_of_another_size(tmp_path):
    path = write_mat(tmp_path / "x.mat", [noise(6, 9)], [np.zeros((6, 8), np.uint8)])
    with pytest.raises(UnreadableImageError, match="0000: the mask is 8x6, the image 9x6"):
        open_dataset(str(path)).load(0)


@pytest.mark.parametrize(
    ("image", "mask", "reason"),
    [
        (noise(6, 9).astype(float), np.zeros((6, 9), np.uint8), r"0000: damaged .* float64 \(3, 9, 6\), not uint8"),
        (noise(6, 9)[:, :, :2], np.zeros((6, 9), np.uint8), r"0000: damaged .* uint8 \(2, 9, 6\), not uint8 \(3"),
        (noise(6, 9), np.full((6, 9), np.nan), "0000: a mask with NaN"),
        (noise(6, 9), np.zeros((0, 0), np.uint8), r"0000: a mask of uint8 of shape \(0, 0\)"),
        (noise(6, 9), np.zeros(2, np.uint64), r"0000: a mask of uint64 of shape \(2,\)"),
        (noise(6, 9), np.full((6, 9), b"x"), "0000: damaged .*a mask of .S1, not of numbers"),
    ],
)
def test_other_images_and_masks_cost_themselves_alone(tmp_path, image, mask, reason):
    path = write_mat(tmp_path / "x.mat", [image, noise(2, 3)], [mask, np.ones((2, 3), np.uint8)])
    dataset = open_dataset(str(path))
    with pytest.raises(UnreadableImageError, match=reason):
        dataset.load(0)
    assert dataset.load(1).mask.tolist() == [[1, 1, 1]] * 2


def test_the_hash_is_of_both_arrays_and_so_is_the_size(tmp_path):
    ones = np.ones((6, 9), np.uint8)
    hashes = set()
    for k, (image, mask) in enumerate(((noise(6, 9), ones), (noise(6, 9, 1), ones), (noise(6, 9), ones * 2))):
        dataset = open_dataset(str(write_mat(tmp_path / f"{k}.mat", [image], [mask])))
        assert dataset.content_hash(0) == dataset.load(0).content_hash
        assert dataset.stored_sizes() == [6 * 9 * 4]
        hashes.add(dataset.content_hash(0))
    assert len(hashes) == 3


def test_columns_that_are_no_references_or_claim_too_much(tmp_path):
    with h5py.File(tmp_path / "plain.mat", "w") as file:
        file["value/img"] = file["value/gt"] = np.zeros((3, 1))
    with pytest.raises(XkdError, match="has no references in /value/img"):
        open_dataset(str(tmp_path / "plain.mat"))
    with h5py.File(tmp_path / "huge.mat", "w") as file:
        for name in ("img", "gt"):
            file.create_dataset(f"value/{name}", (10**12, 1), dtype=h5py.ref_dtype, chunks=(1, 1))
    with pytest.raises(XkdError, match=r"/value/img \(1000000000000, 1\).*more than fit into the file"):
        open_dataset(str(tmp_path / "huge.mat"))


def write_mask(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path)


@pytest.mark.parametrize(("image", "mask"), [("images/{}.jpg", "masks/{}.png"), ("{}.jpg", "{}.png")])
def test_folder_of_images_and_same_named_masks(tmp_path, image, mask):
    for name in ("b", "a"):
        write_image(tmp_path / image.format(name), size=(3, 1))
    write_mask(tmp_path / mask.format("a"), [[0, 255, 255]])
    write_mask(tmp_path / mask.format("b"), [[0, 1, 255]])
    dataset = open_dataset(str(tmp_path))
    assert dataset.has_masks
    assert dataset.ids == [image.format("a"), image.format("b")]
    assert dataset.load(0).mask.tolist() == [[0, 1, 1]]
    assert dataset.load(1).mask.tolist() == [[0, 1, -1]]


def test_folders_inside_images_and_png_images(tmp_path):
    write_image(tmp_path / "images" / "n01440764" / "a.png", size=(2, 1))
    write_mask(tmp_path / "masks" / "n01440764" / "a.png", [[0, 1]])
    dataset = open_dataset(str(tmp_path))
    assert dataset.load(0).mask.tolist() == [[0, 1]]


def test_missing_and_unfitting_masks(tmp_path):
    for name in ("a", "b", "c"):
        write_image(tmp_path / "images" / f"{name}.jpg", size=(3, 1))
    write_mask(tmp_path / "masks" / "b.png", [[0, 1]])
    (tmp_path / "masks" / "c.png").write_bytes(b"")
    dataset = open_dataset(str(tmp_path))
    for position, message in enumerate(
        (
            "images/a.jpg: no mask 'masks/a.png'",
            "masks/b.png: the mask is 2x1, the image 3x1",
            "masks/c.png: empty file",
        )
    ):
        with pytest.raises(UnreadableImageError, match=message):
            dataset.load(position)


def test_the_hash_is_of_the_photo_and_the_mask_as_stored(tmp_path):
    photo = write_image(tmp_path / "images" / "a.jpg", size=(3, 1))
    write_mask(tmp_path / "masks" / "a.png", [[0, 1, 1]])
    mask = tmp_path / "masks" / "a.png"
    dataset = open_dataset(str(tmp_path))
    expected = hashlib.sha256(photo.read_bytes() + mask.read_bytes()).hexdigest()[:32]
    assert dataset.content_hash(0) == dataset.load(0).content_hash == expected
    assert dataset.stored_sizes() == [photo.stat().st_size + mask.stat().st_size]


def test_a_png_that_is_the_mask_of_nothing_is_listed(tmp_path):
    write_image(tmp_path / "a.jpg", size=(2, 1))
    for name in ("a", "b"):
        write_mask(tmp_path / f"{name}.png", [[0, 1]])
    dataset = open_dataset(str(tmp_path))
    assert dataset.ids == ["a.jpg", "b.png"]
    with pytest.raises(UnreadableImageError, match=r"b\.png: neither an image with a mask, nor the mask of an image"):
        dataset.load(1)


def test_a_mask_whose_image_is_gone_is_listed(tmp_path):
    write_image(tmp_path / "images" / "in" / "a.jpg", size=(2, 1))
    for name in ("a", "b"):
        write_mask(tmp_path / "masks" / "in" / f"{name}.png", [[0, 1]])
    dataset = open_dataset(str(tmp_path))
    assert dataset.ids == ["images/in/a.jpg", "masks/in/b.png"]
    assert dataset.load(0).mask is not None
    with pytest.raises(UnreadableImageError, match=r"b\.png: neither an image with a mask, nor the mask of an image"):
        dataset.load(1)
