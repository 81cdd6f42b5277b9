"""Data sets that code makes: registered ones, and those that stand in a module."""

import pickle

import pytest
from PIL import Image

from tests.datasets.files import write_image
from xkd_eval.datasets import DATASETS, ImageDataset, Sample, open_dataset, register_dataset
from xkd_eval.errors import XkdError
from xkd_eval.testing import check_dataset


class Greys(ImageDataset):
    """Images of one grey each."""

    label_kind = "index"

    def __init__(self, split="val", rest=""):
        self.name = f"greys-{split}-{rest}"
        self.ids = ["a", "b"]
        self.labels = [0, 1]

    def load(self, position):
        return Sample(Image.new("RGB", (4, 4), (position,) * 3))


def make(split):
    return Greys(split)


def make_nothing():
    return "no data set"


def fail(rest):
    raise RuntimeError(f"cannot make {rest}\nsecond line")


def refuse(rest):
    raise XkdError(f"data: no {rest}")


def make_empty():
    made = Greys()
    made.ids = made.labels = []
    return made


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    DATASETS.names()
    monkeypatch.setattr(DATASETS, "_known", dict(DATASETS._known))


def test_a_class_or_function_is_opened_by_where_it_stands():
    assert open_dataset(f"py:{__name__}:Greys").name == "greys-val-"
    assert open_dataset(f"py:{__name__}:Greys:a:b", split="train").name == "greys-train-a:b"
    assert open_dataset(f"py:{__name__}:make", split="test").name == "greys-test-"
    check_dataset(f"py:{__name__}:Greys")


def test_a_registered_one_is_opened_by_its_name():
    register_dataset("squares")(Greys)
    register_dataset("greys")(make)
    assert open_dataset("squares:x").name == "greys-val-x" and open_dataset("greys").name == "greys-val-"
    assert pickle.loads(pickle.dumps(open_dataset("greys"))).ids == ["a", "b"]


def test_a_path_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "embedded" / "a.png")
    assert open_dataset("embedded").ids == ["a.png"]


@pytest.mark.parametrize(
    ("given", "labels", "message"),
    [
        ("make:x", None, "data: 'x' found behind 'py:.*:make', which takes nothing there"),
        ("make", "labels.csv", "labels: 'py:.*:make' takes none; leave `labels` out"),
        ("make_nothing", None, "data: 'py:.*:make_nothing' gave a str; expected an ImageDataset"),
        ("fail:x", None, r"data: 'py:.*:fail' cannot be opened \(RuntimeError: cannot make x\)"),
        ("refuse:x", None, "^data: no x$"),
        ("make_empty", None, "data: 'py:.*' has no images"),
        ("pytest.x", None, "has no 'pytest.x'"),
        ("__name__", None, "data: a str found; expected a subclass"),
    ],
)
def test_what_fails_is_one_line(given, labels, message, tmp_path):
    with pytest.raises(XkdError, match=message) as caught:
        open_dataset(f"py:{__name__}:{given}", labels=labels and tmp_path / labels)
    assert "\n" not in str(caught.value)


def test_what_is_neither_path_nor_name_is_told_the_names():
    register_dataset("greys")(make)
    with pytest.raises(XkdError, match=r"data: 'gray' does not exist; give a .* or 'embedded', .*'greys'"):
        open_dataset("gray")
