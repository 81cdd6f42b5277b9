"""Maps written and read back, and every way in which reading them fails."""

import numpy as np
import pytest
import torch

from xkd_eval.errors import XkdError
from xkd_eval.explainers import Context
from xkd_eval.explainers.stored import StoredMaps, map_path, save_maps

IDS = ("n01440764/x.JPEG", "plain", "dotted.name.png")


def read(directory, classifier, *ids):
    images = torch.zeros(len(ids), 3, 32, 32)
    return StoredMaps(directory)(classifier, images, torch.zeros(len(ids), dtype=torch.int64), Context(ids=ids))


def test_what_was_saved_is_read_back(tmp_path, classifier):
    maps = torch.randn(3, 5, 7)
    save_maps(tmp_path / "new", IDS, maps)
    assert (tmp_path / "new/n01440764/x.JPEG.npy").is_file()
    assert torch.equal(read(tmp_path / "new", classifier, *IDS), maps)
    assert {path.suffix for path in (tmp_path / "new").rglob("*.*")} == {".npy"}, "no partial file is left"
    stored = StoredMaps(tmp_path / "new").parameters()
    assert stored["directory"] == str(tmp_path / "new")


@pytest.mark.parametrize("name", ["a/b.JPEG.npy", "a/b.JPEG.npz", "a/b.npy", "a/b.npz"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8", "bool"])
def test_other_tools_files_are_understood(tmp_path, classifier, name, dtype):
    array = np.array([[0, 1, 1], [1, 0, 0]], dtype=dtype)
    (tmp_path / "a").mkdir()
    if name.endswith("npz"):
        np.savez(tmp_path / name, saliency=array[None])
    else:
        np.save(tmp_path / name, array)
    assert read(tmp_path, classifier, "a/b.JPEG")[0].tolist() == array.astype(float).tolist()


def test_maps_of_different_sizes_are_resized_to_the_input(tmp_path, classifier):
    save_maps(tmp_path, ["a"], torch.ones(1, 50, 20))
    save_maps(tmp_path, ["b"], torch.zeros(1, 10, 20))
    maps = read(tmp_path, classifier, "a", "b")
    assert maps.shape == (2, 32, 32) and (maps[0] == 1).all() and (maps[1] == 0).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 3, 4)), "float64 of shape \\(2, 3, 4\\); expected numbers of shape"),
        (np.zeros(4), "expected numbers of shape"),
        (np.zeros((0, 4)), "expected numbers of shape"),
        (np.array([["a", "b"]]), "expected numbers of shape"),
        (np.zeros((2, 2), dtype=complex), "expected numbers of shape"),
        (np.array([[0.0, 1e300]]), "holds values beyond what float32 does; scale them"),
        (np.array([[{}]]), "cannot be read"),
        (b"not an array", "cannot be read"),
        (b"", "cannot be read"),
        (b"\x93NUMPY\x01\x00", "cannot be read"),
        (b"PK\x03\x04 cut off", "cannot be read"),
    ],
)
def test_unreadable_maps_are_named_with_file_and_id(tmp_path, classifier, content, message):
    if isinstance(content, bytes):
        (tmp_path / "x.npy").write_bytes(content)
    else:
        np.save(tmp_path / "x.npy", content)
    with pytest.raises(XkdError, match=rf"x\.npy \(image 'x'\) .*{message}") as caught:
        read(tmp_path, classifier, "x")
    assert "\n" not in str(caught.value)


def test_missing_maps_and_folders_are_named(tmp_path, classifier):
    with pytest.raises(XkdError, match=r"no map for image 'a/b\.png'; looked for .*a/b\.png\.npy"):
        read(tmp_path, classifier, "a/b.png")
    with pytest.raises(XkdError, match=r"'.*none' is no folder"):
        StoredMaps(tmp_path / "none")


def test_ids_cannot_leave_the_folder(tmp_path):
    for identifier in ("../x", "/etc/x", "a/../../x", ""):
        with pytest.raises(XkdError, match="does not name a file below"):
            map_path(tmp_path, identifier)


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XkdError, match="save_maps: cannot write"):
        save_maps(tmp_path / "file", ["x"], torch.zeros(1, 2, 2))
    with pytest.raises(XkdError, match="for 2 ids"):
        save_maps(tmp_path, ["x", "y"], torch.zeros(1, 2, 2))
