"""Which images are trained on, select the epoch and are tested on, by what lies at a path."""

import csv

import numpy as np
import pytest
import yaml
from PIL import Image

from distill.data.splits import open_splits
from distill.recipe.parse import parse_recipe
from distill.runs.tables import Outcome, legend
from distill.training.train import train
from tests.distill.conftest import images_of, values_of
from xkd_eval.errors import XkdError


def write_parts(root, **parts):
    """Noise, one file an image: part=(("cat", 8), ("dog", 8)); "" puts the class folders into the root."""
    draw = np.random.default_rng(0)
    for part, classes in parts.items():
        for name, count in classes:
            folder = root / ("" if part == "whole" else part) / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{part}{number}.png")
    return root


def pets(count):
    return (("cat", count), ("dog", count))


def small(path, seed=0, **data):
    values = values_of(path, seed=seed, data={"loader": "device", "path": str(path), **data}, epochs=3, batch_size=4)
    values["student"] = {
        "architecture": "resnet8",
        "arguments": {"widths": [2, 2, 4, 4]},
        "preprocess": {"size": [16, 16]},
    }
    return parse_recipe(values)


@pytest.fixture
def whole(tmp_path):
    return write_parts(tmp_path / "pets", train=pets(8), val=pets(3), test=pets(4))


def ids_of(labelled):
    return labelled.dataset.ids


def test_validation_images_beside_test_images_select(whole, tmp_path):
    splits = open_splits(small(whole))
    assert ids_of(splits.val)[0] == "cat/val0.png"
    assert ids_of(splits.test)[0] == "cat/test0.png"
    assert (len(splits.train.labels), splits.val.labels) == (16, [0] * 3 + [1] * 3)
    result = train(small(whole), tmp_path / "run", device="cpu").result
    assert (result["best_on"], result["student"], result["train_images"]) == ("validation images", "best", 16)
    assert "the best one on validation images" in legend([Outcome("pets", result)])
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert max(float(row["val_top1"]) for row in rows) == result["best"]["val_top1"]
    assert not any("test_top1" in row for row in rows)
    assert result["origin"]["validated"]["content"]


def test_validation_images_alone_are_the_test_images(tmp_path):
    splits = open_splits(small(write_parts(tmp_path, train=pets(8), val=pets(3))))
    assert (splits.val, splits.val_from, splits.validated) == (None, None, None)
    assert ids_of(splits.test)[0] == "cat/val0.png"


def test_a_run_is_of_its_validation_images(whole, tmp_path):
    train(small(whole), tmp_path / "run", device="cpu")
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(whole / "val" / "cat" / "val0.png")
    with pytest.raises(
        XkdError, match="holds a run on other validation images, which differ in names, labels or sizes"
    ):
        train(small(whole), tmp_path / "run", device="cpu")


def test_a_fraction_is_not_held_out_where_there_are_validation_images(whole):
    with pytest.raises(XkdError, match=r"^val_split: .*pets' has validation images of its own, which select the epoch"):
        open_splits(small(whole, val_split=0.25))


@pytest.mark.parametrize(("part", "other"), [("val", "test"), ("train", "val")])
def test_parts_that_are_one(tmp_path, part, other):
    write_parts(tmp_path, train=pets(8), val=pets(3), test=pets(3))
    for name in ("cat", "dog"):
        for file in [*(tmp_path / other / name).iterdir()]:
            file.unlink()
        for file in (tmp_path / part / name).iterdir():
            (tmp_path / other / name / file.name).write_bytes(file.read_bytes())
    with pytest.raises(
        XkdError, match=r"data: the (training|validation) and the (validation|test) images of .* the same"
    ):
        open_splits(small(tmp_path))


def test_test_images_are_split_off_first_whatever_the_seed(tmp_path):
    write_parts(tmp_path, whole=(("cat", 20), ("dog", 10)))
    splits = [open_splits(small(tmp_path, seed, test_split=0.2, val_split=0.25)) for seed in (0, 1)]
    for found in splits:
        assert (found.test.labels, found.val.labels) == ([0] * 4 + [1] * 2, [0] * 4 + [1] * 2)
        assert len({*ids_of(found.train), *ids_of(found.val), *ids_of(found.test)}) == 30
        assert found.val_from == "held-out training images"
    assert ids_of(splits[0].test) == ids_of(splits[1].test)
    assert ids_of(splits[0].val) != ids_of(splits[1].val)
    sampled = open_splits(small(tmp_path, test_split=0.2, images=12))
    assert (ids_of(sampled.test), len(sampled.train.labels)) == (ids_of(splits[0].test), 12)
    assert sampled.tested == splits[0].tested
    assert sampled.trained != open_splits(small(tmp_path, test_split=0.3, images=12)).trained


