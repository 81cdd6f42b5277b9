"""Boxes beside the images: each format, which image a box is of, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from xkd_eval import Sample, XkdError
from xkd_eval.datasets import ImageDataset, limit
from xkd_eval.datasets import box_files as formats
from xkd_eval.datasets.box_files import read_boxes
from xkd_eval.datasets.boxes import with_boxes

KAGGLE = "ImageId,PredictionString\na,n01440764 1 2 3 4 n01443537 0 0 9 7 \nb,n01440764 5 5 5 5\n"
LINES = "val/a.JPEG,1,2,3,4\nval/a.JPEG,0,0,9,7\nval/b.JPEG,5,5,5,5\n"
HEADED = "image,x0,y0,x1,y1,class\na.png,1,2,3,4,fish\na.png,0,0,9,7,cat\nb.png,5,5,5,5,fish\n"
TENSORFLOW = "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,10,8,fish,1,2,3,4\n"
CORNERS = [(1, 2, 3, 4), (0, 0, 9, 7), (5, 5, 5, 5)]
OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
COCO = {
    "images": [{"id": 7, "file_name": "a.png", "width": 10}, {"id": 8, "file_name": "b.png"}],
    "categories": [{"id": 1, "name": "fish"}, {"id": 2, "name": "cat"}],
    "annotations": [
        {"image_id": 7, "bbox": [1.2, 2.0, 2.1, 2.7], "category_id": 1},
        {"image_id": 7, "bbox": [0, 0, 10, 8], "category_id": 2, "iscrowd": 0, "area": 80.0},
        {"image_id": 8, "bbox": [5, 5, 1, 1], "category_id": 1},
        {"image_id": 8, "bbox": [0, 0, 9, 9], "category_id": 1, "iscrowd": 1},
    ],
}


def annotation(*objects, database="ILSVRC_2012"):
    inner = "".join(OBJECT.format(*found) for found in objects)
    return f"<annotation><filename>%s</filename><source><database>{database}</database></source>{inner}</annotation>"


ANNOTATIONS = {
    "a.xml": annotation(("n01440764", 1, 2, 3, 4), ("n01443537", 0, 0, 9, 7)),
    "b.xml": annotation(("n01440764", 5, 5, 5, 5)),
}


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def packed(files, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Photos(ImageDataset):
    """Grey images of 10x8."""

    def __init__(self, ids=("a.png", "b.png", "c.png"), labels=None, kind="none", classes=None):
        self.name, self.ids = "photos", list(ids)
        self.labels = labels or [None] * len(self.ids)
        self.label_kind, self.classes = kind, classes

    def load(self, position):
        return Sample(Image.new("RGB", (10, 8), (position, 0, 0)))


@pytest.mark.parametrize(
    ("name", "content", "kinds"),
    [
        ("LOC_val_solution.csv", KAGGLE, ["n01440764", "n01443537", "n01440764"]),
        ("localization.txt", LINES, [None] * 3),
        ("localization.txt.gz", gzip.compress(LINES.encode(), mtime=0), [None] * 3),
        ("spaces.txt", LINES.replace(",", " "), [None] * 3),
        ("tabs.tsv", HEADED.replace(",", "\t"), ["fish", "cat", "fish"]),
        ("boxes.csv", HEADED, ["fish", "cat", "fish"]),
        ("windows.csv", "\ufeff" + HEADED.replace("\n", "\r\n"), ["fish", "cat", "fish"]),
        ("instances.json", json.dumps(COCO), ["fish", "cat", "fish"]),
        ("bbox.tgz", packed({f"val/{name}": text for name, text in ANNOTATIONS.items()}), None),
        ("bbox.tar", packed(ANNOTATIONS, "w"), None),
    ],
)
def test_formats_are_known_by_their_content(tmp_path, name, content, kinds):
    found = read_boxes(written(tmp_path / name, content))
    assert [box.corners for box in found] == CORNERS
    assert [box.kind for box in found] == (kinds or ["n01440764", "n01443537", "n01440764"])
    images = with_boxes(Photos(), tmp_path / name)
    assert [images.load(position).boxes.tolist() for position in range(3)] == [
        [[1, 2, 3, 4], [0, 0, 9, 7]],
        [[5, 5, 5, 5]],
        [],
    ]


def test_a_folder_of_annotations(tmp_path):
    for name, text in ANNOTATIONS.items():
        written(tmp_path / "Annotations" / name, text)
    assert [box.corners for box in read_boxes(tmp_path / "Annotations")] == CORNERS
    assert [box.corners for box in read_boxes(tmp_path / "Annotations" / "b.xml")] == CORNERS[2:]


def test_the_columns_that_tensorflow_writes(tmp_path):
    (box,) = read_boxes(written(tmp_path / "boxes.csv", TENSORFLOW))
    assert (box.image, box.corners, box.kind) == ("a.png", (1, 2, 3, 4), "fish")


def test_voc_counts_pixels_from_one(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    text = annotation(("cat", 1, 1, 10.7, 8), database="The VOC2007 Database").replace("</object>", part)
    (box,) = read_boxes(written(tmp_path / "a.xml", text))
    assert (box.corners, box.kind) == ((0, 0, 9, 7), "cat")


def test_real_boxes(shared):
    from xkd_eval import open_dataset

    root = shared / "data" / "imagenet_val"
    images = with_boxes(open_dataset(root / "val"), root / "localization.txt.gz")
    assert images.load(2).boxes.tolist() == [[213, 0, 345, 498]]
    assert images.boxes_from.unknown == 49999 + 1 - 11


def test_boxes_of_the_labels_class_count(tmp_path):
    path = written(tmp_path / "boxes.csv", HEADED)

    def boxes(*labels, kind, classes=None):
        images = with_boxes(Photos(labels=list(labels), kind=kind, classes=classes), path)
        return [images.load(position).boxes.tolist() for position in range(2)]

    fish, cat = [[[1, 2, 3, 4]], [[5, 5, 5, 5]]], [[[0, 0, 9, 7]], []]
    assert boxes("fish", "fish", None, kind="name") == fish
    assert boxes("cat", "cat", None, kind="name") == cat
    assert boxes(0, 0, None, kind="index", classes=("Fish, Fishes", "Cat")) == fish
    assert boxes(1, 1, None, kind="index", classes=("Fish, Fishes", "Cat")) == cat


def test_indices_of_ilsvrc_are_wordnet_ids(tmp_path):
    name = "ILSVRC2012_val_00000001"
    path = written(tmp_path / "boxes.csv", f"ImageId,PredictionString\n{name},n01440764 1 2 3 4 n01443537 0 0 9 7\n")
    images = with_boxes(Photos([f"{name}.JPEG"], [1], "index"), path)
    assert images.load(0).boxes.tolist() == [[0, 0, 9, 7]]


def test_other_classes_count_where_they_tell_nothing_apart(tmp_path):
    images = Photos(labels=["dog", "dog", None], kind="name")
    one = written(tmp_path / "one.csv", "image,x0,y0,x1,y1,class\na,1,2,3,4,7\nb,5,5,5,5,8\n")
    assert with_boxes(images, one).load(0).boxes.tolist() == [[1, 2, 3, 4]]
    several = written(tmp_path / "several.csv", HEADED)
    said = r"^boxes: '.*several.csv' gives 'a.png' objects of the classes cat, fish, and none of its classes is among"
    with pytest.raises(XkdError, match=said):
        with_boxes(images, several)


def test_images_of_one_name_are_told_by_their_folders(tmp_path):
    images = Photos(["x/1.png", "y/1.png"])
    path = written(tmp_path / "boxes.csv", "val/y/1.png,1,2,3,4\n")
    with pytest.raises(XkdError, match=r"names 'val/y/1.png', which may be 'x/1.png' or 'y/1.png'; write names"):
        with_boxes(images, path)
    found = with_boxes(images, written(path, "y/1.png,1,2,3,4\n"))
    assert [len(found.load(position).boxes) for position in range(2)] == [0, 1]


def test_a_set_with_boxes_is_one(tmp_path):
    path = written(tmp_path / "boxes.csv", LINES)
    images = with_boxes(Photos(), path)
    assert (images.has_boxes, images.ids, images.digest()) == (True, Photos().ids, Photos().digest())
    copied = pickle.loads(pickle.dumps(images))
    assert copied.boxes_from == images.boxes_from
    np.testing.assert_array_equal(copied.load(0).boxes, images.load(0).boxes)
    part = limit(images, 2, 0)
    assert (part.has_boxes, part.boxes_from) == (True, images.boxes_from)
    other = with_boxes(Photos(), written(path, LINES.replace("9,7", "9,6")))
    assert other.boxes_from.digest != images.boxes_from.digest
    more = with_boxes(Photos(), written(path, LINES + "else.png,0,0,1,1\n"))
    assert (more.boxes_from.digest, more.boxes_from.unknown) == (images.boxes_from.digest, 1)


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>'


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", r"has no boxes; expected LOC_val_solution.csv, "),
        ("a.csv", "image,x0,y0,x1,y1\n", r"has no boxes; expected"),
        ("a.csv", "ImageId,PredictionString\n", r"has no boxes; expected"),
        ("a.xml", annotation(), r"has no boxes; expected"),
        ("a.csv", "a,1,2,3\n", r"begins with 'a,1,2,3'; expected LOC"),
        ("a.csv", "image,x0,y0,x1\na,1,2,3\n", r"begins with 'image,x0,y0,x1'; expected"),
        ("a.csv", "image,x0,y0,x1,y1,x0\na,1,2,3,4,5\n", r"begins with .*; expected"),
        (
            "a.csv",
            "a,1,2,3,4\nb,1,2,3\n",
            r"line 2 of .* is 'b,1,2,3' \(4 fields where the first line has 5\); expected",
        ),
        (
            "a.csv",
            "a,1,2,3,4\nb,1,2.5,3,4\n",
            r"line 2 of .* \('2.5' is no pixel\); expected image,x0,y0,x1,y1 in whole",
        ),
        ("a.csv", "a,1,2,3,4\nb,1,nan,3,4\n", r"line 2 of "),
        ("a.csv", "a,1,2,3,4\nb,1,1e400,3,4\n", r"line 2 of "),
        ("a.csv", "a,1,2,3,4\nb,x,2,3,4\n", r"line 2 of .* \(could not convert"),
        ("a.csv", "a,-1,2,3,4\n", r"line 1 of .*: the box -1 2 3 4 found; expected x0 y0 x1 y1, none below 0"),
        ("a.csv", "a,5,2,3,4\n", r"line 1 of .*: the box 5 2 3 4 found; .*the second pair not before the first"),
        ("a.csv", 'a,1,2,3,4\n"b,1,2,3,4\n', r"line 2 of .* cannot be read"),
        ("a.csv", b"a,1,2,3,4\n\xff\xfe", r"cannot be read \('utf-8' codec"),
        (
            "a.csv",
            "ImageId,PredictionString\na,n01440764 1 2 3\n",
            r"line 2 of .* \(not five words a box\); expected Im",
        ),
        ("a.csv", "ImageId,PredictionString\na,fish 1 2 3 4\n", r"line 2 of .* \(not five words"),
        ("a.csv", "else.png,1,2,3,4\n", r"names none of the 3 images of photos: it names else.png, ..., and they are"),
        ("a.gz", gzip.compress(LINES.encode(), mtime=0)[:-9], r"cannot be read \(Compressed file ended"),
        ("a.gz", b"\x1f\x8bnothing", r"cannot be read"),
        ("a.tar", packed(ANNOTATIONS, "w")[:1200], r"cannot be read as a tar of annotation XML"),
        ("a.tgz", packed(ANNOTATIONS)[:-20], r"cannot be read"),
        ("a.tar", packed({"a.txt": "x"}, "w"), r"has no boxes"),
        ("a.xml", "<annotation><object></object></annotation>", r"the annotation of .* is no annotation \(KeyError"),
        ("a.xml", "<html></html>", r"is no annotation \(no annotation in it\)"),
        ("a.xml", "<annotation>", r"is no annotation \(no element found"),
        ("a.xml", annotation(("cat", 1, 2, "inf", 4)), r"is no annotation \(inf is no pixel\)"),
        ("a.xml", BOMB, r"is no annotation \(a document type, whose entities are not read\)"),
        ("a.json", "{", r"is no JSON"),
        ("a.json", "[]", r"^boxes: '.*a.json': "),
        ("a.json", json.dumps({**COCO, "images": []}), r"annotation 1 of .* is "),
        ("a.json", json.dumps({**COCO, "images": COCO["images"] * 2}), r"has two images or two categories of one id"),
        ("a.json", json.dumps(COCO).replace("[1.2, 2.0, 2.1, 2.7]", "[1, 2, -1, 2]"), r"annotation 1 .*no length"),
        ("a.json", json.dumps(COCO).replace("[1.2, 2.0, 2.1, 2.7]", "[1, 2]"), r"annotations.0.bbox"),
    ],
)
def test_what_is_no_file_of_boxes(tmp_path, name, content, said):
    with pytest.raises(XkdError, match=said) as caught:
        with_boxes(Photos(), written(tmp_path / name, content))
    assert str(caught.value).startswith("boxes: ")
    assert "\n" not in str(caught.value)


def test_missing_and_endless_files(tmp_path, monkeypatch):
    with pytest.raises(XkdError, match=r"^boxes: '.*none' cannot be read \(No such file"):
        read_boxes(tmp_path / "none")
    with pytest.raises(XkdError, match=r"^boxes: '.*' has no boxes"):
        read_boxes(tmp_path)
    monkeypatch.setattr(formats, "LARGEST", 20)
    with pytest.raises(XkdError, match=r"cannot be read \(more than 20 bytes\)"):
        read_boxes(written(tmp_path / "a.gz", gzip.compress(LINES.encode(), mtime=0)))
    monkeypatch.setattr(formats, "LARGEST_XML", 20)
    with pytest.raises(XkdError, match=r"'a.xml' has .* bytes, more than 20"):
        read_boxes(written(tmp_path / "a.tar", packed(ANNOTATIONS, "w")))
    with pytest.raises(XkdError, match=r"^boxes: '.*a.xml' cannot be read \(.* bytes, more than 20\)"):
        read_boxes(written(tmp_path / "more" / "a.xml", ANNOTATIONS["a.xml"]).parent)
    monkeypatch.setattr(formats, "LARGEST_TAR", 20)
    with pytest.raises(XkdError, match=r"more than 20 bytes"):
        read_boxes(tmp_path / "a.tar")


def test_a_file_of_objects_may_be_as_large_as_one_of_labels(tmp_path):
    content = json.dumps(COCO).encode() + b" " * 2**26
    assert len(read_boxes(written(tmp_path / "instances.json", content))) == 3


def test_a_box_beyond_its_image(tmp_path):
    images = with_boxes(Photos(), written(tmp_path / "boxes.csv", LINES + "c.png,0,0,10,7\n"))
    assert images.load(0).boxes.shape == (2, 4)
    said = r"^boxes: line 4 of '.*boxes.csv': the box 0 0 10 7 goes beyond c.png, which is 10x8; expected pixels count"
    with pytest.raises(XkdError, match=said):
        images.load(2)
