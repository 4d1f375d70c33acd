"""Models of the hub: fetched from a small server that answers as huggingface.co does, kept, and refused in words."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tiny_models import openai_clip

from lienzo.core.errors import BadInput
from lienzo.weights.hub import fetch
from lienzo.weights.writing import write_tensors

COMMIT = "a" * 40
CODE = """
import sys
from lienzo.core.errors import LienzoError
from lienzo.weights.places import resolve
try:
    path = resolve(sys.argv[1])
    print(path.name, *sorted(p.name for p in path.parent.iterdir()))
    from lienzo.weights.models import load_model
    print(type(load_model(path)).__name__)
except LienzoError as error:
    print("refused:", error)
"""


class Hub(BaseHTTPRequestHandler):
    """One model, at one commit, with the answers and headers that the hub gives."""

    files: dict[str, bytes] = {}
    asked: list[str] = []

    def log_message(self, *arguments: object) -> None:
        return

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(f"{self.command} {path}")
        if path.startswith("/api/models/org/tiny/tree"):
            entries = [{"type": "file", "path": f, "size": len(b), "oid": "0" * 40} for f, b in self.files.items()]
            self.answer(200, json.dumps(entries).encode(), Content_Type="application/json")
        elif path.startswith("/api/models/org/tiny"):
            siblings = [{"rfilename": name} for name in self.files]
            info = {"_id": "1", "id": "org/tiny", "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
            self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        elif path.startswith("/org/tiny/resolve/") and path.rpartition("/")[2] in self.files:
            body = self.files[path.rpartition("/")[2]]
            etag = f'"{hashlib.sha256(body).hexdigest()}"'
            self.answer(200, body, ETag=etag, X_Repo_Commit=COMMIT)
        else:
            self.answer(404, b"{}", X_Error_Code="RepoNotFound")

    do_HEAD = do_GET


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("huggingface_hub")
    write_tensors(tmp_path / "w.safetensors", openai_clip().state_dict(), {})
    weights = (tmp_path / "w.safetensors").read_bytes()
    Hub.files = {"open_clip_model.safetensors": weights, "open_clip_config.json": b"{}", "tokenizer.json": b"{}"}
    Hub.files |= {"open_clip_pytorch_model.bin": b"never fetched", "README.md": b"never fetched"}
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def ask(name: str, endpoint: str, tmp_path: Path) -> str:
    import os

    own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    own |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "LIENZO_HOME": str(tmp_path / "home")}
    own |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONPATH": os.pathsep.join(sys.path)}
    code = [sys.executable, "-c", CODE, name]
    done = subprocess.run(code, capture_output=True, text=True, timeout=100, env=os.environ | own)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fetched_once_without_pickles_and_opened_again_without_network(hub: str, tmp_path: Path) -> None:
    expected = "open_clip_model.safetensors open_clip_config.json open_clip_model.safetensors tokenizer.json\nCLIP\n"
    assert ask("hub:org/tiny", hub, tmp_path) == expected
    assert not any("README" in path or ".bin" in path for path in Hub.asked)
    assert ask("hub:org/tiny", "http://127.0.0.1:9", tmp_path) == expected


def test_pickles_only_where_nothing_else_is(hub: str, tmp_path: Path) -> None:
    import io

    import torch

    buffer = io.BytesIO()
    torch.save(openai_clip().state_dict(), buffer)
    Hub.files = {"open_clip_pytorch_model.bin": buffer.getvalue()}
    assert ask("hub:org/tiny", hub, tmp_path).splitlines()[1] == "CLIP"
    Hub.files = {"README.md": b""}
    assert "has none of model.safetensors" in ask("hub:org/tiny", hub, tmp_path)


def test_refused_in_words(hub: str, tmp_path: Path) -> None:
    assert "refused: The hub has no open model 'org/absent'." in ask("hub:org/absent", hub, tmp_path)
    said = ask("hub:org/tiny", "http://127.0.0.1:9", tmp_path)
    assert "refused: The model 'org/tiny' is not on this machine, and the hub is unreachable." in said


@pytest.mark.parametrize("name", ["", "tiny", "../tiny", "a/b/c", "org/tiny\n", "org/ti ny", "org/t@"])
def test_no_names(name: str) -> None:
    with pytest.raises(BadInput, match=r"write hub:org/name"):
        fetch(name)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BadInput, match=r"pip install 'lienzo\[hub\]'"):
        fetch("org/tiny")


def test_a_network_that_breaks_off_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    httpx = pytest.importorskip("httpx")

    def broken(*_: object, **__: object) -> str:
        raise httpx.ReadError("cut\x1b off")

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(hub.HfApi, "model_info", lambda *_, **__: ModelInfo())
    monkeypatch.setattr(hub, "snapshot_download", broken)
    with pytest.raises(BadInput, match=r"'org/tiny' cannot be fetched from the hub: cut.? off\."):
        fetch("org/tiny")


class ModelInfo:
    class File:
        rfilename = "model.safetensors"

    siblings = (File,)
