"""Decoded images that are kept: of the very pictures, and as they were written."""

import numpy as np
import pytest
from PIL import Image

from distill.data.cache import decoded
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets import open_dataset
from xkd_eval.errors import XkdError

SMALL = Preprocess(size=(8, 8))


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "xkd"


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for number in range(12):
        path = folder / "class" / f"{number:02d}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    return folder


def red(folder) -> list[int]:
    return decoded(open_dataset(str(folder)), SMALL)[:, 0, 0, 0].tolist()


def test_images_are_decoded_once(kept, pictures, monkeypatch):
    assert red(pictures) == list(range(12))
    monkeypatch.setattr("distill.data.cache.load_photograph", None)
    assert red(pictures) == list(range(12))
    assert len(list(kept.iterdir())) == 1


@pytest.mark.parametrize("number", range(12))
def test_another_picture_of_that_name_and_size_is_decoded(kept, pictures, number):
    red(pictures)
    Image.new("RGB", (8, 8), (200, 0, 0)).save(pictures / "class" / f"{number:02d}.bmp")
    assert red(pictures)[number] == 200


@pytest.mark.parametrize("place", [3, 70, 130, -1])
def test_a_damaged_file_is_made_again(kept, pictures, place):
    red(pictures)
    (file,) = kept.iterdir()
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)
    assert red(pictures) == list(range(12))
    assert [path.name for path in kept.iterdir()] == [file.name] and file.read_bytes() != content


def test_a_place_that_cannot_be_written_costs_nothing_but_time(tmp_path, pictures, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert red(pictures) == list(range(12))
    assert isinstance(decoded(open_dataset(str(pictures)), SMALL), np.ndarray)


def test_an_image_of_other_channels_is_refused_by_its_name(kept, pictures):
    np.save(pictures / "class" / "99.npy", np.zeros((8, 8, 5), np.uint8))
    with pytest.raises(XkdError, match=r"^data: pictures: class/99\.npy: 5 channels of uint8 found; expected RGB"):
        red(pictures)
    five = Preprocess(size=(8, 8), mean=(0.5,) * 5, std=(0.5,) * 5)
    with pytest.raises(XkdError, match=r"^data: pictures: class/00\.bmp: 3 channels found, and the network takes 5;"):
        decoded(open_dataset(str(pictures)), five)
