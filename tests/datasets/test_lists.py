"""Lists of images, and the parts of data sets of every layout."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets.files import encoded, plain, write_image
from xkd_eval.datasets import ImageDataset, open_dataset, open_parts, register_dataset
from xkd_eval.datasets.base import DATASETS
from xkd_eval.datasets.lists import read_list
from xkd_eval.errors import XkdError

ROWS = [("a.png", "cat", "train"), ("sub/b.png", "dog", "validation"), ("c, d.png", "cat", "test")]


@pytest.fixture
def folder(tmp_path):
    for k, (name, _, _) in enumerate(ROWS):
        write_image(tmp_path / name, colour=(k, 0, 0))
    return tmp_path


def write(folder, lines, name="list.csv", newline="\n", start=b""):
    (folder / name).write_bytes(start + newline.join(lines).encode())
    return folder / name


CSV = ["split,path,label,width", "train,a.png,cat,8", "Validation,./sub/b.png,dog,8", 'test,"c, d.png",cat,8']
TABLE = {"path": [row[0] for row in ROWS], "label": [row[1] for row in ROWS], "split": [row[2] for row in ROWS]}


def parquet(folder, table, name="list.parquet"):
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), folder / name)
    return folder / name


FORMS = {
    "csv": lambda folder: write(folder, CSV),
    "crlf and a byte order mark": lambda folder: write(folder, CSV, newline="\r\n", start=b"\xef\xbb\xbf"),
    "empty lines": lambda folder: write(folder, [CSV[0], "", *CSV[1:], "", ""]),
    "semicolons": lambda folder: write(folder, ["File;Set;Class", *(f"{p};{s};{c}" for p, c, s in ROWS)]),
    "tsv": lambda folder: write(folder, ["filename\tlabel\tsubset", *map("\t".join, ROWS)], "list.tsv"),
    "parquet": lambda folder: parquet(folder, TABLE),
    "categories": lambda folder: parquet(
        folder, pa.table({name: pa.array(column).dictionary_encode() for name, column in TABLE.items()})
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_list_of_any_form(folder, form):
    path = FORMS[form](folder)
    parts = open_parts(path)
    assert {part: (dataset.ids, dataset.labels) for part, dataset in parts.items()} == {
        "train": (["a.png"], ["cat"]),
        "val": (["sub/b.png"], ["dog"]),
        "test": (["c, d.png"], ["cat"]),
    }
    assert open_dataset(path).ids == ["sub/b.png"]
    assert open_dataset(path, split="test").ids == ["c, d.png"]
    assert open_dataset(path, split="train").load(0).image.getpixel((0, 0)) == (0, 0, 0)
    assert parts["test"].load(0).image.getpixel((0, 0)) == (2, 0, 0)
    assert (parts["val"].name, parts["val"].label_kind, parts["val"].classes) == ("list-val", "name", ("dog",))


def test_a_list_without_parts_and_with_indices(folder):
    path = write(folder, ["image,target", "a.png,1", "sub/b.png,0"])
    dataset = open_dataset(path)
    assert (dataset.ids, dataset.labels, dataset.label_kind) == (["a.png", "sub/b.png"], [1, 0], "index")
    assert open_parts(path) == {}
    ints = parquet(folder, {"path": ["a.png"], "label": [3]})
    assert (open_dataset(ints).labels, open_dataset(ints).label_kind) == ([3], "index")


def test_numbers_with_zeros_around_them(folder):
    """A table's program writes whole numbers of a column with gaps as 3.0; 007 is what a class is called."""
    assert open_dataset(write(folder, ["path,label", "a.png,3.0", "sub/b.png,12.00"])).labels == [3, 12]
    assert open_dataset(parquet(folder, {"path": ["a.png"], "label": [3.0]})).labels == [3]
    padded = open_dataset(write(folder, ["path,label,split", "a.png,007,train", "sub/b.png,12,val"]), split="val")
    assert (padded.labels, padded.label_kind) == (["12"], "name")
    assert open_dataset(write(folder, ["path,label", "a.png,01", "sub/b.png,00"])).labels == [1, 0], "as folders are"
    with pytest.raises(XkdError, match=r"has the label '2\.5', and 1 others are class indices"):
        open_dataset(write(folder, ["path,label", "a.png,3", "sub/b.png,2.5"]))


