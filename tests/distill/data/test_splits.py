"""Training, held-out and test images, and data that cannot be trained on."""

import pytest

import distill
from distill.data.cache import decoded
from distill.data.classes import Classes, classes_of, labels_among, training_labels
from distill.data.photographs import _Crops
from distill.data.splits import Labelled
from distill.data.views import Views
from distill.recipe.data import WorkerData
from distill.training.train import train
from tests.datasets.files import write_image
from tests.distill.conftest import write_cifar10
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.datasets import ImageDataset
from xkd_eval.errors import XkdError


def test_bad_data_is_one_line(recipe_of, tmp_path, cifar10):
    def data(path, **changes):
        return {"loader": "device", "path": str(path), **changes}

    with pytest.raises(XkdError, match="leaves an empty split"):
        train(recipe_of(data=data(cifar10, val_split=0.001)), tmp_path / "run", device="cpu")
    with pytest.raises(XkdError, match=r"^data.padding: 32 pixels around images of 32x32 found; expected fewer"):
        train(recipe_of(data=data(cifar10, padding=32)), tmp_path / "run", device="cpu")
    with pytest.raises(XkdError, match="data: missing"):
        train(recipe_of(data={"loader": "device"}), tmp_path / "run", device="cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(XkdError, match="data"):
        train(recipe_of(data=data(tmp_path / "empty")), tmp_path / "run", device="cpu")


def test_data_of_other_classes_than_the_test_images(recipe_of, tmp_path):
    folder = write_cifar10(tmp_path / "few", classes=10)
    (folder / "test_batch").unlink()
    with pytest.raises(XkdError, match="data"):
        train(recipe_of(data={"loader": "device", "path": str(folder)}), tmp_path / "run", device="cpu")


def test_photographs_of_several_labels_are_refused(recipe_of, tmp_path):
    for name in "abcd":
        write_image(tmp_path / "images" / f"{name}.png")
    (tmp_path / "images" / "labels.csv").write_text("a.png,1;0\nb.png,0\nc.png,1\nd.png,0;1\n")
    said = r"^data: the photographs of images have several labels each; expected one an image$"
    with pytest.raises(XkdError, match=said):
        train(
            recipe_of(data={"loader": "device", "path": str(tmp_path / "images"), "test_split": 0.5}),
            tmp_path / "run",
            device="cpu",
        )
    with pytest.raises(XkdError, match=said):
        distill.evaluate({"kd": "embedded/kd"}, tmp_path / "images")


class Numbered(ImageDataset):
    """Labels without images."""

    name, label_kind = "numbered", "index"

    def __init__(self, labels, classes=None):
        self.ids = [str(position) for position in range(len(labels))]
        self.labels, self.classes = labels, classes

    def load(self, position):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 2**60], r"run from 0 to .*, and no image has 1, 2, 3, \.\.\.; expected 0 to K - 1"),
        ([-1, 0], r"run from -1 to 0, and no image has 1"),
        ([0, 1, 3], "run from 0 to 3, and no image has 2, 4"),
    ],
)
def test_indices_that_would_be_logits_of_nothing(labels, message):
    with pytest.raises(XkdError, match=f"data: the labels of numbered {message}"):
        classes_of(Numbered(labels))


def test_a_class_without_an_image_stays_where_the_set_has_names():
    assert classes_of(Numbered([0, 2], ("a", "b", "c"))).count == 3
    assert classes_of(Numbered([1, 0])).count == 2


def test_numbers_that_do_not_start_at_0_are_names():
    train = Numbered([10, 9, 2014, 9])
    classes = classes_of(train)
    assert (classes.count, classes.names) == (3, ("9", "10", "2014"))
    assert training_labels(train, classes) == [1, 0, 2, 0]
    assert labels_among(Numbered([2014, 9]), classes, by_index=False, called="test") == [2, 0]
    named = Classes(3, ("1", "10", "2"))
    for test in (Numbered([1, 2]), Numbered([1, 2], ("1", "10", "2"))):  # whether the test images say the names or not
        assert labels_among(test, named, by_index=True, called="test") == [1, 2]


def test_a_set_that_fails_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(XkdError, match=r"^data: numbered: 0: content_hash fails \(NotImplementedError"):
        decoded(Numbered([0]), Preprocess())
    labelled, data = Labelled(Numbered([0]), [0]), WorkerData(loader="workers", path="x")
    crops = _Crops(labelled, Views.of(Preprocess(), []), labelled.own_changes(0, None), data)
    assert crops[0, 0].startswith("data: numbered: 0: loading fails (NotImplementedError")
