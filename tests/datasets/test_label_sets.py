"""Photographs of several classes: lists and COCO's JSON as users have them, and what is wrong with others."""

from __future__ import annotations

import gzip
import json
import pickle

import numpy as np
import pytest

from tests.datasets.files import write_image
from xkd_eval import open_dataset
from xkd_eval.datasets.base import Subset
from xkd_eval.datasets.boxes import with_boxes
from xkd_eval.datasets.checks import checked
from xkd_eval.datasets.label_sets import PerLabel
from xkd_eval.datasets.labels import resolve_label_sets, resolve_labels
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.testing import check_dataset


@pytest.fixture
def photos(tmp_path):
    """Three photographs of 8x6."""
    for number, name in enumerate("abc"):
        write_image(tmp_path / "photos" / f"{name}.png", (number, 0, 0))
    return tmp_path / "photos"


@pytest.fixture
def listed(photos):
    """A list beside them, of which "c" has no label."""
    path = photos.parent / "labels.csv"
    path.write_text("image,label\na.png,cat;dog\nb.png,dog\nc.png,\n")
    return path


def square(x, y, side=2):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def coco(**changed):
    """Two cats and a dog in "a", a dog and a crowd of cats in "b"."""
    entries = [
        {"image_id": 1, "category_id": 18, "bbox": [0, 0, 2, 2], "segmentation": square(0, 0)},
        {"image_id": 1, "category_id": 17, "bbox": [3, 0, 2, 2], "segmentation": square(3, 0)},
        {"image_id": 1, "category_id": 17, "bbox": [5, 3, 2, 2], "segmentation": square(5, 3)},
        {"image_id": 2, "category_id": 18, "bbox": [1, 1, 2, 2], "segmentation": square(1, 1)},
        {"image_id": 2, "category_id": 17, "iscrowd": 1, "segmentation": {"size": [6, 8], "counts": [0, 12, 36]}},
    ]
    return {
        "images": [{"id": n, "file_name": f"{name}.png", "width": 8, "height": 6} for n, name in enumerate("abc", 1)],
        "annotations": entries,
        "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        **changed,
    }


@pytest.fixture
def annotated(photos):
    """A file with what `coco` says, or something else."""

    def write(values=None, name="instances.json"):
        path = photos.parent / name
        text = json.dumps(coco() if values is None else values).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return path

    return write


class Named:
    """A classifier, as far as its classes go."""

    name = "net"
    wordnet_ids = None

    def __init__(self, *names, count=None):
        self.class_names = names or None
        self.num_classes = count or len(names)


def test_a_list_makes_one_image_a_label(photos, listed):
    found = open_dataset(photos, labels=listed)
    assert found.ids == ["a.png#cat", "a.png#dog", "b.png#dog"]
    assert found.labels == ["cat", "dog", "dog"]
    assert found.label_sets.photographs == (0, 0, 1)
    assert found.label_sets.labels == (frozenset({"cat", "dog"}),) * 2 + (frozenset({"dog"}),)
    assert found.label_sets.unlabelled == 1
    assert not found.has_masks
    assert found.load(2).image.getpixel((0, 0)) == (1, 0, 0)
    check_dataset(found)


def test_a_list_is_found_beside_the_photographs(photos, listed):
    assert open_dataset(photos).ids == ["a.png#cat", "a.png#dog", "b.png#dog"]


def test_labels_by_index(photos, listed):
    listed.write_text("a.png,3;0\nb.png,1\n")
    found = open_dataset(photos, labels=listed)
    assert (found.ids, found.labels, found.label_kind) == (["a.png#3", "a.png#0", "b.png#1"], [3, 0, 1], "index")


def test_a_list_of_one_label_an_image_is_what_it_was(photos, listed):
    listed.write_text("a.png,cat\nb.png,dog\n")
    found = open_dataset(photos, labels=listed)
    assert (found.ids, found.label_sets) == (["a.png", "b.png", "c.png"], None)


def test_classes_of_a_model(photos, listed):
    found = open_dataset(photos, labels=listed)
    model = Named("Dog", "cat", "eel")
    assert resolve_labels(found, model) == [1, 0, 0]
    assert resolve_label_sets(found, model) == [{0, 1}, {0, 1}, {0}]
    # A label that the model does not know is no class that it could rank.
    assert resolve_label_sets(found, Named("dog", "eel")) == [{0}, {0}, {0}]
    # What a photograph holds does not depend on which of its images are looked at.
    assert resolve_label_sets(Subset(found, [0]), model) == [{0, 1}]
    assert resolve_label_sets(found, Named(count=9), {"cat": 4, "dog": 7}) == [{4, 7}, {4, 7}, {7}]


