"""A folder that a training divides is opened again by the list that it leaves."""

import fsspec
import numpy as np
import pytest
from PIL import Image

import distill
from distill.data.listing import images_list
from distill.data.splits import open_splits
from distill.recipe.parse import parse_recipe
from tests.distill.conftest import values_of
from xkd_eval import open_dataset

STUDENT = {
    "architecture": "resnet8",
    "arguments": {"widths": [2, 2, 4, 4]},
    "preprocess": {"size": [16, 16]},
}


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("a cat", "dog, the"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(20):
            pixels = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.bmp")
    return tmp_path / "pets"


def test_the_list_opens_as_the_parts_of_the_training(folder, tmp_path):
    data = {"loader": "device", "path": str(folder), "test_split": 0.25, "val_split": 0.2}
    values = values_of(folder, data=data, student=STUDENT, batch_size=8, epochs=1)
    result = distill.train(values, tmp_path / "run", device="cpu")
    splits = open_splits(parse_recipe(values))
    for name in ("train", "val", "test"):
        part, listed = getattr(splits, name), open_dataset(tmp_path / "run" / "images.csv", split=name)
        assert [listed.content_hash(place) for place in range(len(listed))] == [
            part.dataset.content_hash(place) for place in range(len(part.labels))
        ]
        assert listed.labels == part.dataset.labels
    found = distill.evaluate({"it": result.path}, tmp_path / "run" / "images.csv")
    assert found.scores["it"].top1 == result.result["best"]["test_top1"]
    assert found.scores["it"].n_images == 10
    assert found.notes == ()
    whole = distill.evaluate({"it": result.path}, folder)
    (note,) = whole.notes
    assert note.startswith("it: it was trained on 24 of these 40 images; those that it was not trained on are the test")
    assert distill.evaluate({"it": result.path}, folder, split="train").notes == ()


def test_images_behind_a_url_are_listed_where_they_are_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XKD_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    for file in folder.rglob("*.bmp"):
        memory.pipe(f"/{file.relative_to(folder.parent)}", file.read_bytes())
    data = {"loader": "device", "path": "memory://pets", "test_split": 0.25}
    splits = open_splits(parse_recipe(values_of(folder, data=data, student=STUDENT, batch_size=8)))
    (tmp_path / "images.csv").write_text(images_list(splits))
    listed = open_dataset(tmp_path / "images.csv", split="train")
    assert all(identifier.endswith(".bmp") for identifier in listed.ids)
    assert [listed.content_hash(place) for place in range(30)] == [
        splits.train.dataset.content_hash(place) for place in range(30)
    ]
    memory.rm("/pets", recursive=True)


def test_folders_that_are_called_by_numbers_are_found_again(folder, tmp_path):
    """The folders' names are class names, and the list's texts look like indices."""
    for number, name in enumerate(sorted(path.name for path in folder.iterdir()), start=9):
        (folder / name).rename(folder / str(number))
    data = {"loader": "device", "path": str(folder), "test_split": 0.25}
    values = values_of(folder, data=data, student=STUDENT, batch_size=8, epochs=1)
    result = distill.train(values, tmp_path / "run", device="cpu")
    assert result.student().class_names == ("10", "9")
    found = distill.evaluate({"it": result.path}, tmp_path / "run" / "images.csv")
    assert found.scores["it"].loss == pytest.approx(result.result["last"]["test_loss"], rel=1e-6)


@pytest.mark.parametrize("names", [("1", "2"), ("001", "002"), ("1.0", "2.0")])
def test_a_list_whose_classes_are_numbers(folder, tmp_path, names):
    rows = ["path,label,split"]
    for name, called in zip(sorted(path.name for path in folder.iterdir()), names, strict=True):
        rows += [f'"{folder / name / f"{k}.bmp"}",{called},{"train" if k < 14 else "test"}' for k in range(20)]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    data = {"loader": "device", "path": str(tmp_path / "list.csv")}
    values = values_of(folder, data=data, student=STUDENT, batch_size=8, epochs=1)
    result = distill.train(values, tmp_path / "run", device="cpu")
    assert result.student().class_names == tuple(name.removesuffix(".0") for name in names)
    found = distill.evaluate({"it": result.path}, tmp_path / "list.csv")
    assert found.scores["it"].loss == pytest.approx(result.result["last"]["test_loss"], rel=1e-6)


def test_images_that_are_no_files_are_not_listed(cifar10):
    data = {"loader": "device", "path": str(cifar10), "val_split": 0.2}
    assert images_list(open_splits(parse_recipe(values_of(cifar10, data=data)))) is None
