"""Data behind a web server that works, fails, changes and goes away."""

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.datasets.remote.servers import serving, shard
from xkd_eval.card.facts import _data
from xkd_eval.datasets import open_dataset
from xkd_eval.datasets.open import open_parts
from xkd_eval.datasets.remote.cache import Kept
from xkd_eval.datasets.remote.origin import UnreachableError
from xkd_eval.datasets.remote.urls import told
from xkd_eval.errors import XkdError

NAMES = [f"photos-val-{number:03d}.tar" for number in range(3)]
FILES = {name: shard(10 * number) for number, name in enumerate(NAMES)}
RANGE = "photos-val-{000..002}.tar"


@pytest.fixture
def server():
    with serving(FILES) as started:
        yield started


@pytest.fixture
def folder(tmp_path):
    """The same shards on a disk."""
    place = tmp_path / "photos"
    place.mkdir()
    for name, content in FILES.items():
        (place / name).write_bytes(content)
    return place


def refused(url, **options):
    with pytest.raises(XkdError) as caught:
        open_dataset(url, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def colours(dataset):
    return [dataset.load(position).image.getpixel((0, 0))[0] for position in range(len(dataset))]


def test_a_range_of_shards(server, folder):
    dataset, local = open_dataset(f"{server.url}/{RANGE}"), open_dataset(str(folder))
    assert (dataset.name, dataset.labels, colours(dataset)) == ("photos-val", [0, 1, 10, 11, 20, 21], dataset.labels)
    assert dataset.url == f"{server.url}/{RANGE}"
    assert local.url is None
    assert dataset.digest() == local.digest()
    assert [dataset.content_hash(k) for k in range(6)] == [local.content_hash(k) for k in range(6)]


def test_one_fetch_serves_until_the_file_changes(server):
    url = f"{server.url}/{NAMES[0]}"
    assert open_dataset(url).labels == open_dataset(url).labels == [0, 1]
    assert server.bodies == {NAMES[0]: 1}
    former = open_dataset(url)
    server.files[NAMES[0]] = shard(50)
    assert open_dataset(url).labels == [50, 51]
    assert server.bodies == {NAMES[0]: 2}
    assert colours(former) == [0, 1]  # whoever reads the former file goes on


def test_what_is_kept_serves_without_the_server(folder, caplog):
    with serving(FILES) as server:
        url = f"{server.url}/{RANGE}"
        open_dataset(url)
    with caplog.at_level(logging.WARNING, "xkd_eval.data"):
        assert colours(open_dataset(url)) == [0, 1, 10, 11, 20, 21]
    assert (
        caplog.records[0]
        .getMessage()
        .startswith(
            f"data: '{url}' cannot be reached (Connection refused); what is kept of it here is used, as it was on 20"
        )
    )
    assert refused(f"{server.url}/other.tar") == (
        f"data: '{server.url}/other.tar' cannot be reached (Connection refused); check the address and the connection"
    )


def test_a_broken_download_is_resumed(server):
    url, whole = f"{server.url}/{NAMES[0]}", len(FILES[NAMES[0]])
    server.breaks = [1000, 2000, 0]
    assert colours(open_dataset(url)) == [0, 1]
    assert server.bodies[NAMES[0]] == 4
    assert whole > 3000


def test_a_download_that_stays_broken_is_no_file_and_is_taken_up_later(server, cache):
    url, whole = f"{server.url}/{NAMES[0]}", len(FILES[NAMES[0]])
    server.breaks = [4000, *[0] * 4]
    assert refused(url) == (
        f"data: '{url}' cannot be fetched (it ends after 4,000 of {whole:,} bytes); what came of it is kept: check the "
        "connection, and try again"
    )
    assert [path.suffix for path in cache.rglob("files/*")] == [".part"]
    before = server.bodies[NAMES[0]]
    assert colours(open_dataset(url)) == [0, 1]
    assert server.bodies[NAMES[0]] == before + 1
    assert [path.suffix for path in cache.rglob("files/*")] == [""]


def test_without_ranges_it_starts_again(server):
    server.ranges, server.breaks = False, [4000]
    assert colours(open_dataset(f"{server.url}/{NAMES[0]}")) == [0, 1]
    server.breaks = [4000] * 9
    assert "cannot be fetched (it ends after 4,000 of" in refused(f"{server.url}/{NAMES[1]}")


def test_what_came_of_a_former_file_is_not_taken_up(server):
    url = f"{server.url}/{NAMES[0]}"
    server.breaks = [4000, *[0] * 4]
    refused(url)
    server.files[NAMES[0]] = shard(50)
    assert colours(open_dataset(url)) == [50, 51]


def test_the_same_size_does_not_hide_a_change(server):
    url = f"{server.url}/{NAMES[0]}"
    assert len(shard(50)) == len(FILES[NAMES[0]])
    open_dataset(url)
    server.files[NAMES[0]] = shard(50)
    assert open_dataset(url).labels == [50, 51]


def test_a_file_of_the_cache_that_was_cut_is_fetched_again(server, cache):
    url = f"{server.url}/{NAMES[0]}"
    open_dataset(url)
    (kept,) = cache.rglob("files/*")
    kept.write_bytes(kept.read_bytes()[:100])
    assert colours(open_dataset(url)) == [0, 1]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "is not there (the server answers 404 Not Found); check the address"),
        (403, "is not given to you (the server answers 403 Forbidden); ask for access"),
        (418, "is not given (the server answers 418 I'm a Teapot); check the address"),
        (503, "cannot be reached (the server answers 503 Service Unavailable); check the address and the connection"),
    ],
)
def test_what_the_server_refuses(server, status, said):
    server.refused[NAMES[1]] = status
    url = f"{server.url}/{RANGE}"
    assert refused(url).startswith(f"data: '{server.url}/{NAMES[1]}' {said}")
    assert server.asked[NAMES[1]] == (4 if status == 503 else 1)


