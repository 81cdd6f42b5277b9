"""A data set that anybody wrote: what is wrong with it is said where it is opened, or where an image is loaded."""

import numpy as np
import pytest
from PIL import Image

from xkd_eval import perturbation_test
from xkd_eval.datasets import ImageDataset, Sample
from xkd_eval.datasets.checks import checked
from xkd_eval.datasets.samples import hash_of_stored, load_sample
from xkd_eval.errors import XkdError


class Outsiders(ImageDataset):
    """Holds to the contract."""

    name, label_kind = "mine", "index"

    def __init__(self, sample=None, **attributes):
        self.ids, self.labels, self.sample = ["a", "b", "c"], [0, 1, None], sample
        vars(self).update(attributes)

    def load(self, position):
        return self.sample or Sample(Image.new("RGB", (64, 64), (position, 0, 0)))


def outsiders(**methods):
    return type("Outsiders", (Outsiders,), methods)()


def sized(sizes):
    return outsiders(stored_sizes=lambda self, positions=None: sizes)


@pytest.mark.parametrize(
    "dataset",
    [
        Outsiders(),
        Outsiders(ids=("a", "b", "c"), labels=(0, 1, None), classes=["x", "y"]),
        Outsiders(ids=np.array(["a", "b", "c"])),
        Outsiders(label_kind="none", labels=[None] * 3),
        Outsiders(label_kind="name", labels=["x", "y", None]),
        sized(np.arange(3)),
    ],
)
def test_what_holds_is_taken(dataset):
    assert checked(dataset) is dataset
    assert len(dataset.digest()) == 64


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Outsiders(ids=None), "mine: its ids are None; expected a list, one an image"),
        (Outsiders(ids=iter("abc")), "mine: its ids are <.*iterator.*; expected a list"),
        (Outsiders(ids="abc"), "mine: its ids are 'abc'; expected a list"),
        (Outsiders(labels=None), "mine: its labels are None; expected a list, one an image"),
        (Outsiders(labels=[True] * 3), "mine: its label_kind is 'index' and a label is True; expected int or None"),
        (Outsiders(labels=np.arange(3)), r"mine: .* a label is np\.int64\(0\); expected int or None"),
        (Outsiders(labels=[0.0] * 3), r"mine: .* a label is 0\.0; expected int or None"),
        (Outsiders(labels=["0"] * 3), "mine: .* a label is '0'; expected int or None"),
        (Outsiders(label_kind="name"), "mine: its label_kind is 'name' and a label is 0; expected str or None"),
        (Outsiders(label_kind="none"), "mine: its label_kind is 'none' and a label is 0; expected None alone"),
        (Outsiders(label_kind="name", labels=["\udcff"] * 3), "mine has labels that cannot be written"),
        (Outsiders(label_kind="foo"), "mine: label_kind is 'foo'; expected one of index, wordnet, name, none"),
        (Outsiders(label_kind=["index"]), r"mine: label_kind is \['index'\]; expected one of"),
        (outsiders(__len__=lambda self: 9), "mine has 9 images and 3 ids; expected as many, 1 or more"),
        (outsiders(__len__=lambda self: 2), "mine has 2 images and 3 ids"),
        (outsiders(__len__=lambda self: 1 / 0), "mine does not say how many images it has"),
        (Outsiders(ids=[], labels=[]), "mine has 0 images and 0 ids"),
        (Outsiders(classes=(None,) * 10), "mine: the class None found; expected texts"),
        (Outsiders(classes="ab"), "mine: its classes are 'ab'; expected a list"),
        (Outsiders(name=None), "Outsiders has the name None; expected a short text"),
        (Outsiders(name="\udcff"), "Outsiders has the name .*; expected a short text"),
        (Outsiders(has_masks="no"), "mine: has_masks is 'no'; expected True or False"),
        (
            sized("abc"),
            "mine: stored_sizes gives 'abc'; expected the bytes",
        ),
        (
            sized([1]),
            r"mine: stored_sizes gives \[1\]; .* each of 3 images",
        ),
        (sized([object()] * 3), "mine: stored_sizes gives .*<object"),
        (outsiders(stored_sizes=lambda self, positions=None: 1 / 0), r"mine: stored_sizes fails \(division by zero\)"),
    ],
)
def test_what_a_set_says_of_itself_is_checked_before_anything_is_read(dataset, message):
    with pytest.raises(XkdError, match=f"^data: {message}") as caught:
        perturbation_test("embedded/kd", dataset, direction="positive")
    assert "\n" not in str(caught.value)


IMAGE = Image.new("RGB", (6, 4))


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (Sample(Image.new("RGB", (0, 4))), "an image of 0x4 found; expected pixels"),
        (Sample(IMAGE, content_hash="\udcff"), "the content hash .* found; expected ASCII text, or None"),
        (Sample(IMAGE, content_hash=b"x"), "the content hash b'x' found"),
        (Sample(IMAGE, np.full((4, 6), 2, np.int8)), "a mask of 2 to 2 found; expected 1 object, 0 background, -1"),
    ],
)
def test_what_is_no_sample_is_refused_with_the_image(sample, message):
    with pytest.raises(XkdError, match=f"^data: mine: a: {message}"):
        load_sample(Outsiders(sample), 0)


def test_a_content_hash_that_is_none_is_refused_also_without_the_image():
    with pytest.raises(XkdError, match=r"^data: mine: a: the content hash 7 found"):
        hash_of_stored(outsiders(content_hash=lambda self, position: 7), 0)