def test_coco_brings_the_masks_and_boxes_of_each_label(photos, annotated):
    found = open_dataset(photos, labels=annotated())
    assert found.ids == ["a.png#cat", "a.png#dog", "b.png#dog"]
    assert found.classes == ("cat", "dog")  # by the number of the category
    cats, dog, other = (found.load(position) for position in range(3))
    assert np.argwhere(cats.mask == 1).tolist() == [[0, 3], [0, 4], [1, 3], [1, 4], [3, 5], [3, 6], [4, 5], [4, 6]]
    assert np.argwhere(dog.mask == 1).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert cats.boxes.tolist() == [[3, 0, 4, 1], [5, 3, 6, 4]]
    # The crowd of cats is no object of the dog's, and the photograph holds cats all the same.
    assert set(np.unique(other.mask)) == {0, 1}
    assert found.label_sets.labels[2] == {"cat", "dog"}
    assert found.label_sets.unlabelled == 1
    assert resolve_labels(found, Named(count=2)) == [0, 1, 1]
    check_dataset(found)


def test_a_crowd_of_the_labels_class_is_ignored(photos, annotated):
    values = coco()
    values["annotations"][4]["category_id"] = 18
    mask = open_dataset(photos, labels=annotated(values)).load(2).mask
    # Two columns of crowd; the dog lies over one of them.
    assert mask[:, 0].tolist() == [-1] * 6
    assert mask[:, 1].tolist() == [-1, 1, 1, -1, -1, -1]


def test_coco_without_outlines_has_labels_alone(photos, annotated):
    values = coco()
    for entry in values["annotations"]:
        entry.pop("segmentation")
    found = open_dataset(photos, labels=annotated(values, "instances.json.gz"))
    assert (found.has_masks, found.has_boxes) == (False, True)
    for entry in values["annotations"]:
        entry.pop("bbox", None)
    for image in values["images"]:
        del image["width"]
    assert not open_dataset(photos, labels=annotated(values)).has_boxes


def test_other_outlines_are_other_contents(photos, annotated):
    before = open_dataset(photos, labels=annotated())
    values = coco()
    values["annotations"][0]["segmentation"] = square(0, 1)
    after = open_dataset(photos, labels=annotated(values))
    changed = [before.content_hash(place) != after.content_hash(place) for place in range(3)]
    assert changed == [False, True, False]
    assert [found.load(1).content_hash for found in (before, after)] == [
        before.content_hash(1),
        after.content_hash(1),
    ]


def test_what_a_photograph_holds_is_in_the_digest(photos, annotated):
    before, values = open_dataset(photos, labels=annotated()), coco()
    del values["annotations"][4]  # the crowd, of which there is no image
    after = open_dataset(photos, labels=annotated(values))
    assert (before.ids, before.labels) == (after.ids, after.labels)
    assert before.digest() != after.digest()


def test_a_photograph_is_decoded_once(photos, listed, monkeypatch):
    found = open_dataset(photos, labels=listed)
    decoded = []
    load = type(found.dataset).load
    monkeypatch.setattr(
        type(found.dataset), "load", lambda self, position: decoded.append(position) or load(self, position)
    )
    images = [found.load(position).image for position in range(3)]
    assert decoded == [0, 1]
    images[0].putpixel((0, 0), (9, 9, 9))
    assert found.load(0).image.getpixel((0, 0)) == (0, 0, 0)
    assert pickle.loads(pickle.dumps(found))._decoded is None


