import hashlib
import io
import pickle
import subprocess
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


WHOLE = {f"{k}.jpg": encoded(plain(size=(60, 60)), "JPEG") for k in range(5)} | {"4.cls": b"7"}


def headers(path):
    with tarfile.open(path) as shard:
        return [member.offset for member in shard]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_damaged_header_is_an_error_and_not_the_end(tmp_path, form):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=form) as shard:
        for name, content in WHOLE.items():
            info = tarfile.TarInfo(("long" * 40 + "/" if form != tarfile.USTAR_FORMAT else "") + name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    whole = path.read_bytes()
    assert len(open_dataset(str(path))) == 5
    for start in headers(path):
        damaged = bytearray(whole)
        damaged[start + 5] ^= 1
        for content in (damaged, whole[:start], whole[: start + 100], whole[:start] + bytes(512) + whole[start:]):
            path.write_bytes(content)
            with pytest.raises(
                XkdError, match=rf"a\.tar' cannot be read as a tar shard \(.* at byte {start}"
            ) as caught:
                open_dataset(str(path))
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda whole, end: whole[: end - 400], "member '4.cls' at byte .* goes beyond the end"),
        (lambda whole, end: whole[:end], "no end of the archive at byte"),
        (lambda whole, end: whole[: end + 512], "cut within the end of the archive at byte"),
        (lambda whole, end: whole[: end + 512] + whole[:512], "one block of zeros at byte .*, and more data at byte"),
        (lambda whole, end: whole + whole, "the end of the archive at byte .*, and more data at byte .*concatenate"),
        (lambda whole, end: whole + bytes(20_000), "nothing but zeros from byte"),
    ],
)
def test_an_archive_ends_as_writers_end_it(tmp_path, change, reason):
    path = write(tmp_path / "a.tar", WHOLE)
    whole = path.read_bytes()
    path.write_bytes(change(whole, headers(path)[-1] + 1024))
    with pytest.raises(XkdError, match=reason):
        open_dataset(str(path))


@pytest.mark.parametrize("options", [[], ["--format=pax"], ["--format=v7"], ["-b", "64"], ["-b", "1"]])
def test_what_gnu_tar_writes_is_whole(tmp_path, options):
    for name, content in WHOLE.items():
        (tmp_path / name).write_bytes(content)
    command = ["tar", "-C", str(tmp_path), *options]
    path, more = tmp_path / "a.tar", tmp_path / "b.tar"
    subprocess.run([*command, "-cf", str(path), "0.jpg", "1.jpg"], check=True)
    subprocess.run([*command, "-cf", str(more), "2.jpg"], check=True)
    subprocess.run([*command, "-rf", str(path), "3.jpg"], check=True)
    subprocess.run([*command, "--concatenate", "-f", str(path), str(more)], check=True)
    dataset = open_dataset(str(path))
    assert dataset.ids == ["0", "1", "3", "2"]
    assert dataset.stored_sizes() == [len(WHOLE[f"{key}.jpg"]) for key in dataset.ids]


def test_a_streamed_archive_and_one_that_was_added_to(tmp_path):
    write(tmp_path / "a.tar", {"0.jpg": WHOLE["0.jpg"]}, "w|")
    write(tmp_path / "a.tar", {"1.jpg": WHOLE["1.jpg"]}, "a")
    dataset = open_dataset(str(tmp_path / "a.tar"))
    assert dataset.ids == ["0", "1"]
    expected = hashlib.sha256(WHOLE["1.jpg"]).hexdigest()[:32]
    assert dataset.content_hash(1) == dataset.load(1).content_hash == expected


@pytest.mark.parametrize("size", ["-512", "1x", "99999999999"])
def test_a_pax_header_with_a_hostile_size(tmp_path, size):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as shard:
        info = tarfile.TarInfo("0.jpg")
        info.pax_headers = {"size": size}
        shard.addfile(info)
    with pytest.raises(
        XkdError, match=rf"member '0\.jpg' at byte 0 (has the size '{size}'|goes beyond)|damaged header"
    ):
        open_dataset(str(tmp_path / "a.tar"))


