"""What a command says of data that it fetches."""

import logging
import sys
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from tests.datasets.remote.servers import serving, shard
from xkd_eval.cli import fetching, main, progress

LOG = logging.getLogger("xkd_eval.data")


def tell(done, total=300 * 10**6, what="https://host/[v].tar"):
    LOG.info("", extra={"fetched": (what, done, total)})


def test_a_log_file_gets_a_line_every_half_minute(monkeypatch):
    now, lines = [100.0], []
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(progress, "say_line", lines.append)
    with fetching.FetchLines(Console(file=StringIO())).listening():
        for second in range(0, 61, 10):
            now[0] = 100.0 + second
            tell(second * 10**6)
    assert lines == [
        "https://host/[v].tar: 30 of 300 MB fetched, 4:30 left",
        "https://host/[v].tar: 60 of 300 MB fetched, 4:00 left",
    ]


def test_a_terminal_gets_a_bar_of_which_nothing_stays(monkeypatch):
    written = StringIO()
    console = Console(file=written, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "errors", console)
    lines = fetching.FetchLines(console)
    with lines.listening():
        tell(150 * 10**6)
        with Console(file=StringIO(), force_terminal=True).status("another bar elsewhere is no matter"):
            tell(200 * 10**6)
        tell(300 * 10**6)
        assert lines._bar is None
    assert "https://host/[v].tar" in written.getvalue()
    assert "300.0/300.0 MB" in written.getvalue()


def test_beside_another_bar_there_is_none(monkeypatch):
    console = Console(file=StringIO(), force_terminal=True)
    monkeypatch.setattr(progress, "errors", console)
    with console.status("scoring"), fetching.FetchLines(console).listening():
        tell(150 * 10**6)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run xkd-eval -> its exit code, and what it says on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XKD_CACHE", "cache")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["xkd-eval", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        return ended.value.code, capsys.readouterr().err

    return call


def test_a_command_takes_a_url_and_says_where_it_is_not_reached(run):
    with serving({"photos.tar": shard(0, 4)}) as server:
        words = ("overlay", "-m", "embedded/kd", "--data", f"{server.url}/photos.tar", "--device", "cpu", "-o", "o.png")
        code, said = run(*words)
        assert (code, "note" in said) == (0, False)
        code, said = run(*words[:4], f"{server.url}/none.tar")
        told = "is not there (the server answers 404 Not Found); check the address"
        assert (code, said) == (2, f"error: --data: '{server.url}/none.tar' {told}\n")
    code, said = run(*words)
    assert code == 0
    assert f"note: data: '{server.url}/photos.tar' cannot be reached (Connection refused); what is kept of it" in said
