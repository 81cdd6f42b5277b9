import io
import pickle
import tarfile

import pytest

from tests.datasets.files import encoded, plain
from xkd_eval.datasets import open_dataset
from xkd_eval.errors import UnreadableImageError, XkdError


def write(path, members, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as shard:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    return path


def sample(key, k, form="JPEG", suffix="jpg"):
    return {f"{key}.{suffix}": encoded(plain((k, k, k)), form), f"{key}.cls": str(k).encode()}


def test_members_by_key(tmp_path):
    members = sample("a/n.1", 1)  # the key ends at the first dot: a/n
    members |= sample("0001", 20) | sample("0002", 30, "PNG", "png") | sample("0003", 40, "WEBP", "webp")
    members |= sample("0004", 50, suffix="JPEG") | {"0004.json": b"{}"}
    del members["a/n.1.jpg"], members["a/n.1.cls"]
    members |= {"b/n.jpg": encoded(plain((60, 60, 60)), "JPEG"), "b/n.cls": b"60\n"}
    dataset = open_dataset(str(write(tmp_path / "set.tar", members)))
    assert dataset.ids == ["0001", "0002", "0003", "0004", "b/n"]
    assert dataset.labels == [20, 30, 40, 50, 60]
    assert dataset.label_kind == "index"
    for position in (4, 0, 2, 1, 3):
        assert dataset.load(position).image.getpixel((0, 0))[0] == pytest.approx(dataset.labels[position], abs=2)
    assert pickle.loads(pickle.dumps(dataset)).load(1).image.getpixel((0, 0)) == (30, 30, 30)


def test_the_key_ends_at_the_first_dot_of_the_name(tmp_path):
    image = encoded(plain(), "JPEG")
    members = {"v1.0/x.jpg": image, "v1.0/x.cls": b"3", "v1.0/x.seg.png": encoded(plain())}
    dataset = open_dataset(str(write(tmp_path / "set.tar", members)))
    assert (dataset.ids, dataset.labels) == (["v1.0/x"], [3])


def test_shards_of_a_split_with_repeated_keys(tmp_path):
    for split, start in (("train", 0), ("val", 10)):
        for shard in range(2):
            write(tmp_path / f"imagenet-{split}-{shard:06d}.tar", sample("0000", start + shard))
    dataset = open_dataset(str(tmp_path))
    assert dataset.ids == ["imagenet-val-000000/0000", "imagenet-val-000001/0000"]
    assert dataset.labels == [10, 11]
    assert open_dataset(str(tmp_path), split="train").labels == [0, 1]


@pytest.mark.parametrize(("text", "kind"), [(b"n01440764", "wordnet"), (b"tench", "name")])
def test_text_classes(tmp_path, text, kind):
    dataset = open_dataset(str(write(tmp_path / "a.tar", {"x.jpg": encoded(plain(), "JPEG"), "x.cls": text})))
    assert (dataset.label_kind, dataset.labels) == (kind, [text.decode()])


def test_the_official_archive_as_it_comes(tmp_path):
    """One tar of images, labelled by a list beside it."""
    names = [f"ILSVRC2012_val_{number:08d}" for number in (1, 2)]
    write(tmp_path / "ILSVRC2012_img_val.tar", {f"{name}.JPEG": encoded(plain(), "JPEG") for name in names})
    assert open_dataset(str(tmp_path)).label_kind == "none"
    (tmp_path / "LOC_val_solution.csv").write_text(f"ImageId,PredictionString\n{names[1]},n01440764 1 2 3 4\n")
    dataset = open_dataset(str(tmp_path))
    assert (dataset.ids, dataset.labels) == (names, [None, "n01440764"])
    assert dataset.load(1).image.size == (8, 6)


def test_a_class_without_image_and_an_image_that_is_none(tmp_path):
    dataset = open_dataset(str(write(tmp_path / "a.tar", {"x.cls": b"1", "y.jpg": b"", "y.cls": b"2"})))
    with pytest.raises(UnreadableImageError, match=r"x: 'a\.tar' has a class for it and no image"):
        dataset.load(0)
    with pytest.raises(UnreadableImageError, match="y: empty file"):
        dataset.load(1)


def test_bad_tars(tmp_path):
    members = {f"{k}.jpg": encoded(plain(size=(60, 60)), "JPEG") for k in range(20)}
    whole = write(tmp_path / "a.tar", members).read_bytes()
    for content in (b"words", whole[: len(whole) // 2 + 300], b""):
        (tmp_path / "b.tar").write_bytes(content)
        with pytest.raises(XkdError, match=r"data: .*b\.tar' cannot be read as a tar shard"):
            open_dataset(str(tmp_path / "b.tar"))
    write(tmp_path / "c.tar.gz", members, "w:gz")
    with pytest.raises(XkdError, match="expected an uncompressed, whole tar"):
        open_dataset(str(tmp_path / "c.tar.gz"))
    write(tmp_path / "d.tar", {"readme.txt": b"x"})
    with pytest.raises(XkdError, match="has no images"):
        open_dataset(str(tmp_path / "d.tar"))