def test_a_photograph_that_cannot_be_read(photos, listed):
    (photos / "a.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"^a\.png: "):
        open_dataset(photos, labels=listed).load(1)


def test_boxes_of_a_file_go_to_the_image_of_their_label(photos, listed, tmp_path):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("image,xmin,ymin,xmax,ymax,class\na.png,0,0,1,1,dog\na.png,2,2,3,3,cat\nb.png,4,4,5,5,dog\n")
    found = with_boxes(open_dataset(photos, labels=listed), boxes)
    assert [found.load(place).boxes.tolist() for place in range(3)] == [[[2, 2, 3, 3]], [[0, 0, 1, 1]], [[4, 4, 5, 5]]]
    assert found.label_sets.photographs == (0, 0, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.png,cat;dog\na.png,cat\n", r"^labels: '.*labels.csv' names 'a' twice, in lines 1 and 2; remove one"),
        ("a.png,cat;cat\n", r"^labels: line 1 of '.*labels.csv' has the label 'cat' twice"),
        ("a.png,cat;;dog\n", r"^labels: line 1 of '.*labels.csv' has an empty label in 'cat;;dog'"),
        ("a.png,1;dog\nb.png,2;3\n", r"^data: line 1 of '.*labels.csv' has the label 'dog', and 3 others are class"),
        ("x.png,cat;dog\n", r"^labels: '.*labels.csv' names none of the 3 images; expected "),
        ("header,a;b\na.png,\n", r"^labels: '.*labels.csv' gives none of the 3 images a label"),
        ("a.png,cat;dog,7\n", r"^labels: line 1 of '.*labels.csv' is 'a.png,cat;dog,7' \(expected NAME,class\)"),
    ],
    ids=["an image twice", "a label twice", "an empty label", "kinds", "other images", "no label", "three fields"],
)
def test_lists_that_are_refused(photos, listed, text, said):
    listed.write_text(text)
    with pytest.raises(XkdError, match=said):
        open_dataset(photos, labels=listed)


def changed(number=0, **values):
    whole = coco()
    whole["annotations"][number].update(values)
    return whole


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"a": 1}, r"^labels: '.*json': images: missing; add it; expected COCO's JSON of objects, "),
        ([], r"^labels: '.*json': \[\] found; "),
        (changed(image_id=9), r"^labels: annotation 1 of '.*' has the image_id 9, which is not among its images; mend"),
        (changed(1, category_id=9), r"^labels: annotation 2 of '.*' has the category_id 9, .* among its categories"),
        (
            changed(segmentation=square(7, 5, 3)),
            r"^labels: annotation 1 .*corner 10 5, outside of the image of 8x6",
        ),
        (changed(bbox=[0, 0, 20, 1]), r"^labels: annotation 1 of .* cannot be used \(a box \[0, 0, 19, 0\] outside"),
        (changed(bbox=[0, 0, 0, 1]), r"^labels: annotation 1 of .* cannot be used \(a side that is no length\)"),
        (
            changed(4, category_id=18, segmentation={"size": [6, 8], "counts": [3]}),
            r"^labels: annotation 5 of .*\(run lengths of 3 pixels, and the image has 48\); mend or remove it$",
        ),
        (changed(segmentation={"counts": [48]}), r"^labels: annotation 1 of .* cannot be used \(KeyError 'size'\)"),
        (
            coco(images=[{"id": 1, "file_name": "x.png"}], annotations=[]),
            r"names none of the 3 images; it names 'x",
        ),
        (coco(images=[*coco()["images"], {"id": 9, "file_name": "a.jpg"}]), r"^labels: '.*' names 'a' twice; remove"),
        (coco(images=[{"id": n, "file_name": f"{n}"} for n in (1, 1)]), r"two images or two categories of one id"),
        (coco(images=[{**one, "width": None} for one in coco()["images"]]), r"says no size of 'a.png'"),
        (coco(categories=[{"id": 17, "name": "a"}, {"id": 18, "name": "a"}]), r"has a category 'a', .* that is taken"),
        (coco(annotations=[]), r"^labels: '.*' gives none of the 3 images a label"),
    ],
    ids=[
        *("another kind", "a list", "no such image", "no such category", "polygon", "box", "flat box", "run lengths"),
        *("no size of runs", "other images", "an image twice", "an id twice", "no size", "a name twice", "no object"),
    ],
)
def test_coco_that_is_refused(photos, annotated, values, said):
    with pytest.raises(XkdError, match=said):
        open_dataset(photos, labels=annotated(values))


def test_what_is_no_json(photos, annotated):
    path = annotated()
    path.write_text("{")
    with pytest.raises(XkdError, match=r"^labels: '.*json' is no JSON \(.*\); expected COCO's JSON of objects"):
        open_dataset(photos, labels=path)


def test_photographs_of_another_size_than_the_file_says(photos, annotated):
    write_image(photos / "a.png", size=(6, 8))
    found = open_dataset(photos, labels=annotated())
    with pytest.raises(XkdError, match=r"^labels: '.*' says that 'a.png' is 8x6, and it is 6x8; give the images that"):
        found.load(0)


def test_a_set_whose_labels_are_not_held_is_refused(photos, listed):
    found = open_dataset(photos, labels=listed)
    found.labels[0] = "eel"
    with pytest.raises(XkdError, match=r"the label 'eel' of 'a.png#cat' is not among those that its photograph holds"):
        checked(found)
    assert isinstance(found, PerLabel)
