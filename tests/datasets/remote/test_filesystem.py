"""Folders, patterns and files behind fsspec's filesystems, by the one in memory; file:// URLs; what is missing."""

import fsspec
import numpy as np
import pytest

from tests.datasets.files import encoded, plain, write_mat
from tests.datasets.remote.servers import shard
from xkd_eval.datasets import limit, open_dataset
from xkd_eval.datasets.open import open_parts
from xkd_eval.datasets.remote.filesystem import Filesystem
from xkd_eval.errors import XkdError


@pytest.fixture
def memory():
    """A filesystem to be filled, path -> bytes, and what was opened of it."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def opened(monkeypatch):
    """The paths whose bytes were asked for."""
    found, read = [], Filesystem.read

    def noting(self, file, start):
        found.append(file.path)
        return read(self, file, start)

    monkeypatch.setattr(Filesystem, "read", noting)
    return found


def image(label):
    return encoded(plain((label, label, label)))


def refused(url):
    with pytest.raises(XkdError) as caught:
        open_dataset(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_of_shards_fetches_the_part_that_is_asked_for(memory, opened):
    for part, first in (("train", 0), ("val", 100)):
        for number in range(2):
            memory.pipe(f"/bucket/photos/photos-{part}-{number:03d}.tar", shard(first + 10 * number))
    dataset = open_dataset("memory://bucket/photos")
    assert (dataset.name, dataset.labels) == ("photos-val", [100, 101, 110, 111])
    assert sorted(opened) == ["photos-val-000.tar", "photos-val-001.tar"]
    assert {part: len(found) for part, found in open_parts("memory://bucket/photos").items()} == {"train": 4, "val": 4}
    assert len(opened) == 4  # each once


def test_a_folder_of_images_with_its_list(memory, opened, tmp_path):
    files = {f"val/{k}.png": image(k) for k in range(3)} | {"val/labels.csv": b"0.png,cat\n1.png,dog\n2.png,cat\n"}
    files |= {"train/cat/a.png": image(7), "train/dog/b.png": image(8), "README.md": b"of cats and dogs"}
    for name, content in files.items():
        memory.pipe(f"/bucket/pets/{name}", content)
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(content)
    dataset, local = open_dataset("memory://bucket/pets"), open_dataset(str(tmp_path / "pets"))
    assert (dataset.name, dataset.labels, dataset.digest()) == (local.name, ["cat", "dog", "cat"], local.digest())
    assert [dataset.load(k).image.getpixel((0, 0))[0] for k in range(3)] == [0, 1, 2]
    assert sorted(opened) == ["README.md", "val/0.png", "val/1.png", "val/2.png", "val/labels.csv"]
    assert open_dataset("memory://bucket/pets", split="train").labels == ["cat", "dog"]


def test_a_changed_folder_fetches_what_changed(memory, opened):
    memory.pipe({f"/bucket/pets/{name}/a.png": image(k) for k, name in enumerate(("cat", "dog"))})
    former = open_dataset("memory://bucket/pets")
    del opened[:]
    memory.pipe("/bucket/pets/dog/a.png", image(9))
    memory.pipe("/bucket/pets/eel/a.png", image(10))
    dataset = open_dataset("memory://bucket/pets")
    assert sorted(opened) == ["dog/a.png", "eel/a.png"]
    assert [dataset.load(k).image.getpixel((0, 0))[0] for k in range(3)] == [0, 9, 10]
    assert [former.load(k).image.getpixel((0, 0))[0] for k in range(2)] == [0, 1]


def test_patterns_and_single_files(memory):
    memory.pipe({f"/bucket/v{k}.tar": shard(10 * k) for k in range(3)} | {"/bucket/other.txt": b""})
    assert open_dataset("memory://bucket/v*.tar").labels == [0, 1, 10, 11, 20, 21]
    assert open_dataset("memory://bucket/v{1..2}.tar").labels == [10, 11, 20, 21]
    assert open_dataset("memory://bucket/v2.tar").labels == [20, 21]


def test_a_pattern_that_finds_one_name_twice(memory):
    for folder in ("s0", "s1"):
        memory.pipe(f"/bucket/{folder}/shard-0.tar", shard(0))
    message = refused("memory://bucket/*/shard-0.tar")
    assert message.startswith("data: 'memory://bucket/*/shard-0.tar' finds several files called 'shard-0.tar'; give a")


def test_an_archive_in_a_folder_is_fetched_whatever_its_size(memory, tmp_path, monkeypatch):
    monkeypatch.setattr("xkd_eval.datasets.remote.fetched.LARGEST_LIST", 10)
    pixels = [np.full((20, 30, 3), 90, np.uint8)] * 2
    masks = [np.eye(20, 30, dtype=np.uint8)] * 2
    memory.pipe("/bucket/set/gtsegs_ijcv.mat", write_mat(tmp_path / "gtsegs_ijcv.mat", pixels, masks).read_bytes())
    dataset = open_dataset("memory://bucket/set")
    assert len(dataset) == 2 and dataset.has_masks and dataset.load(1).image.size == (30, 20)


def test_parts_of_it_say_where_they_are_from(memory):
    memory.pipe("/bucket/v.tar", shard(0, 4))
    assert limit(open_dataset("memory://bucket/v.tar"), 2, 0).url == "memory://bucket/v.tar"


def test_a_broken_download_is_resumed(memory, monkeypatch):
    memory.pipe("/bucket/v.tar", shard(0, 4))
    starts, read = [], Filesystem.read

    def breaking(self, file, start):
        starts.append(start)
        if len(starts) == 1:
            monkeypatch.setattr("xkd_eval.datasets.remote.filesystem.BLOCK", 4000)
            return _breaking(read(self, file, start))
        return read(self, file, start)

    monkeypatch.setattr(Filesystem, "read", breaking)
    assert len(open_dataset("memory://bucket/v.tar")) == 4
    assert starts == [0, 4000]


class _breaking:  # noqa: N801
    """One block, and then what a lost connection raises within."""

    def __init__(self, context):
        self.context = context

    def __enter__(self):
        start, blocks = self.context.__enter__()
        return start, self._first(blocks)

    def _first(self, blocks):
        yield next(blocks)
        raise ConnectionResetError("lost")

    def __exit__(self, *error):
        return self.context.__exit__(*error)


def test_what_is_not_there(memory):
    memory.pipe("/bucket/v.tar", shard(0))
    assert refused("memory://bucket/w.tar") == "data: 'memory://bucket/w.tar' is not there; check the address"
    assert refused("memory://bucket/*.parquet") == "data: 'memory://bucket/*.parquet' has no files; check the address"
    assert refused("memory://{bucket,none}").startswith("data: 'memory://none' is not there")


def test_names_that_lead_out_of_the_cache_are_refused(memory, monkeypatch):
    memory.pipe("/bucket/pets/a.png", image(0))
    found = {"/bucket/pets/../../a.png": {"type": "file", "size": 1, "name": "/bucket/pets/../../a.png"}}
    monkeypatch.setattr(type(memory), "find", lambda self, path, detail: found)
    assert "which cannot be the name of a file here" in refused("memory://bucket/pets")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (PermissionError("no key"), "is not given to you (no key); log in as its own tool does it, or ask for access"),
        (RuntimeError("half\nway"), "cannot be reached (half); check the address and the connection"),
    ],
)
def test_what_a_filesystem_raises(memory, monkeypatch, raised, said):
    def fail(*arguments, **options):
        raise raised

    monkeypatch.setattr(type(memory), "info", fail)
    assert refused("memory://bucket/v.tar") == f"data: 'memory://bucket/v.tar' {said}"


def test_packages_that_are_missing(monkeypatch):
    monkeypatch.setattr("xkd_eval.packages.find_spec", lambda name: None)
    for url, package in (("s3://bucket/v.tar", "s3fs"), ("gs://bucket/v.tar", "gcsfs")):
        assert refused(url) == f"data: '{url}' needs {package}; install with `pip install 'xkd-eval[remote]'`"
    assert refused("odd://bucket/v.tar").startswith(
        "data: 'odd://bucket/v.tar' has the scheme 'odd', which nobody here"
    )


def test_the_hub_out_of_reach(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refused("hf://datasets/somebody/photos") == (
        "data: 'hf://datasets/somebody/photos' cannot be reached (HF_HUB_OFFLINE is set); check the address and the "
        "connection"
    )


def test_file_urls_are_read_where_they_lie(tmp_path, cache):
    folder = tmp_path / "my photos"
    folder.mkdir()
    for number in range(2):
        (folder / f"v-{number}.tar").write_bytes(shard(10 * number))
    url = folder.as_uri()
    assert "%20" in url
    for given in (url, f"{url}/v-{{0..1}}.tar", f"{url}/v-*.tar"):
        dataset = open_dataset(given)
        assert (dataset.labels, dataset.url) == ([0, 1, 10, 11], None)
    assert open_dataset(f"{url}/v-1.tar").labels == [10, 11]
    assert not cache.exists()
    assert refused(f"{url}/none.tar").startswith(f"data: '{url}/none.tar' does not exist (")
    assert refused("file://host/v.tar").startswith("data: 'file://host/v.tar' names the host 'host'; expected file:///")
    assert refused(f"{url}/{{v-0.tar,../my photos}}").startswith(
        f"data: '{url}/{{v-0.tar,../my photos}}' names several"
    )
