import hashlib
import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.datasets.files import encoded, noise, plain
from tests.datasets.stand_ins import stand_in
from xkd_eval.datasets import open_dataset, parquet, resolve_labels
from xkd_eval.errors import UnreadableImageError, XkdError


def write(path, images, labels, *, column="image", label="label", paths=None, metadata=None, row_group_size=3):
    paths = paths or [None] * len(images)
    rows = [{"bytes": content, "path": name} for content, name in zip(images, paths, strict=True)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({column: pa.array(rows, kind), label: labels})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=row_group_size)
    return path


def hub_metadata(column, names):
    return {"huggingface": json.dumps({"info": {"features": {column: {"names": names, "_type": "ClassLabel"}}}})}


def pixel(dataset, position):
    return dataset.load(position).image.getpixel((0, 0))


@pytest.fixture
def colours():
    """Ten images, image k all (k, 2k, 3k)."""
    return [encoded(plain((k, 2 * k, 3 * k))) for k in range(10)]


def test_rows_in_any_order(tmp_path, colours):
    path = write(tmp_path / "a.parquet", colours, list(range(10)))
    dataset = open_dataset(str(path))
    for position in [0, 1, 5, 9, 2, 9, 0, 4, 3]:
        assert pixel(dataset, position) == (position, 2 * position, 3 * position)
    assert dataset.labels == list(range(10))
    assert dataset.label_kind == "index"


def test_rows_in_any_order_when_a_group_is_read_in_pieces(tmp_path, colours, monkeypatch):
    monkeypatch.setattr(parquet, "_BYTES_AT_ONCE", 1)
    dataset = open_dataset(str(write(tmp_path / "a.parquet", colours, list(range(10)), row_group_size=10)))
    for position in [3, 4, 9, 0, 0, 7, 2]:
        assert pixel(dataset, position) == (position, 2 * position, 3 * position)


def test_shards_are_joined_in_order_and_splits_kept_apart(tmp_path, colours):
    for split, start in (("train", 0), ("validation", 4)):
        for shard in range(2):
            rows = slice(start + 2 * shard, start + 2 * shard + 2)
            name = f"{split}-{shard:05d}-of-00002.parquet"
            write(tmp_path / "hub" / "data" / name, colours[rows], list(range(10))[rows])
    dataset = open_dataset(str(tmp_path / "hub"))
    assert dataset.labels == [4, 5, 6, 7]
    assert [pixel(dataset, position)[0] for position in range(4)] == [4, 5, 6, 7]
    assert dataset.name == "hub-validation"
    assert open_dataset(str(tmp_path / "hub"), split="train").labels == [0, 1, 2, 3]
    assert len(set(dataset.ids)) == 4


def test_a_folder_with_another_split_only(tmp_path, colours):
    write(tmp_path / "train-00000-of-00001.parquet", colours, [0] * 10)
    with pytest.raises(XkdError, match=r"data: .* holds train and no val or validation"):
        open_dataset(str(tmp_path))


def test_class_names_of_hub_metadata(tmp_path, colours):
    metadata = hub_metadata("fine_label", ["cat", "dog"])
    path = write(tmp_path / "a.parquet", colours, [0, 1] * 5, column="img", label="fine_label", metadata=metadata)
    dataset = open_dataset(str(path))
    assert dataset.classes == ("cat", "dog")
    assert resolve_labels(dataset, stand_in(2, class_names=("dog", "cat"))) == [1, 0] * 5


def test_text_labels_and_unlabelled_rows(tmp_path, colours):
    wordnet = open_dataset(str(write(tmp_path / "w.parquet", colours[:2], ["n01440764", None])))
    assert (wordnet.label_kind, wordnet.labels) == ("wordnet", ["n01440764", None])
    assert open_dataset(str(write(tmp_path / "n.parquet", colours[:1], ["cat"]))).label_kind == "name"
    assert open_dataset(str(write(tmp_path / "u.parquet", colours[:2], [-1, 3]))).labels == [None, 3]
    none = open_dataset(str(write(tmp_path / "o.parquet", colours[:1], [7], label="other")))
    assert (none.label_kind, none.labels) == ("none", [None])


def test_ids_are_paths_where_unique_and_hold_the_label_otherwise(tmp_path, colours):
    unique = open_dataset(str(write(tmp_path / "a.parquet", colours[:2], [3, 4], paths=["x.png", "b'y.png'"])))
    assert unique.ids == ["x.png", "y.png"]
    repeated = open_dataset(str(write(tmp_path / "a.parquet", colours[:2], [3, 4], paths=["x.png", "x.png"])))
    assert repeated.ids == ["a/00000-3", "a/00001-4"]


def test_bytes_column_without_a_struct(tmp_path, colours):
    pq.write_table(pa.table({"jpg": colours, "cls": list(range(10))}), tmp_path / "a.parquet")
    dataset = open_dataset(str(tmp_path / "a.parquet"))
    assert pixel(dataset, 6) == (6, 12, 18)
    assert dataset.labels[6] == 6


def test_an_unreadable_row_costs_that_row_alone(tmp_path, colours):
    dataset = open_dataset(str(write(tmp_path / "a.parquet", [colours[0], None, b"text", colours[3]], [0, 1, 2, 3])))
    with pytest.raises(UnreadableImageError, match="a/00001-1: the row holds no bytes"):
        dataset.load(1)
    with pytest.raises(UnreadableImageError, match="a/00002-2: not an image"):
        dataset.load(2)
    assert pixel(dataset, 3) == (3, 6, 9)


