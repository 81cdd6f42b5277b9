"""What reaches the hub: asked of a server that answers as the hub does, and of the hub's own library."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import huggingface_hub
import pytest

from xkd_eval import model_card
from xkd_eval.card import upload as module
from xkd_eval.card.upload import check_upload, upload
from xkd_eval.errors import XkdError

ANSWER = {"url": "http://localhost/org/mine", "error": "You have no right to write here"}


class Hub(BaseHTTPRequestHandler):
    """Answers everything with one status."""

    status = 200

    def _answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps(ANSWER).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET = do_POST = _answer  # noqa: N815 - as the server's class calls them

    def log_message(self, *said):
        pass


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine, for somebody who is logged in."""
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_for_the_test")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def card():
    return model_card("embedded/kd", "embedded", limit=4, fractions=[0.5], photographs=1, repository="org/mine")


def test_card_pictures_and_model_are_one_commit(card, tmp_path, monkeypatch):
    """At the boundary: what the hub's library is asked for."""
    asked = {}

    class Recording(huggingface_hub.HfApi):
        def create_repo(self, repository, **options):
            asked["made"] = (repository, options)
            return "http://hub/org/mine"

        def create_commit(self, repository, operations, **options):
            asked["files"] = {operation.path_in_repo: operation.path_or_fileobj for operation in operations}

    monkeypatch.setattr(huggingface_hub, "HfApi", Recording)
    path = card.write(tmp_path / "card.md")
    assert upload(card, path, "org/mine") == "http://hub/org/mine"
    assert asked["made"] == ("org/mine", {"exist_ok": True})
    pictures = {f"card/{name}": str(tmp_path / "card" / name) for name in card.figures}
    assert len(pictures) == 2
    assert asked["files"] == {"README.md": str(path), "kd.pt": str(card.file), **pictures}
    assert 'load_classifier(hf_hub_download("org/mine", "kd.pt"))' in card.text


def test_a_hub_that_refuses_is_one_line(card, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(Hub, "status", 403)
    path = card.write(tmp_path / "README.md")
    with pytest.raises(XkdError, match=r"^push_to: 'org/mine' was not uploaded \(.*403.*\); log in by") as refused:
        upload(card, path, "org/mine")
    assert "\n" not in str(refused.value)


def test_who_may_push_is_asked_before_the_work(hub, monkeypatch):
    check_upload("embedded/kd", "org/mine")
    for name in ("mine", "org/mine/more", "org/mi ne", "../x"):
        with pytest.raises(XkdError, match=r"^push_to: .* is no repository.*expected ORG/NAME$"):
            check_upload("embedded/kd", name)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(
        XkdError, match=r"^push_to: nobody is logged in at the hub; run `hf auth login`, or set HF_TOKEN$"
    ):
        check_upload("embedded/kd", "org/mine")


def test_a_hub_that_does_not_answer_is_said_before_the_work(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(XkdError, match=r"^push_to: the hub does not answer \(HF_HUB_OFFLINE is set\); leave it out"):
        check_upload("embedded/kd", "org/mine")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(module, "why_unreachable", lambda: "Connection refused")
    with pytest.raises(XkdError, match=r"^push_to: the hub does not answer \(Connection refused\)"):
        check_upload("embedded/kd", "org/mine")


def test_a_model_without_a_file_is_not_uploaded(card, tmp_path):
    with pytest.raises(XkdError, match=r"^push_to: 'mine' is no file that could be uploaded; name a checkpoint"):
        upload(replace(card, file=None), tmp_path / "README.md", "org/mine")
    with pytest.raises(XkdError, match=r"^push_to: 'timm/resnet18' is no file"):
        check_upload("timm/resnet18", "org/mine")
