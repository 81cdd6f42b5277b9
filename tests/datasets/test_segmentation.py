import pickle

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tests.datasets.files import noise, write_image
from xkd_eval.datasets import open_dataset
from xkd_eval.errors import UnreadableImageError, XkdError


def write_mat(path, images, masks):
    """The layout of gtsegs_ijcv.mat: column-major, by reference, the masks in cells."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for name, entries in (("img", images), ("gt", masks)):
            column = file.create_dataset(f"value/{name}", (len(entries), 1), dtype=h5py.ref_dtype)
            for k, entry in enumerate(entries):
                column[k, 0] = refs.create_dataset(f"{name}{k}", data=entry.T).ref
                if name == "gt":
                    cell = refs.create_dataset(f"cell{k}", (1, 2), dtype=h5py.ref_dtype)
                    cell[0, 0] = column[k, 0]
                    cell[0, 1] = refs.create_dataset(f"other{k}", data=np.full(3, 7)).ref
                    column[k, 0] = cell.ref
        file.create_dataset("value/id", data=np.zeros((len(images), 1)))
    return path


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


def test_the_file_is_opened_lazily_and_pickles_after_use(mat):
    path, images, _ = mat
    dataset = open_dataset(str(path))
    assert pickle.loads(pickle.dumps(dataset))._file._opened is None
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
        with pytest.raises(XkdError, match=r"data: .*broken\.mat' is (truncated|not HDF5)") as caught:
            open_dataset(str(broken))
        assert "\n" not in str(caught.value)


def test_other_mat_files(tmp_path):
    savemat(tmp_path / "old.mat", {"value": np.zeros(3)})
    with pytest.raises(XkdError, match=r"old\.mat' is not HDF5.*expected gtsegs_ijcv\.mat"):
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
            "images/b.jpg: the mask is 2x1, the image 3x1",
            "masks/c.png: empty file",
        )
    ):
        with pytest.raises(UnreadableImageError, match=message):
            dataset.load(position)