def test_one_image_under_two_paths_is_one(folder):
    with pytest.raises(XkdError, match="each image once, and this one is in line 2 too"):
        open_dataset(write(folder, ["path,label", "a.png,1", f"{folder / 'a.png'},1"]))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label", "gone.png,cat"], r"line 2 of '.*list\.csv': path: 'gone\.png' found; expected a file, found"),
        (["path,label", "sub,cat"], "line 2 of .*: path: 'sub' found; expected a file"),
        (["path,label", "a.png,cat", "sub/b.png, "], "line 3 of .*: label: '' found; expected a label"),
        (["path,label", ",cat"], "line 2 of .*: path: '' found; expected a path"),
        (
            ["path,label,split", "a.png,cat,dev"],
            "line 2 of .*: split: 'dev' found; expected one of train, training, val",
        ),
        (["path,label,split", "a.png,cat,"], "line 2 of .*: split: '' found"),
        (
            ["path,label,split", "a.png,cat,train", "./a.png,cat,test"],
            "line 3 of .*: path: 'a.png' .* each image once, and this one is in test, and in line 2 in train",
        ),
        (["path,label", "a.png,cat", "", "a.png,dog"], "line 4 of .*: path: .* in line 2 too: remove one"),
        (["path,label", "a.png,cat,8"], "line 2 of .* has 3 fields, and its header 2"),
        (["path,label", '"a.png,cat'], "line 2 of .* cannot be read"),
        (["path,label", "a.png,1", "sub/b.png,2", "c,3"], "line 4 of .*: path: 'c' found"),
        (
            ["path,label", "a.png,1", "sub/b.png,2", '"c, d.png",cat'],
            "line 4 of .* has the label 'cat', and 2 others are",
        ),
        (["path,kind", "a.png,cat"], r"has the columns 'path', 'kind' and no label; .*may be called class, target"),
        (["a.png,cat"], "has the columns 'a.png', 'cat' and no path; expected a header"),
        (
            ["path,file,label", "a.png,a.png,cat"],
            "has the columns 'path' and 'file', which both say the path; keep one",
        ),
        (["path,label"], "lists no image"),
        ([], "and no path"),
    ],
)
def test_a_fault_names_its_row_and_column(folder, lines, message):
    with pytest.raises(XkdError, match=f"^data: .*{message}") as caught:
        open_dataset(write(folder, lines), split="train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a.png", "gone.png"], "label": ["cat", "dog"]}, "row 2 of .*: path: 'gone.png' found"),
        ({"path": ["a.png"], "label": [0.5]}, "row 1 of .*: label: 0.5 found; expected a text or a whole number"),
        ({"path": ["a.png", None], "label": ["cat", "dog"]}, "row 2 of .*: path: '' found; expected a path"),
    ],
)
def test_a_fault_of_parquet_names_its_row_and_column(folder, columns, message):
    with pytest.raises(XkdError, match=f"^data: {message}"):
        open_dataset(parquet(folder, columns))


def test_text_that_is_none(folder):
    (folder / "list.csv").write_bytes(b"path,label\n\xff.png,cat\n")
    with pytest.raises(XkdError, match=r"cannot be read as a list .*expected text in UTF-8"):
        open_dataset(folder / "list.csv")


def test_parquet_with_images_stays_what_it_is(folder):
    path = parquet(folder, {"image": [encoded(plain())], "path": ["gone.png"], "label": ["cat"]})
    assert open_dataset(parquet(folder, {"image": [encoded(plain())], "label": [0]}, "b.parquet")).ids == ["b/00000-0"]
    assert open_dataset(path).load(0).image.size == (8, 6)


def test_a_long_list_is_read_whole(tmp_path):
    lines = [f"{number}.png,{number % 100},{('train', 'val', 'test')[number % 3]}" for number in range(50_000)]
    path = write(tmp_path, ["path,label,split", *lines])
    parts = read_list(path).parts
    assert [len(rows) for rows in parts.values()] == [16_667, 16_667, 16_666]


def test_a_list_may_hold_files_of_any_name(tmp_path):
    write_image(tmp_path / "a.png").rename(tmp_path / "photo")
    assert open_dataset(write(tmp_path, ["path,label", "photo,cat"])).load(0).image.size == (8, 6)


def test_the_parts_of_folders(tmp_path):
    for part in ("train", "validation", "test"):
        write_image(tmp_path / "set" / part / "cat" / f"{part}.png")
    assert {part: dataset.ids for part, dataset in open_parts(tmp_path / "set").items()} == {
        "train": ["cat/train.png"],
        "val": ["cat/validation.png"],
        "test": ["cat/test.png"],
    }
    assert open_parts(tmp_path / "set" / "train") == {}
    for part in ("train", "val"):
        write_image(tmp_path / "imagenet" / "data" / part / "n01440764" / f"{part}.png")
    assert list(open_parts(tmp_path / "imagenet")) == ["train", "val"]
    (tmp_path / "words").mkdir()
    assert open_parts(tmp_path / "words") == {}


def test_the_parts_of_shards(tmp_path):
    for part in ("train", "validation", "test"):
        parquet(tmp_path, {"image": [encoded(plain())], "label": [0]}, f"{part}-00000-of-00001.parquet")
    parts = open_parts(tmp_path)
    assert {part: dataset.ids for part, dataset in parts.items()} == {
        "train": ["train-00000-of-00001/00000-0"],
        "val": ["validation-00000-of-00001/00000-0"],
        "test": ["test-00000-of-00001/00000-0"],
    }


def test_the_parts_of_named_sets(monkeypatch):
    DATASETS.names()  # ours, which would not be loaded again
    monkeypatch.setattr(DATASETS, "_known", dict(DATASETS._known))

    class Told(ImageDataset):
        def __init__(self, name):
            self.name, self.ids, self.labels = name, [name], [None]

        def load(self, position):
            raise NotImplementedError

        def content_hash(self, position):
            return self.name

    for name, maker in (
        ("three", lambda split: Told(split)),
        ("two", lambda split: Told("train" if split == "train" else "test")),
        ("one", lambda split: Told("all")),
        ("undivided", lambda: Told("all")),
    ):
        register_dataset(name)(maker)
    assert [list(open_parts(name)) for name in ("three", "two", "one", "undivided", "embedded", "embedded:val")] == [
        ["train", "test", "val"],
        ["train", "test"],
        [],
        [],
        ["train", "test"],
        [],
    ]
