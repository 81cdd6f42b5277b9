import pytest

from tests.datasets.files import write_image
from tests.datasets.stand_ins import stand_in
from xkd_eval.datasets import open_dataset, resolve_labels
from xkd_eval.errors import XkdError


def test_class_folders(tmp_path):
    for name in ("dog", "cat"):
        write_image(tmp_path / "pets" / name / "a.png")
    dataset = open_dataset(str(tmp_path / "pets"))
    assert (dataset.name, dataset.label_kind, dataset.classes) == ("pets", "name", ("cat", "dog"))
    assert dataset.labels == ["cat", "dog"]


def test_class_folders_named_by_numbers_are_indices(tmp_path):
    for index in (0, 1, 2, 10):
        write_image(tmp_path / str(index) / "a.png")
    dataset = open_dataset(str(tmp_path))
    assert dict(zip(dataset.ids, resolve_labels(dataset, stand_in(11)), strict=True))["10/a.png"] == 10


def test_flat_folder_keeps_what_is_no_image_for_the_summary(tmp_path):
    for name in ("b.png", "a.jpg"):
        write_image(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.md").write_text("words")
    dataset = open_dataset(str(tmp_path / "photos"))
    assert dataset.ids == ["a.jpg", "b.png", "notes.md"]
    assert (dataset.name, dataset.label_kind, dataset.has_masks) == ("photos", "none", False)


def test_one_image(tmp_path):
    dataset = open_dataset(str(write_image(tmp_path / "a.png", colour=(1, 2, 3))))
    assert dataset.ids == ["a.png"]
    assert dataset.load(0).image.getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize("split", ["val", "validation", "Validation", "test"])
def test_the_held_out_folder_by_any_name(tmp_path, split):
    write_image(tmp_path / "set" / split / "cat" / "held out.png")
    write_image(tmp_path / "set" / "train" / "cat" / "a.png")
    (tmp_path / "set" / "devkit").mkdir()
    assert open_dataset(str(tmp_path / "set")).ids == ["cat/held out.png"]
    assert open_dataset(str(tmp_path / "set"), split="train").ids == ["cat/a.png"]


def test_val_comes_before_test(tmp_path):
    for split in ("val", "test"):
        write_image(tmp_path / split / "n01440764" / f"{split}.png")
    assert open_dataset(str(tmp_path)).ids == ["n01440764/val.png"]
    assert open_dataset(str(tmp_path), split="test").ids == ["n01440764/test.png"]


def test_training_images_never_stand_in_for_held_out_ones(tmp_path):
    write_image(tmp_path / "train" / "n01440764" / "a.png")
    with pytest.raises(XkdError, match="holds train and no val or validation or valid or test"):
        open_dataset(str(tmp_path))


def test_embedded_and_its_splits():
    assert open_dataset("embedded").name == "embedded-test"
    assert open_dataset("embedded", split="train").name == "embedded-train"
    assert open_dataset("embedded:train").name == "embedded-train"
    with pytest.raises(XkdError, match="split"):
        open_dataset("embedded:nothing")


def test_missing_path(tmp_path):
    with pytest.raises(XkdError, match=r"data: .*gone' does not exist"):
        open_dataset(str(tmp_path / "gone"))


def test_unknown_split(tmp_path):
    with pytest.raises(XkdError, match="split: 'dev' is unknown; expected train, val, test"):
        open_dataset(str(tmp_path), split="dev")


def test_what_is_not_recognised_lists_what_was_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "notes.txt").write_text("words")
    (tmp_path / "a.docx").write_bytes(b"words")
    for path in (tmp_path / "empty", tmp_path / "words", tmp_path / "a.docx"):
        with pytest.raises(XkdError, match="is not recognised; looked for one folder per WordNet id") as caught:
            open_dataset(str(path))
        for form in ("ILSVRC2012_val", "Parquet", "*.tar", "gtsegs_ijcv.mat", "mask PNGs", "CIFAR", "folder per class"):
            assert form in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", ["n01440764", "cat"])
def test_class_folders_without_an_image(tmp_path, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "notes.txt").write_text("words")
    with pytest.raises(XkdError, match="has no images; looked for one folder per WordNet id"):
        open_dataset(str(tmp_path))


def test_labels_for_what_has_labels_of_its_own(tmp_path):
    write_image(tmp_path / "n01440764" / "a.png")
    (tmp_path / "list.csv").write_text("a.png,3\n")
    with pytest.raises(XkdError, match=r"labels: .* is no flat folder of images"):
        open_dataset(str(tmp_path), labels=tmp_path / "list.csv")
