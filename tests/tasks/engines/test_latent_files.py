"""What lies beside or is added to a checkpoint in `create`: learned words and the `.yaml` of its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_stable_diffusion as tiny
import torch
from safetensors.torch import save_file
from tiny_models import save_tiny_models

from lienzo.clip.tokenizer import encode
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Picture
from lienzo.imaging.metadata import read_recipe
from lienzo.imaging.reading import load_picture
from lienzo.tasks.create import Create, run
from lienzo.tasks.easel import open_easel
from lienzo.tasks.engines.latent import parse_embedding
from lienzo.tasks.reproduce import Reproduce
from lienzo.tasks.reproduce import run as run_reproduce
from lienzo.tasks.walk import Walk
from lienzo.tasks.walk import run as run_walk

FAST: dict[str, Any] = {"seed": 7, "size": 16, "steps": 2, "upscaler": "none", "previews": 0, "overwrite": True}


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    save_tiny_models(folder)
    save_file({key: value.contiguous() for key, value in tiny.compvis().items()}, folder / "sd.safetensors")
    return folder


@pytest.fixture(autouse=True)
def at_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIENZO_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    Path("sd.safetensors").symlink_to(home / "sd.safetensors")


def create(prompt: str, **options: Any) -> list[Event]:
    return list(run(Create.make(**{**FAST, "prompt": prompt, "model": "sd.safetensors", **options})))


def made(prompt: str, **options: Any) -> np.ndarray:
    return next(event.image for event in create(prompt, **options) if isinstance(event, Picture))


def notes(events: list[Event]) -> str:
    return " ".join(event.text for event in events if isinstance(event, Note))


def reproduced(**options: Any) -> str:
    given = {"model": "sd.safetensors", **options}
    return notes(list(run_reproduce(Reproduce.make(picture=Path("picture.png"), **given))))


def learned(file: str, text: str = "red fox") -> str:
    """A file whose word says what `text` says to the tiny text encoder."""
    rows = tiny.networks()[2].token_embedding.weight[encode(text)].clone()
    if file.endswith(".pt"):
        torch.save(
            {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": {"*": rows}, "name": "renard"}, file
        )
    elif file.endswith(".bin"):
        torch.save({"<renard>": rows}, file)
    else:
        save_file({"emb_params": rows}, file)
    return file


def test_a_word_paints_what_it_stands_for() -> None:
    plain = made("a red fox in snow")
    for file, word in (("vulpes-1.pt", "Vulpes-1"), ("vulpes-1.pt", "renard"), ("v.bin", "<renard>"),
                       ("v.safetensors", "V")):  # fmt: skip
        assert np.array_equal(made(f"a {word} in snow", embedding=(learned(file),)), plain)
    assert np.array_equal(made("a my fox in snow", embedding=("v.bin:my fox",)), plain)
    assert not np.array_equal(made("a <renard> in snow"), plain)
    assert not np.array_equal(made("a <renard> in snow", embedding=("v.bin:my fox",)), plain)


def test_negative_weighted_and_long_prompts_know_it() -> None:
    given = {"embedding": (learned("v.safetensors"), learned("bad.pt") + ":bad", learned("w.bin", "fog snow dark"))}
    long = "house, " * 40
    for said, wanted in (
        ({"prompt": "a cat", "negative": "BAD"}, {"prompt": "a cat", "negative": "red fox"}),
        ({"prompt": "a (v:1.4) [w]"}, {"prompt": "a (red fox:1.4) [fog snow dark]"}),
        ({"prompt": long + "w"}, {"prompt": long + "fog snow dark"}),
        ({"prompt": "cat:2 | v:-0.5"}, {"prompt": "cat:2 | red fox:-0.5"}),
    ):
        assert np.array_equal(made(**said, **given), made(**wanted))


def test_it_is_in_the_recipe() -> None:
    file = learned("v.bin")
    create("a <renard>", embedding=(str(Path(file).resolve()),))
    recipe = read_recipe("picture.png") or {}
    ((digest, word),) = recipe["inputs"]["embedding"]
    assert (len(digest), word) == (64, "v")
    assert str(Path.cwd()) not in str(recipe)
    with pytest.raises(BadInput, match="made with --embedding; give the same file"):
        reproduced()
    assert reproduced(embedding=(file,)) == "Exact: every pixel is the same."
    Path(file).rename("other.bin")
    assert reproduced(embedding=("other.bin:v",)).endswith("Nothing in the recipe says why.")  # only <renard> was said
    create("a v", embedding=("other.bin:v",))
    assert reproduced(embedding=("other.bin:v",)) == "Exact: every pixel is the same."
    assert "The embedding file is another one." in reproduced(embedding=(learned("v.safetensors", "cat"),))


def test_a_word_that_is_not_said_is_told() -> None:
    files = (learned("v.bin"), learned("w.safetensors", "cat"))
    assert "embedding 'v' changes a picture only where its prompt says 'v'." in notes(
        create("a cat, w", embedding=files)
    )
    assert "embedding" not in notes(create("a <renard>", negative="W", embedding=files))


def walked(folder: str, *prompts: str, **options: Any) -> list[np.ndarray]:
    given = {"size": 16, "steps": 2, "upscaler": "none", "frames": 2, "model": "sd.safetensors", **options}
    list(run_walk(Walk.make(prompts=prompts, out=Path(folder), **given)))
    return [load_picture(file) for file in sorted(Path(folder).rglob("*.png"))]


def test_a_walk_knows_it() -> None:
    word, plain = walked("word", "a cat", "a v", embedding=(learned("v.pt"),)), walked("plain", "a cat", "a red fox")
    assert len(plain) == 2
    assert all(map(np.array_equal, word, plain))


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["none.pt"], "The embedding file 'none.pt' does not exist"),
        (["v.pt:"], None),
        (["v.bin", "v.pt"], "Two embeddings are written 'v'; give one of them as FILE:WORD"),
        (["a.pt:x", "v.pt:X"], "Two embeddings are written 'X'"),
        (["wide.pt"], r"768 numbers a vector \(Stable Diffusion 1\), and the text encoder of this model 16"),
        (["sd2.pt"], r"1024 numbers a vector \(Stable Diffusion 2\)"),
        (["nan.pt"], "'nan.pt' is damaged"),
        (["text.pt"], "'text.pt' is not a weight file"),
        (["sd.safetensors"], "'sd.safetensors' is no embedding of one word: it has [0-9]+ tensors"),
    ],
)
def test_what_does_not_fit_is_one_sentence(files: list[str], sentence: str | None) -> None:
    for name in ("v.pt", "a.pt", "v.bin"):
        learned(name)
    torch.save({"string_to_param": {"*": torch.zeros(1, 768)}}, "wide.pt")
    torch.save({"<x>": torch.zeros(1024)}, "sd2.pt")
    torch.save({"<x>": torch.full((16,), torch.nan)}, "nan.pt")
    Path("text.pt").write_text("no weights")
    if sentence is None:
        assert parse_embedding(files[0]) == (Path("v.pt"), "")
        return
    with pytest.raises(BadInput, match=sentence):
        create("a cat", embedding=tuple(files))
    assert not Path("picture.png").exists()


def test_other_models_refuse_it() -> None:
    with pytest.raises(BadInput, match="--embedding is for checkpoints of Stable Diffusion"):
        list(run(Create.make(prompt="fox", embedding=("v.pt",))))


def test_a_file_name_with_a_colon_is_a_file() -> None:
    learned("a:b.pt")
    assert parse_embedding("a:b.pt") == (Path("a:b.pt"), "")
    assert parse_embedding("a:b.pt:c") == (Path("a:b.pt"), "c")


def test_the_settings_beside_a_checkpoint_are_followed() -> None:
    plain, v = made("a fox"), made("a fox", prediction="v")
    assert not np.array_equal(plain, v)
    settings = Path("sd.yaml")
    settings.write_text("model: {params: {parameterization: v, image_size: 12, unet_config: {params: {}}}}")
    assert np.array_equal(made("a fox"), v)
    assert "Exact" in reproduced()
    assert (read_recipe("picture.png") or {})["models"]["settings"]
    options = Create.make(prompt="a fox", model="sd.safetensors", steps=1, upscaler="none", overwrite=True)
    assert open_easel(options).sides() == (24, 24)  # 12 positions of 2 pixels
    settings.write_text("model: {params: {parameterization: eps, image_size: 12, unet_config: {params: {}}}}")
    assert np.array_equal(made("a fox"), plain)
    settings.unlink()
    found = reproduced()
    assert "Exact" in found
    assert "The file of settings is not the one it was made with." in found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: !!python/object/apply:os.system ['touch ran']", "no sound YAML"),
        ("model: {params: {unet_config: {params: {context_dim: 768}}}}", "say context_dim = 768, and its weights 16"),
        ("model: {params: {parameterization: x0, unet_config: {params: {}}}}", "it should be eps or v"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(text: str, sentence: str) -> None:
    Path("sd.yaml").write_text(text)
    with pytest.raises(BadInput, match=sentence):
        create("a fox")
    assert not Path("picture.png").exists()
    assert not Path("ran").exists()
