"""Pipelines of the hub: of each part the settings and the safetensors are fetched, from a small server that answers as
huggingface.co does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "c" * 40
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "requires_safety_checker": True,
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
FILES: dict[str, bytes] = {
    "model_index.json": json.dumps(INDEX).encode(),
    "README.md": b"x",
    "v1-5-pruned.safetensors": b"x",
    "safety_checker/model.safetensors": b"x",
    "text_encoder/config.json": b"{}",
    "text_encoder/model.safetensors": b"x",
    "text_encoder/model.fp16.safetensors": b"x",
    "text_encoder/pytorch_model.bin": b"x",
    "tokenizer/vocab.json": b"{}",
    "tokenizer/merges.txt": b"x",
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors.index.json": b"{}",
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors": b"x",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors": b"x",
    "unet/diffusion_pytorch_model.non_ema.safetensors": b"x",
    "unet/evil.py": b"x",
    "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.fp16.safetensors": b"x",
}
WANTED = {
    "model_index.json", "text_encoder/config.json", "text_encoder/model.safetensors", "tokenizer/vocab.json",
    "tokenizer/merges.txt", "unet/config.json", "unet/diffusion_pytorch_model.safetensors.index.json",
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors", "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
}  # fmt: skip
ASK = """
import sys
from lienzo.core.errors import LienzoError
from lienzo.tasks.hub_pipelines import find_pipeline
from lienzo.weights.hub import is_kept
try:
    source = find_pipeline(sys.argv[1])
    if source is None:
        print("no pipeline")
    else:
        print(source.name, source.digest(), is_kept(source.name.removeprefix("hub:")), is_kept("org/other"))
        print(*sorted(str(p.relative_to(source.folder)) for p in source.folder.rglob("*") if p.is_file()))
except LienzoError as error:
    print("refused:", error)
"""
CREATE = """
import sys
from lienzo.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


class Hub(BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}

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
        name = path.partition(f"/resolve/{COMMIT}/")[2]
        if path.startswith("/api/models/org/tiny/tree"):
            entries = [{"type": "file", "path": f, "size": len(b), "oid": "0" * 40} for f, b in self.files.items()]
            self.answer(200, json.dumps(entries).encode(), Content_Type="application/json")
        elif path.startswith("/api/models/org/tiny"):
            siblings = [{"rfilename": file} for file in self.files]
            info = {"_id": "1", "id": "org/tiny", "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
            self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        elif name in self.files:
            body = self.files[name]
            etag = f'"{hashlib.sha256(name.encode() + body).hexdigest()}"'
            self.answer(200, body, ETag=etag, X_Repo_Commit=COMMIT)
        else:
            self.answer(404, b"{}", X_Error_Code="RepoNotFound")

    do_HEAD = do_GET


@pytest.fixture
def hub() -> Iterator[str]:
    pytest.importorskip("huggingface_hub")
    Hub.files = dict(FILES)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def python(code: str, *arguments: str, endpoint: str, folder: Path, **own: str) -> subprocess.CompletedProcess[str]:
    own |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    own |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
    own |= {"no_proxy": "127.0.0.1", "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=200, cwd=folder,
        env={"LIENZO_HOME": str(folder / "home"), **os.environ, **own},
    )  # fmt: skip


def ask(name: str, endpoint: str, folder: Path) -> str:
    done = python(ASK, name, endpoint=endpoint, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_settings_and_safetensors_only_and_again_without_network(hub: str, tmp_path: Path) -> None:
    first, second = ask("hub:org/tiny", hub, tmp_path).splitlines()
    assert first == f"hub:org/tiny@{COMMIT} {COMMIT} True False"
    assert set(second.split()) == WANTED
    for name in ("hub:org/tiny", f"hub:org/tiny@{COMMIT}"):
        assert ask(name, "http://127.0.0.1:9", tmp_path).splitlines() == [first, second]


def test_a_part_that_is_only_a_pickle_is_refused_before_anything_is_fetched(hub: str, tmp_path: Path) -> None:
    del Hub.files["text_encoder/model.safetensors"], Hub.files["text_encoder/model.fp16.safetensors"]
    said = ask("hub:org/tiny", hub, tmp_path)
    assert said == "refused: The hub has the part 'text_encoder' only as a pickle, which Lienzo does not open.\n"
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("index", [b"{", b"\xff", b"[" * 100_000])
def test_a_broken_index_is_told(hub: str, tmp_path: Path, index: bytes) -> None:
    Hub.files["model_index.json"] = index
    assert ask("hub:org/tiny", hub, tmp_path) == "refused: The model_index.json of 'org/tiny' is broken.\n"


def test_what_is_not_there(hub: str, tmp_path: Path) -> None:
    assert ask("hub:org/absent", hub, tmp_path) == "refused: The hub has no open model 'org/absent'.\n"
    said = ask("hub:org/tiny", "http://127.0.0.1:9", tmp_path)
    assert said == "refused: The model 'org/tiny' is not on this machine, and the hub is unreachable.\n"
    del Hub.files["model_index.json"]
    assert ask("hub:org/tiny", hub, tmp_path) == "no pipeline\n"


def test_create_from_the_hub_and_reproduce_without_it(hub: str, tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="the extra [hub] is not installed")
    from tiny_models import save_tiny_models
    from tiny_pipelines import save_pipeline

    made = save_pipeline(tmp_path / "made", "sd")
    Hub.files = {str(path.relative_to(made)): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    (tmp_path / "work").mkdir()
    home: dict[str, Any] = {"LIENZO_HOME": str(save_tiny_models(tmp_path / "work" / "home"))}
    words = ["create", "a fox", "--model", "hub:org/tiny", "--steps", "2", "--size", "32", "--seed", "3", "--json"]
    done = python(CREATE, *words, endpoint=hub, folder=tmp_path / "work", **home)
    assert done.returncode == 0, done.stderr
    picture = next(event for event in map(json.loads, done.stdout.splitlines()) if event["event"] == "picture")
    assert picture["recipe"]["model"] == f"hub:org/tiny@{COMMIT}"
    assert picture["recipe"]["models"]["model"] == COMMIT
    nowhere = "http://127.0.0.1:9"
    done = python(CREATE, "reproduce", "picture.png", "--json", endpoint=nowhere, folder=tmp_path / "work", **home)
    assert done.returncode == 0, done.stderr
    assert "Exact: every pixel is the same." in done.stdout
