"""Maps written and read back, and every way in which reading them fails."""

import os

import numpy as np
import pytest
import torch

from xkd_eval.errors import XkdError
from xkd_eval.explainers import Context
from xkd_eval.explainers.stored import StoredMaps, save_maps

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
        (np.array([[0.0, 1e300]]), "has values beyond the range of float32; divide the map by its largest"),
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
    with pytest.raises(XkdError, match=rf"x\.npy' \(image 'x'\) .*{message}") as caught:
        read(tmp_path, classifier, "x")
    assert "\n" not in str(caught.value)


def test_missing_maps_and_folders_are_named(tmp_path, classifier):
    with pytest.raises(XkdError, match=r"no map for image 'a/b\.png'; looked for .*a/b\.png\.npy"):
        read(tmp_path, classifier, "a/b.png")
    with pytest.raises(XkdError, match=r"'.*none' is no folder"):
        StoredMaps(tmp_path / "none")


ODD_IDS = (
    *("../x", "%2e%2e/x", "%~%2e%2e/x", "/etc/x", "a/../../x", "", ".", "a//b", "a/b", "a/./b", "a\\b", "C:\\x"),
    *("\0", "a\nb", "\x1b[31m", "\udcff", "x" * 300, "x" * 301, "é", "e\u0301", " ", "."),
)


def test_no_id_leaves_the_folder_and_each_has_its_own_file(tmp_path):
    ids = tuple(dict.fromkeys(ODD_IDS))
    maps = torch.randn(len(ids), 2, 3)
    save_maps(tmp_path / "maps", ids, maps)
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == len(ids)
    for identifier, saved in zip(ids, maps, strict=True):
        assert (StoredMaps(tmp_path / "maps").load(identifier) == saved.numpy()).all()


def test_our_maps_are_read_by_numpy_and_no_flipped_bit_or_other_name_passes(tmp_path):
    save_maps(tmp_path, ["x"], torch.arange(6.0).reshape(1, 2, 3))
    path = tmp_path / "x.npy"
    assert np.load(path).tolist() == [[0, 1, 2], [3, 4, 5]]
    whole = path.read_bytes()
    for place in range(0, 8 * len(whole), 7):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(XkdError, match=r"^maps: .*x\.npy' \(image 'x'\) cannot be read \("):
            StoredMaps(tmp_path).load("x")
    (tmp_path / "y.npy").write_bytes(whole)
    with pytest.raises(XkdError, match="damaged, or renamed"):
        StoredMaps(tmp_path).load("y")


def test_memory_is_not_taken_for_what_a_header_claims(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 2)))
    content = (tmp_path / "x.npy").read_bytes()
    claimed = content.replace(b"(2, 2), }" + 18 * b" ", b"(1000000000, 1000000000), }")
    assert len(claimed) == len(content) != claimed.count(b"(2, 2)")
    (tmp_path / "x.npy").write_bytes(claimed)
    with pytest.raises(XkdError, match=r"a map of shape \(1000000000, 1000000000\) in 160 bytes"):
        StoredMaps(tmp_path).load("x")


def test_maps_beyond_float32_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0.0, 1e300]]))
    with pytest.raises(XkdError, match="beyond the range of float32"):
        StoredMaps(tmp_path).load("x")


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XkdError, match=r"^save_maps: .* cannot be written \(.*\); a part of that path is a file"):
        save_maps(tmp_path / "file", ["x"], torch.zeros(1, 2, 2))
    with pytest.raises(XkdError, match="for 2 ids"):
        save_maps(tmp_path, ["x", "y"], torch.zeros(1, 2, 2))


def test_a_pipe_among_the_maps_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(XkdError, match=r"^maps: .*a\.npy' cannot be read \(a pipe or a device\)"):
        StoredMaps(tmp_path).parameters()
