import hashlib
import os

import pytest

from tests.datasets.files import write_image
from tests.datasets.stand_ins import stand_in
from xkd_eval.datasets import ImageDataset, open_dataset, resolve_labels
from xkd_eval.datasets.checks import checked
from xkd_eval.errors import UnreadableImageError, XkdError


def test_class_folders(tmp_path):
    for name in ("dog", "cat"):
        write_image(tmp_path / "pets" / name / "a.png")
    dataset = open_dataset(str(tmp_path / "pets"))
    assert (dataset.name, dataset.label_kind, dataset.classes) == ("pets", "name", ("cat", "dog"))
    assert dataset.labels == ["cat", "dog"]


@pytest.mark.parametrize("folders", [("0", "1", "2"), ("00", "01", "02"), tuple(map(str, range(11)))])
def test_class_folders_named_from_nought_on_are_indices(tmp_path, folders):
    for folder in folders:
        write_image(tmp_path / folder / "a.png")
    dataset = open_dataset(str(tmp_path))
    assert dataset.label_kind == "index"
    assert {image: int(image.partition("/")[0]) for image in dataset.ids} == dict(
        zip(dataset.ids, resolve_labels(dataset, stand_in(len(folders))), strict=True)
    )


@pytest.mark.parametrize("folders", [("1", "10", "2"), ("2010", "2012", "2014"), ("0", "00", "1"), ("0", "1", "x")])
def test_other_numbers_are_names(tmp_path, folders):
    for folder in folders:
        write_image(tmp_path / folder / "a.png")
    dataset = open_dataset(str(tmp_path))
    assert (dataset.label_kind, dataset.classes) == ("name", folders)
    assert resolve_labels(dataset, stand_in(3)) == [0, 1, 2]


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


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(XkdError, match=r"a\.tar' cannot be read \(a pipe or a device\)"):
        open_dataset(tmp_path / "a.tar")


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


def test_what_cannot_be_opened_is_in_the_list_all_the_same(tmp_path):
    for folder in ("flat", "classes/cat"):
        write_image(tmp_path / folder / "a.jpg")
        (tmp_path / folder / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
        (tmp_path / folder / "self.jpg").symlink_to(tmp_path / folder / "self.jpg")
        (tmp_path / folder / "folder.jpg").mkdir()
        write_image(tmp_path / folder / "folder.jpg" / "inner.jpg")
        os.mkfifo(tmp_path / folder / "pipe.jpg")
    reasons = ("No such file", "Is a directory", "a pipe or a device", "Too many levels")
    for folder, prefix in (("flat", ""), ("classes", "cat/")):
        dataset = open_dataset(str(tmp_path / folder))
        assert dataset.ids == [f"{prefix}{name}.jpg" for name in ("a", "folder", "gone", "pipe", "self")]
        for identifier, reason in zip(("gone", "folder", "pipe", "self"), reasons, strict=True):
            position = dataset.ids.index(f"{prefix}{identifier}.jpg")
            with pytest.raises(UnreadableImageError, match=rf"{identifier}\.jpg: .*{reason}"):
                dataset.load(position)
            if reason != "No such file":
                continue
            assert dataset.stored_sizes([position]) == [-1]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda root: (root / "cat" / "loop").symlink_to(root), "loop.* is a link to a folder that it lies in"),
        (lambda root: (root / "loop").symlink_to(root), "loop.* is a link to a folder that it lies in"),
        (lambda root: (root / "dog").symlink_to(root / "gone"), "dog' is a link that leads nowhere"),
        (lambda root: (root / "dog").symlink_to(root / "dog"), "dog' is a link that leads nowhere"),
        (lambda root: write_image(root / "b.png"), "holds images and 1 folders of images beside them .'cat'"),
        (lambda root: (root / "x.tar").write_bytes(EMPTY_TAR), "holds archives and 1 folders of images beside them"),
        (lambda root: (root / "x.parquet").touch(), "holds Parquet and 1 folders of images beside them"),
        (lambda root: cifar_files(root), "holds CIFAR's files and 1 folders of images beside them"),
        (lambda root: mask_folders(root), "holds images with masks and 1 folders of images beside them .'cat'"),
    ],
)
def test_what_would_leave_images_out_is_an_error(tmp_path, build, message):
    write_image(tmp_path / "set" / "cat" / "a.png")
    build(tmp_path / "set")
    with pytest.raises(XkdError, match=f"data: .*{message}") as caught:
        open_dataset(str(tmp_path / "set"))
    assert "\n" not in str(caught.value)