def test_links_and_folders_called_like_images(tmp_path):
    kinds = {"hard.jpg": tarfile.LNKTYPE, "lost.jpg": tarfile.LNKTYPE, "soft.jpg": tarfile.SYMTYPE}
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        info = tarfile.TarInfo("0.jpg")
        info.size = len(WHOLE["0.jpg"])
        shard.addfile(info, io.BytesIO(WHOLE["0.jpg"]))
        for name, kind in {**kinds, "folder.jpg": tarfile.DIRTYPE, "pipe.jpg": tarfile.FIFOTYPE}.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "gone.jpg" if name == "lost.jpg" else "0.jpg"
            shard.addfile(info)
    dataset = open_dataset(str(tmp_path / "a.tar"))
    assert dataset.ids == ["0", "hard", "lost", "soft", "folder", "pipe"]
    assert dataset.content_hash(1) == dataset.content_hash(0)
    for position, what in ((2, "a link"), (3, "a link"), (4, "a folder"), (5, "no file")):
        with pytest.raises(UnreadableImageError, match=rf"{dataset.ids[position]}: {what} in 'a\.tar'"):
            dataset.load(position)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"a.cls": b"1", "b.cls": b"", "c.cls": b"2"},
            r"a class for 'b' at byte \d+ that is ''; expected a class index",
        ),
        ({"a.cls": b"1", "b.cls": b"\xff"}, r"a class for 'b' at byte \d+ that cannot be read .*'utf-8'"),
        ({"a.cls": b"1", "b.cls": b"2" * 2000}, r"a class for 'b' at byte \d+ that is of 2000 bytes"),
        ({"a.cls": b"1", "b.cls": b"2", "c.cls": b"3u"}, r"'c\.cls' in .*a\.tar' has the label '3u', and 2 others are"),
        ({"a.cls": b"n01440764", "b.cls": b"n01440764", "c.cls": b"tench"}, r"'c\.cls' in .* has the label 'tench'"),
        ({"a.jpg": b"1", "a.png": b"2"}, r"has 'a\.jpg' and 'a\.png', two images of one key"),
        ({"a.1.jpg": b"1", "a.2.jpg": b"2"}, r"has 'a\.1\.jpg' and 'a\.2\.jpg', two images of one key"),
    ],
)
def test_an_odd_class_or_a_key_of_two_images_is_named(tmp_path, members, message):
    with pytest.raises(XkdError, match=f"data: .*{message}"):
        open_dataset(str(write(tmp_path / "a.tar", {"z.jpg": WHOLE["0.jpg"], **members})))


def test_names_may_look_like_numbers_among_names(tmp_path):
    members = {"a.jpg": WHOLE["0.jpg"], "a.cls": b"cat", "b.cls": b"911", "c.cls": b"dog"}
    dataset = open_dataset(str(write(tmp_path / "a.tar", members)))
    assert (dataset.label_kind, dataset.labels) == ("name", ["cat", "911", "dog"])


def test_a_member_that_is_there_twice(tmp_path):
    write(tmp_path / "a.tar", {"0.jpg": WHOLE["0.jpg"]})
    write(tmp_path / "a.tar", {"./0.jpg": WHOLE["1.jpg"]}, "a")
    with pytest.raises(XkdError, match=r"has the member '0\.jpg' twice, at byte 512 and at byte \d+; remove one"):
        open_dataset(str(tmp_path / "a.tar"))


def test_a_key_has_its_own_image_before_others_of_it(tmp_path):
    members = {"x.seg.png": encoded(plain((9, 9, 9))), "x.png": encoded(plain((1, 1, 1))), "y.seg.png": b"2"}
    dataset = open_dataset(str(write(tmp_path / "a.tar", members)))
    assert dataset.ids == ["x", "y"]
    assert dataset.load(0).image.getpixel((0, 0)) == (1, 1, 1)


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