def test_a_server_that_recovers(server, monkeypatch):
    server.refused[NAMES[0]] = 503
    monkeypatch.setattr("time.sleep", lambda seconds: server.refused.clear())
    assert open_dataset(f"{server.url}/{NAMES[0]}").labels == [0, 1]


def test_a_page_is_no_data(server):
    server.pages.add(NAMES[0])
    assert refused(f"{server.url}/{NAMES[0]}").startswith(f"data: '{server.url}/{NAMES[0]}' gives a web page (HTML)")
    server.files["odd.tar"] = b"\n<HTML>as a tar</HTML>"
    assert refused(f"{server.url}/odd.tar").startswith(f"data: '{server.url}/odd.tar' gives a web page (HTML)")


def test_errors_of_readers_say_the_url(server):
    server.files |= {
        "cut.tar": FILES[NAMES[0]][:700],
        "empty.tar": b"",
        "notes.txt": b"nothing",
        "list.csv": b"path,label\n",
    }
    assert refused(f"{server.url}/cut.tar").startswith(f"data: '{server.url}/cut.tar' cannot be read as a tar shard (")
    assert refused(f"{server.url}/empty.tar").startswith(f"data: '{server.url}/empty.tar' is empty")
    assert refused(f"{server.url}/notes.txt").startswith(f"data: '{server.url}/notes.txt' is not recognised")
    assert refused(f"{server.url}/list.csv").startswith(f"data: '{server.url}/list.csv' is a list of images, which are")
    assert refused(f"{server.url}/" + "{cut.tar,notes.txt}").startswith(
        f"data: '{server.url}/{{cut.tar,notes.txt}}' is"
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:x/a.tar", "nonnumeric port"),
        ("http:///a.tar", "no host given"),
        ("http://nowhere.invalid/a.tar", "cannot be reached ("),
        ("http://host", "cannot be reached ("),
        ("http://127.0.0.1/*.tar", "has a *, and http lists no files"),
    ],
)
def test_addresses_that_lead_nowhere(url, said):
    assert said in refused(url)


def test_parts_of_a_range(server):
    server.files["photos-train-000.tar"] = shard(100)
    url = f"{server.url}/" + "photos-{train,val}-000.tar"
    assert {part: dataset.labels for part, dataset in open_parts(url).items()} == {"train": [100, 101], "val": [0, 1]}
    assert open_dataset(url, split="train").labels == [100, 101]
    assert open_dataset(f"{server.url}/photos-train-000.tar").labels == [100, 101]  # named, so it is meant
    assert open_parts(f"{server.url}/{RANGE}") == {}


@pytest.mark.parametrize("query", ["?key=secret", "?key=a secret"])
def test_a_password_goes_to_the_server_and_nowhere_else(server, cache, query):
    url = f"{server.url}/{NAMES[0]}".replace("//", "//me:secret@") + query
    dataset = open_dataset(url)
    assert not [file for file in cache.rglob("*") if file.is_file() and b"secret" in file.read_bytes()]
    assert dataset.url == f"{server.url}/{NAMES[0]}?..."
    server.refused[NAMES[0]] = 401
    assert "secret" not in refused(url)


def test_processes_at_once_fetch_once(server):
    server.files["large.tar"] = shard(0, 200)
    code = "import sys; from xkd_eval.datasets import open_dataset; print(len(open_dataset(sys.argv[1])))"
    started = [
        subprocess.Popen([sys.executable, "-c", code, f"{server.url}/large.tar"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in started] == ["200", "200"]
    assert server.bodies == {"large.tar": 1}


def test_a_password_is_in_no_student_and_no_card():
    url = "https://me:secret@host/photos-{000..001}.tar?sig=secret"
    assert told(url) == "https://host/photos-{000..001}.tar?..." and told("a/photos.tar?x") == "a/photos.tar?x"
    assert "secret" not in _data({"path": url}, {})


def test_who_waits_for_another_process_ends_when_it_is_stopped(cache, caplog):
    kept, stop = Kept("https://host/photos.tar"), threading.Event()
    with kept.held(threading.Event()):
        threading.Timer(0.3, stop.set).start()
        with pytest.raises(UnreachableError), Kept("https://host/photos.tar").held(stop):
            pass
    assert caplog.messages == ["data: another process fetches 'https://host/photos.tar'; this one waits for it"]


def test_a_cache_that_cannot_be_written(server, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XKD_CACHE", str(tmp_path / "file"))
    assert refused(f"{server.url}/{NAMES[0]}").startswith(
        f"data: the cache '{tmp_path}/file/data' ($XKD_CACHE) cannot be"
    )


def test_where_the_cache_lies(monkeypatch, tmp_path):
    from xkd_eval.datasets.remote.cache import cache_folder

    monkeypatch.delenv("XKD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "xkd-eval" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path(os.path.expanduser("~/.cache/xkd-eval/data"))  # noqa: PTH111
