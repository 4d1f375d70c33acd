"""Every CLIP as an embedder: bundled ones without torch for texts, and checkpoints from outside by key."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import CLIP_CONFIG, save_tiny_models
from torch.nn import functional as F

from lienzo.clip.embedder import DEFAULT_CLIP, open_embedder
from lienzo.clip.layouts import to_huggingface
from lienzo.clip.model import CLIP
from lienzo.clip.preprocessing import normalise
from lienzo.clip.siglip import SigLIP
from lienzo.clip.tokenizer import tokenize
from lienzo.core.errors import BadInput, BadWeights
from lienzo.weights.models import load_model, save_model
from lienzo.weights.writing import write_tensors

TEXTS = ["a red fox", "un gato azul", "рыжая лиса"]
SIGLIP: dict[str, Any] = {
    "image_resolution": 16, "vision_patch_size": 8, "vision_width": 32, "vision_layers": 1, "vision_heads": 2,
    "vision_act": "gelu", "context_length": 8, "vocab_size": 30, "text_width": 16, "text_layers": 1, "text_heads": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIENZO_HOME", str(tmp_path / "home"))


def squares(size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, size, size, 3), np.uint8)


def clip_in(folder: Path, *, quick: bool = True) -> CLIP:
    torch.manual_seed(5)
    folder.mkdir(exist_ok=True)
    return CLIP(**CLIP_CONFIG, quick_gelu=quick).eval()


def put(folder: Path, name: str, state: dict[str, torch.Tensor], **files: Any) -> str:
    write_tensors(folder / name, {key: value.clone().contiguous() for key, value in state.items()}, {})
    for file, table in files.items():
        (folder / f"{file}.json").write_text(json.dumps(table))
    return str(folder)


def check_clip(name: str, model: CLIP) -> None:
    embedder = open_embedder(name)
    pictures = squares(embedder.size)
    with torch.no_grad():
        x = normalise(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
        images = F.normalize(model.encode_image(x), dim=-1).numpy()
        texts = F.normalize(model.encode_text(tokenize(TEXTS)), dim=-1).numpy()
    assert np.abs(embedder.texts(TEXTS) - texts).max() < 1e-5
    found = embedder.pictures(pictures)
    assert found.dtype == np.float32
    assert (found * images).sum(1).min() > 0.999  # bfloat16 where the processor has it
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert embedder.dim == 16
    assert embedder.scale == pytest.approx(1 / 0.07, rel=2e-3)  # half precision in a file
    assert embedder.bias == 0


def test_tiny_bundled(tmp_path: Path) -> None:
    save_tiny_models(tmp_path / "home")
    embedder = open_embedder(DEFAULT_CLIP)
    model = load_model(tmp_path / "home/models/judge.safetensors")
    pictures = squares(embedder.size)
    with torch.no_grad():
        expected = model.encode_image(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255).numpy()  # type: ignore[operator]
    assert (embedder.pictures(pictures) * expected).sum(1).min() > 0.999
    assert embedder.pictures(pictures[:0]).shape == (0, embedder.dim)
    assert embedder.texts(TEXTS).shape == (3, embedder.dim)
    assert embedder.prepare(Image.new("RGB", (9, 50))).shape == (16, 16, 3)
    other = open_embedder("guide", towers="image")
    assert other.tag != embedder.tag
    assert open_embedder(DEFAULT_CLIP, towers="text").tag == embedder.tag
    with pytest.raises(BadInput, match="16 x 16"):
        embedder.pictures(squares(17))


def test_another_sentence_encoder_is_another_tag(tmp_path: Path) -> None:
    first = open_embedder(DEFAULT_CLIP, towers="text").tag
    save_tiny_models(tmp_path / "home")
    assert open_embedder(DEFAULT_CLIP, towers="text").tag.split("+")[1] != first.split("+")[1]


def test_bundled_text_needs_no_torch() -> None:
    code = "import sys\nfrom lienzo.clip.embedder import *\ne = open_embedder(DEFAULT_CLIP, towers='text')\n"
    code += "e.texts(['a yellow submarine'])\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_clip_of_openai_lienzo_and_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = CLIP(**CLIP_CONFIG | {"transformer_heads": None, "vision_heads": None}).eval()  # no file tells of heads
    torch.save({"state_dict": model.half().state_dict()}, tmp_path / "clip.pt")
    check_clip(str(tmp_path / "clip.pt"), model.float())
    own = tmp_path / "own.safetensors"
    save_model(own, "clip", model.config, model.state_dict(), {"title": "t", "licence": "CC0-1.0"})
    check_clip(str(own), model)


def test_clip_of_hugging_face(tmp_path: Path) -> None:
    model = clip_in(tmp_path, quick=False)
    towers = {"num_attention_heads": 2, "hidden_act": "gelu"}
    config = {"text_config": towers, "vision_config": {**towers, "image_size": 16}}
    check_clip(put(tmp_path, "model.safetensors", to_huggingface(model.state_dict()), config=config), model)
    assert "crop-bicubic-16" in open_embedder(str(tmp_path), towers="text").tag


@pytest.mark.parametrize("custom", [False, True])
def test_clip_of_open_clip(tmp_path: Path, custom: bool) -> None:
    model = clip_in(tmp_path, quick=False)
    state = dict(model.state_dict())
    if custom:
        state = {k if k.startswith(("visual.", "logit_scale")) else f"text.{k}": v for k, v in state.items()}
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": {"width": 16, "heads": 2, "layers": 1}}}
    check_clip(put(tmp_path, "open_clip_model.safetensors", state, open_clip_config=config), model)
    config["preprocess_cfg"] = {"resize_mode": "squash", "interpolation": "bilinear"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    assert ":squash-bilinear-16-" in open_embedder(str(tmp_path), towers="text").tag


def tiny_tokenizer(folder: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = ["<pad>", "</s>", "<unk>", "a", "red", "fox", "un", "gato", "azul"]
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    own.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    own.save(str(folder / "tokenizer.json"))


def test_siglip_of_hugging_face(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = SigLIP(**SIGLIP).eval()
    config = {
        "text_config": {"num_attention_heads": 2},
        "vision_config": {"num_attention_heads": 2, "hidden_act": "gelu"},
    }
    config["vision_config"]["image_size"] = 16
    folder = put(tmp_path, "model.safetensors", model.state_dict(), config=config, preprocessor_config={"resample": 2})
    embedder = open_embedder(folder, towers="image")
    with pytest.raises(BadInput, match=r"put tokenizer\.json or spiece\.model beside 'model\.safetensors'"):
        embedder.texts(TEXTS)
    tiny_tokenizer(tmp_path)
    tokens = torch.tensor([[3, 4, 5, 1, 0, 0, 0, 0], [6, 7, 8, 1, 0, 0, 0, 0], [2, 2, 1, 0, 0, 0, 0, 0]])
    pictures = squares(16)
    with torch.no_grad():
        texts = F.normalize(model.encode_text(tokens), dim=-1).numpy()
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        images = F.normalize(model.encode_image(x), dim=-1).numpy()
    assert np.abs(embedder.texts(["A red_fox!", *TEXTS[1:]]) - texts).max() < 1e-5
    assert (embedder.pictures(pictures) * images).sum(1).min() > 0.999
    assert embedder.scale == pytest.approx(10)
    assert embedder.bias == -10
    assert ":squash-bilinear-16-" in embedder.tag
    assert isinstance(load_model(tmp_path / "model.safetensors"), SigLIP)


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^'adm-64\.safetensors' is no CLIP"):
        open_embedder("adm-64")
    with pytest.raises(BadInput, match="both, text or image"):
        open_embedder("judge", towers="picture")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="There is no model 'jugde'; did you mean 'judge'"):
        open_embedder("jugde")
    model = clip_in(tmp_path)
    folder = put(tmp_path, "model.safetensors", to_huggingface(model.state_dict()))
    (tmp_path / "config.json").write_text("[1")
    with pytest.raises(BadWeights, match=r"'config\.json' beside the weights is no sound JSON"):
        open_embedder(folder)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "preprocessor_config.json").write_text('{"resample": "x"}')
    with pytest.raises(BadWeights, match="unknown resample; known are 1, 2, 3"):
        open_embedder(folder)
    for std in ("[0.5, 0.5, 0]", "[0.5, 0.5, NaN]"):
        (tmp_path / "preprocessor_config.json").write_text(f'{{"image_std": {std}}}')
        with pytest.raises(BadWeights, match="The picture settings beside the weights"):
            open_embedder(folder)
    huge = tmp_path / "huge.safetensors"
    write_tensors(huge, {**model.state_dict(), "logit_scale": torch.tensor(1e4)}, {})
    with pytest.raises(BadWeights, match=r"'huge\.safetensors' does not fit its network"):
        open_embedder(str(huge))
    small = CLIP(**CLIP_CONFIG, vocab_size=50)
    other = tmp_path / "small.safetensors"
    write_tensors(other, dict(small.state_dict()), {})
    with pytest.raises(BadInput, match="reads 50 token ids where OpenAI's tokenizer gives 49408"):
        open_embedder(str(other))
    assert open_embedder(str(other), towers="image").dim == 16


def test_a_card_changes_no_tag_and_a_weight_does(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    save_tiny_models(tmp_path / "home")
    path = tmp_path / "home/models/judge.safetensors"
    first = open_embedder(DEFAULT_CLIP, towers="text")
    with safe_open(path, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(tensors, path, {**metadata, "note": "another card"})
    second = open_embedder(DEFAULT_CLIP, towers="text")
    assert second.tag == first.tag
    assert second.former != first.former
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, path, metadata)
    assert open_embedder(DEFAULT_CLIP, towers="text").tag != first.tag
