"""Every clause of a data set's contract, violated once: the check says which."""

import numpy as np
import pytest
from PIL import Image

from tests.datasets.files import write_image
from xkd_eval.datasets import ImageDataset, Sample, open_dataset
from xkd_eval.errors import UnreadableImageError
from xkd_eval.testing import check_dataset


class Squares(ImageDataset):
    """Holds to the contract: four images of one colour each, with masks."""

    name = "squares"
    label_kind = "index"
    classes = ("dark", "light")
    has_masks = True

    def __init__(self, **attributes):
        self.ids = list("abcd")
        self.labels = [0, 1, 0, None]
        vars(self).update(attributes)

    def load(self, position):
        return Sample(Image.new("RGB", (6, 4), (position, 0, 0)), np.eye(4, 6, dtype=np.int8))


class Nameless(Squares):
    name = None


class Unpicklable(Squares):
    def __init__(self):
        super().__init__(opened=lambda: None)


class Sampled(Squares):
    """Returns what it is told to."""

    def __init__(self, *samples, **attributes):
        super().__init__(**attributes)
        self.samples = list(samples)

    def load(self, position):
        made = self.samples[0] if len(self.samples) == 1 else self.samples.pop(0)
        if isinstance(made, Exception):
            raise made
        return made


class HalfReadable(Squares):
    """Its first image is damaged."""

    def load(self, position):
        if position == 0:
            raise UnreadableImageError("a: empty")
        return super().load(position)


class Hashed(Squares):
    """Has these content hashes, this one asked for alone, and these sizes."""

    def __init__(self, *hashes, alone=None, sizes=None):
        super().__init__()
        self.hashes, self.alone, self.sizes = hashes, alone, sizes

    def load(self, position):
        sample = super().load(position)
        return Sample(sample.image, sample.mask, self.hashes[position])

    def content_hash(self, position):
        return self.alone or super().content_hash(position)

    def stored_sizes(self, positions=None):
        return self.sizes


IMAGE, MASK = Image.new("RGB", (6, 4)), np.zeros((4, 6), dtype=np.int8)
OTHER = Image.new("RGB", (6, 4), "white")


class Forgetful(Squares):
    """Is another one in another process."""

    def __getstate__(self):
        return {**vars(self), "ids": ["z"]}


@pytest.mark.parametrize("dataset", [Squares(), Hashed(*"pqrs", sizes=[3, 4, 5, 6]), "embedded", "embedded:train"])
def test_what_holds_passes(dataset):
    check_dataset(dataset)


def test_an_unreadable_image_is_allowed_where_others_can_be_read():
    check_dataset(HalfReadable())


@pytest.mark.parametrize("kind", ["folders", "flat", "masks"])
def test_readers_hold(kind, tmp_path):
    for name in ("dog/a.png", "cat/a.png") if kind == "folders" else ("a.jpg", "b.jpg"):
        write_image(tmp_path / "set" / name)
    if kind == "masks":
        for name in ("a.png", "b.png"):
            Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(tmp_path / "set" / name)
    dataset = open_dataset(str(tmp_path / "set"))
    assert dataset.has_masks == (kind == "masks")
    check_dataset(dataset)


@pytest.mark.parametrize(
    ("dataset", "violated"),
    [
        (Squares(name="a/b"), "its name is 'a/b'"),
        (Squares(ids=[], labels=[]), "it has 0 ids"),
        (Squares(ids=list("abc")), "it has 4 labels and 3 ids"),
        (Squares(ids=["a", "b", "", "d"]), "an id is ''"),
        (Squares(ids=["a", "b", "a", "d"]), "the id 'a' stands for two images"),
        (Squares(label_kind="none"), "label_kind is 'none' and a label is 0"),
        (Squares(label_kind="class"), "label_kind is 'class'; expected index"),
        (Squares(label_kind="name"), "label_kind is 'name' and a label is 0; expected str"),
        (Squares(labels=[0, 1, True, 0]), "a label is True; expected int"),
        (Squares(labels=[0, 1, 2, 0]), "a label is 2; it has 2 classes"),
        (Squares(label_kind="name", labels=["dark", "grey", "dark", None]), "a label is 'grey', which is none of"),
        (Squares(label_kind="wordnet", labels=["n01440764", "n1", None, None]), "a label is 'n1'; expected a WordNet"),
        (Squares(ids=["a", "b", "\udce9", "d"]), r"the id '\\udce9' is not valid as UTF-8"),
        (Hashed("p", "q", "r", 7), "the content hash of image 'd' is 7; expected text"),
        (Hashed("p", "q", "r", "q"), "4 images that differ have 3 content hashes"),
        (Hashed(*"pqrs", alone="t"), "the content hash of image 'a' is another one a second time"),
        (Hashed(*"pqrs", sizes=[1, 2]), r"stored_sizes gives \[1, 2\], ...; expected bytes for each of 4"),
        (Unpicklable(), "cannot be pickled for the processes that decode"),
        (Forgetful(), "its pickled copy has other ids"),
        (Sampled(IMAGE), "image 'a' is a Image; expected a Sample"),
        (Sampled(Sample(IMAGE.convert("L"), MASK)), "image 'a' is L; expected a PIL image in RGB"),
        (Sampled(Sample(IMAGE)), "has_masks is True and image 'a' has no mask"),
        (Sampled(Sample(IMAGE, MASK), has_masks=False), "has_masks is False and image 'a' has a mask"),
        (Sampled(Sample(IMAGE, MASK.astype(bool))), r"is bool of shape \(4, 6\); expected int8 of shape \(4, 6\)"),
        (Sampled(Sample(IMAGE, MASK.T.copy())), r"is int8 of shape \(6, 4\); expected int8 of shape \(4, 6\)"),
        (Sampled(Sample(IMAGE, MASK + np.int8(2))), "the mask of image 'a' holds 2"),
        (Sampled(Sample(IMAGE, MASK), Sample(OTHER, MASK)), "image 'a' is another one a second time"),
        (Sampled(UnreadableImageError("a: empty")), "none of the 8 images looked at can be read"),
    ],
)
def test_what_is_violated_is_said_in_a_sentence(dataset, violated):
    with pytest.raises(AssertionError, match=violated) as caught:
        check_dataset(dataset)
    assert "\n" not in str(caught.value)


def test_a_set_without_a_name_is_named_by_its_class():
    with pytest.raises(AssertionError, match="its name is None"):
        check_dataset(Nameless())