def test_a_class_of_one_image_is_trained_on(tmp_path):
    write_parts(tmp_path, whole=(("cat", 9), ("dog", 9), ("emu", 1)))
    splits = open_splits(small(tmp_path, test_split=0.25, val_split=0.25))
    assert splits.train.labels.count(2) == 1
    assert set(splits.test.labels) == set(splits.val.labels) == {0, 1}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": pets(8), "test": pets(3)}, "has test images of its own to test on; leave it out, or set it to 0"),
        ({"train": pets(8), "val": pets(3)}, "has validation images of its own to test on"),
    ],
)
def test_a_set_with_test_images_is_not_split(tmp_path, parts, message):
    with pytest.raises(XkdError, match=f"^test_split: .*{message}"):
        open_splits(small(write_parts(tmp_path, **parts), test_split=0.2))


def test_a_set_of_one_part_says_what_splits_it(tmp_path):
    with pytest.raises(XkdError, match=r"^data: .*holds one part only; .*or give `test_split`, the fraction"):
        open_splits(small(write_parts(tmp_path / "whole", whole=pets(4))))
    train_only = write_parts(tmp_path / "part", train=pets(4))
    with pytest.raises(XkdError, match=r"^data: .*holds training images only; .*`test_split`"):
        open_splits(small(train_only))
    assert len(open_splits(small(train_only, test_split=0.25)).test.labels) == 2
    with pytest.raises(XkdError, match=r"test_split: 0.01 of 8 training images leaves an empty split"):
        open_splits(small(train_only, test_split=0.01))


def test_a_training_on_a_list(tmp_path):
    labels = np.arange(40) % 10
    lines = ["path,label,split"]
    for number, (image, label) in enumerate(zip(images_of(labels, seed=0), labels, strict=True)):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,class {label},{'train' if number < 20 else 'val' if number < 30 else 'test'}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    result = train(small(tmp_path / "list.csv"), tmp_path / "run", device="cpu").result
    assert (result["best_on"], result["train_images"]) == ("validation images", 20)


@pytest.mark.parametrize(
    ("train_classes", "test_classes", "message"),
    [
        (
            ["cat", "dog"],
            ["Kat", "dog"],
            r"2 test images of .* are of classes .*: 'Kat' \(the training images have 'cat'",
        ),
        (
            ["cat", "dog"],
            ["Cats", "Dogs"],
            r"4 test images of .*: 'Cats' \(the training images have 'cat'\), 'Dogs' \(",
        ),
        (["Cat", "cat", "dog"], ["CAT", "dog"], r"2 test images of .*: 'CAT' \(the training images have 'Cat'\)"),
        (
            ["0", "1", "2"],
            ["cat", "dog", "emu"],
            r"6 test images of .*: 'cat' \(the training images have '0' and '1', ...",
        ),
        (["cat", "dog"], ["0", "1"], r"4 test images of .*: '0' \(the training images have 'cat' and 'dog', ..."),
    ],
)
def test_classes_that_only_test_images_have_are_named_with_the_nearest(tmp_path, train_classes, test_classes, message):
    write_parts(tmp_path, train=[(name, 2) for name in train_classes], test=[(name, 2) for name in test_classes])
    with pytest.raises(XkdError, match=f"^data: {message}"):
        open_splits(small(tmp_path))


@pytest.mark.parametrize(
    ("train_classes", "test_classes", "labels"),
    [
        (["Cat", "cat", "dog"], ["Cat", "cat", "dog"], [0, 1, 2]),
        (["Tabby cat", "dog"], ["tabby_cat", "Dog"], [1, 0]),
        (["a", "b", "c"], ["b"], [1]),
        (["00", "01", "02"], ["2"], [2]),
        (["0", "2", "5"], ["0", "5"], [0, 2]),
        (["0", "2", "5"], ["0"], [0]),
    ],
)
def test_classes_are_found_by_what_they_are_called(tmp_path, train_classes, test_classes, labels):
    write_parts(tmp_path, train=[(name, 2) for name in train_classes], test=[(name, 1) for name in test_classes])
    assert open_splits(small(tmp_path)).test.labels == labels


def test_a_class_without_a_training_image_is_said(tmp_path):
    write_parts(tmp_path, train=(*pets(4), ("emu", 0)), test=pets(2))
    notes = []
    train(small(tmp_path), tmp_path / "run", device="cpu", progress=lambda point: notes.extend(point.notes))
    assert notes == ["1 of 3 classes have no training image, so nothing trains them: 'emu'"]
    (tmp_path / "train" / "emu").rmdir()
    splits = open_splits(small(tmp_path))
    assert (splits.classes.count, splits.notes) == (2, ())


def test_a_sample_keeps_each_class(tmp_path):
    write_parts(tmp_path, train=(("cat", 30), ("dog", 1), ("emu", 1)), test=pets(2))
    assert sorted(set(open_splits(small(tmp_path, images=4)).train.labels)) == [0, 1, 2]


def test_the_command_splits_test_images_off(tmp_path, xkd_distill):
    folder = write_parts(tmp_path / "pets", whole=pets(10))
    recipe = small(folder).model_dump(mode="json")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"recipe": recipe | {"epochs": 1}}))
    code, _, error = xkd_distill("train", "mine.yaml")
    assert (code, "or give --test-split, the fraction" in error) == (2, True)
    assert xkd_distill("train", "mine.yaml", "--test-split", "0.2", "--device", "cpu")[0] == 0