EMPTY_TAR = bytes(10240)


def mask_folders(root):
    for name in ("images", "masks"):
        (root / name).mkdir()


def cifar_files(root):
    for name in ("batches.meta", "test_batch"):
        (root / name).touch()


def test_images_beside_folders_of_classes_or_masks_are_an_error(tmp_path):
    for folder, what in (("n01440764", "class folders"), ("images", "images with masks")):
        for name in (f"{folder}/a.png", "masks/a.png" if folder == "images" else f"{folder}/b.png", "c.png"):
            write_image(tmp_path / what / name)
        with pytest.raises(XkdError, match=rf"holds {what} and 1 images beside them \('c\.png'\)"):
            open_dataset(tmp_path / what)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a-0.tar", "a-1.tar.gz"], r"a-1\.tar\.gz' cannot be read as a tar shard"),
        (["cifar-10-python.tar.gz", "cifar-100-python.tar.gz"], "several data sets .*; give the path of one"),
        (["gtsegs_ijcv.mat", "a.tar"], "several data sets .'gtsegs_ijcv.mat' and 'a.tar'"),
    ],
)
def test_archives_of_which_some_would_be_left_out(tmp_path, names, message):
    for name in names:
        (tmp_path / name).write_bytes(EMPTY_TAR if name.endswith(".tar") else b"\x1f\x8b" + bytes(1022))
    with pytest.raises(XkdError, match=message):
        open_dataset(tmp_path)


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", None, 3, b"x"])
def test_what_can_be_no_path(path):
    with pytest.raises(XkdError, match=r"^data: .*(cannot be looked at|does not exist|expected a text or a path)"):
        open_dataset(path)


def test_a_set_of_any_names_has_ids_that_can_be_written(tmp_path):
    names = [b"caf\xe9.png", b"caf\\xe9.png", b"new\nline.png", "caf\u00e9.png".encode()]
    for k, name in enumerate(names):
        path = write_image(tmp_path / "a.png", colour=(k, 0, 0))
        folder = tmp_path / "set" / os.fsdecode(b"\xff class")
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / os.fsdecode(name))
    dataset = open_dataset(str(tmp_path / "set"))
    ids = {r"caf\xe9.png": 0, r"caf\x5cxe9.png": 1, r"new\x0aline.png": 2, "caf\u00e9.png": 3}
    assert set(dataset.ids) == {rf"\xff class/{name}" for name in ids}
    assert dataset.labels == [r"\xff class"] * 4
    for position, identifier in enumerate(dataset.ids):
        assert dataset.load(position).image.getpixel((0, 0)) == (ids[identifier.partition("/")[2]], 0, 0)
    dataset.digest().encode()


def test_the_hash_of_a_photo_is_that_of_its_file(tmp_path):
    content = write_image(tmp_path / "set" / "a.png").read_bytes()
    dataset = open_dataset(str(tmp_path / "set"))
    assert dataset.content_hash(0) == dataset.load(0).content_hash == hashlib.sha256(content).hexdigest()[:32]
    assert dataset.stored_sizes() == [len(content)]


class Told(ImageDataset):
    """Ids and labels, as told."""

    name = "told"

    def __init__(self, ids, labels):
        self.ids, self.labels = ids, labels

    def load(self, position):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("ids", "labels", "message"),
    [
        (["a", "a"], [None] * 2, "data: told: the id 'a' stands for two images"),
        (["a", 3], [None] * 2, "data: told: the id 3 is no text"),
        (["\udce9"], [None], "data: told has ids that cannot be written"),
        (["a"], [None] * 2, "data: told has 2 labels for 1 images"),
    ],
)
def test_ids_that_tell_nothing_apart(ids, labels, message):
    with pytest.raises(XkdError, match=message):
        checked(Told(ids, labels))
