"""A cache of each test's own, and no waiting between tries."""

import pytest

from xkd_eval.datasets.remote import download, fetched


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache's folder."""
    monkeypatch.setenv("XKD_CACHE", str(tmp_path / "cache"))
    for module in (download, fetched):
        monkeypatch.setattr(module, "PAUSES", (0.0, 0.0, 0.0))
    return tmp_path / "cache" / "data"