def test_a_damaged_page_costs_its_row_group_alone(tmp_path):
    images = [encoded(Image.fromarray(noise(seed=k))) for k in range(4)]
    path = write(tmp_path / "a.parquet", images, [0, 1, 2, 3], row_group_size=2)
    broken = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    broken[start : start + 40] = b"\xff" * 40
    path.write_bytes(bytes(broken))
    dataset = open_dataset(str(path))
    with pytest.raises(UnreadableImageError, match=r"damaged in 'a\.parquet'"):
        dataset.load(0)
    np.testing.assert_array_equal(np.asarray(dataset.load(2).image), noise(seed=2))


def test_pages_are_checked_against_their_checksums(tmp_path):
    image = encoded(Image.fromarray(noise()), "BMP")
    table = pa.table({"image": pa.array([image, image]), "label": [0, 1]})
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pq.write_table(table, tmp_path / "a.parquet", write_page_checksum=True, **options)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[len(image) // 2] ^= 1
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"damaged in 'a\.parquet' .*CRC"):
        open_dataset(str(tmp_path / "a.parquet")).load(0)


def test_the_hash_is_of_the_bytes_and_the_size_of_the_row_group(tmp_path, colours):
    path = write(tmp_path / "a.parquet", colours, list(range(10)))
    dataset = open_dataset(str(path))
    for position in (9, 0):
        expected = hashlib.sha256(colours[position]).hexdigest()[:32]
        assert dataset.content_hash(position) == dataset.load(position).content_hash == expected
    groups = [pq.ParquetFile(path).metadata.row_group(k).total_byte_size for k in range(4)]
    assert dataset.stored_sizes([0, 3, 9]) == [groups[0], groups[1], groups[3]]


@pytest.mark.parametrize(
    ("columns", "metadata", "message"),
    [
        ({"image": [3]}, None, "has image of 'int64'; expected a column image"),
        ({"image": ["text"]}, None, "has image of 'string'; expected a column image"),
        ({"image": [{"path": "a"}]}, None, "has image of 'struct.*; expected a column image"),
        ({"image": [b""], "label": [True]}, None, "has the label True; expected one class index"),
        ({"image": [b""], "label": [0]}, {"huggingface": "[]"}, "cannot be read as Parquet .*no attribute 'get'"),
        ({"image": [b""], "label": [0]}, {"huggingface": "{"}, "cannot be read as Parquet"),
        ({"image": [b""], "label": [0]}, hub_metadata("label", [1]), r"the class names of label are \[1\]"),
        ({"image": [b""] * 3, "label": ["n01440764", "n01440764", "x"]}, None, "row 2 of a has the label 'x', and 2 "),
    ],
)
def test_other_columns_and_labels_are_one_line(tmp_path, columns, metadata, message):
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), tmp_path / "a.parquet")
    with pytest.raises(XkdError, match=f"data: .*{message}") as caught:
        open_dataset(str(tmp_path / "a.parquet"))
    assert "\n" not in str(caught.value)


def test_shards_of_other_columns_or_class_names(tmp_path, colours):
    write(tmp_path / "a.parquet", colours[:2], [0, 1], metadata=hub_metadata("label", ["cat", "dog"]))
    for changes in ({"label": "other"}, {"metadata": hub_metadata("label", ["dog", "cat"])}):
        write(tmp_path / "b.parquet", colours[:2], [0, 1], **changes)
        with pytest.raises(XkdError, match=r"b\.parquet' has the columns image and .*, and the shards before it the"):
            open_dataset(str(tmp_path))


def test_pickling_after_use(tmp_path, colours):
    dataset = open_dataset(str(write(tmp_path / "a.parquet", colours, list(range(10)))))
    dataset.load(3)
    assert pixel(pickle.loads(pickle.dumps(dataset)), 8) == (8, 16, 24)


def test_bad_files(tmp_path, colours):
    whole = write(tmp_path / "a.parquet", colours, [0] * 10).read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"words"):
        (tmp_path / "b.parquet").write_bytes(content)
        with pytest.raises(XkdError, match=r"data: .*b\.parquet' cannot be read as Parquet") as caught:
            open_dataset(str(tmp_path / "b.parquet"))
        assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "c.parquet")
    with pytest.raises(XkdError, match="has the columns text, label; expected a column image or img"):
        open_dataset(str(tmp_path / "c.parquet"))
    with pytest.raises(XkdError, match=r"has the label \[1, 2\]; expected one class index"):
        open_dataset(str(write(tmp_path / "d.parquet", colours[:1], [[1, 2]])))


def test_real_cifar10(shared):
    dataset = open_dataset(str(shared / "data" / "cifar10"))
    assert len(dataset) == 5000
    assert dataset.classes[:2] == ("airplane", "automobile")
    assert len(set(dataset.ids)) == 5000
    row = pq.read_table(shared / "data" / "cifar10" / "test-5000.parquet").slice(2345, 1).to_pylist()[0]
    expected = np.asarray(Image.open(io.BytesIO(row["img"]["bytes"])).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(dataset.load(2345).image), expected)
    assert dataset.labels[2345] == row["label"]


def test_real_cifar100_and_a_model_of_ten_classes(shared):
    test = open_dataset(str(shared / "data" / "cifar100"))
    train = open_dataset(str(shared / "data" / "cifar100"), split="train")
    assert (len(test), len(train)) == (10_000, 50_000)
    assert len(test.classes) == len(train.classes) == 100
    assert len(set(train.ids)) == 50_000
    assert test.labels[:2] == [97, 36]
    last = pq.read_table(shared / "data" / "cifar100" / "train-00002-of-00003.parquet").slice(16_665, 1).to_pylist()[0]
    assert train.labels[-1] == last["fine_label"]
    expected = np.asarray(Image.open(io.BytesIO(last["img"]["bytes"])).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(train.load(49_999).image), expected)
    with pytest.raises(XkdError, match="cifar100-test has 100 classes, and stand-in 10"):
        resolve_labels(test, stand_in(10))
