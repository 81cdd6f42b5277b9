"""Runs on images behind a URL: what they record, and that the same images from a disk are the same run."""

import json

import pytest

import xkd_eval
from tests.datasets.remote.servers import serving, shard
from xkd_eval import XkdError


def runs_in(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in folder.rglob("protocol.json")}


def evaluated(data, folder):
    return xkd_eval.evaluate("embedded/kd", data, tests=["perturbation"], runs=folder, device="cpu").results[0]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XKD_CACHE", str(tmp_path / "cache"))


def test_the_url_is_recorded_and_is_not_what_the_run_is_known_by(tmp_path):
    content = shard(0, 4)
    (tmp_path / "photos.tar").write_bytes(content)
    with serving({"photos.tar": content}) as server:
        url = f"{server.url}/photos.tar"
        fetched = evaluated(f"{url}?key=secret", tmp_path / "runs")
    ((name, described),) = runs_in(tmp_path / "runs").items()
    assert described["data"]["url"] == f"{url}?..."
    assert str(tmp_path) not in json.dumps(described)
    again = evaluated(str(tmp_path / "photos.tar"), tmp_path / "runs")
    assert runs_in(tmp_path / "runs") == {name: described}  # the finished run was found
    local = evaluated(str(tmp_path / "photos.tar"), tmp_path / "others")
    ((other, recorded),) = runs_in(tmp_path / "others").items()
    assert other == name
    assert "url" not in recorded["data"]
    assert recorded["data"]["digest"] == described["data"]["digest"]
    assert fetched.summary["rows"] == again.summary["rows"] == local.summary["rows"]
    assert fetched.rows.equals(local.rows)
    assert fetched.summary["data"] == local.summary["data"]


def test_masks_are_named_where_their_url_fails():
    with serving({}) as server, pytest.raises(XkdError, match=r"^masks: 'http.*/none\.mat' is not there \(the server"):
        xkd_eval.evaluate("embedded/kd", "embedded", masks=f"{server.url}/none.mat", tests=["segmentation"])
