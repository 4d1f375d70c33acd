"""The recipe in a picture: it comes back whole, other tools' texts are read, and nothing in it is trusted."""

from __future__ import annotations

import json
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from pictures import encoded, gradient, header, png

from lienzo.core.errors import BadInput, BadPicture
from lienzo.imaging.metadata import parse_parameters, printable, private, read_recipe, strip, texts
from lienzo.imaging.reading import load_picture
from lienzo.imaging.writing import save_picture

RECIPE: dict[str, Any] = {
    "prompt": "Un zorro rojo, acuarela: «niño» — рыжая лиса 🦊\nсекунда строка",
    "negative_prompt": "blurry, low quality",
    "steps": 20,
    "sampler": "euler, ancestral",
    "guidance_scale": 7.5,
    "seed": 2**63 - 1,
    "width": 256,
    "height": 320,
    "model": "painter",
    "model_hash": "0123abcd",
    "style": "noto",
}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"fox{suffix}"
    save_picture(gradient(), path, metadata=RECIPE)
    assert read_recipe(path) == {**RECIPE, "version": 1}
    assert read_recipe(path.read_bytes()) == {**RECIPE, "version": 1}
    save_picture(gradient(), path, metadata=RECIPE, level="parameters", exist_ok=True)
    found = read_recipe(path)
    assert found is not None
    assert "version" not in found
    for name in ("prompt", "negative_prompt", "steps", "sampler", "guidance_scale", "seed", "width", "height", "model"):
        assert found[name] == RECIPE[name], name
    save_picture(gradient(), path, metadata=RECIPE, level="none", exist_ok=True)
    assert read_recipe(path) is None


def test_other_tools_find_what_they_expect(tmp_path: Path) -> None:
    recipe = {"prompt": "a fox", "negative_prompt": "fog", "steps": 20, "sampler": "Euler a", "guidance_scale": 7}
    recipe |= {"seed": 5, "width": 256, "height": 256, "model_hash": "abc", "model": "art, v2"}
    save_picture(gradient(), tmp_path / "a.png", metadata=recipe)
    expected = (
        "a fox\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 256x256, "
        'Model hash: abc, Model: "art, v2", Version: Lienzo '
    )
    with Image.open(tmp_path / "a.png") as image:
        assert image.text["parameters"].startswith(expected)
        record = json.loads(image.text["lienzo"])
        assert record["version"] == 1
        assert type(image.text["lienzo"]).__name__ == "iTXt"
    save_picture(gradient(), tmp_path / "a.jpg", metadata=recipe)
    with Image.open(tmp_path / "a.jpg") as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment.startswith(b"UNICODE\0")
    assert comment[8:].decode("utf-16-be").startswith(expected)


def test_a_text_of_a1111() -> None:
    text = (
        "masterpiece, (fox:1.2),\nsecond line\nNegative prompt: bad hands,\nugly\n"
        "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 965400086, Size: 512x768, Model hash: 45dee52b, "
        'Model: "a: \\"b\\", c", Lora hashes: "x: 1, y: 2", Denoising strength: 0.55, Version: v1.9.4'
    )
    assert parse_parameters(text) == {
        "prompt": "masterpiece, (fox:1.2),\nsecond line",
        "negative_prompt": "bad hands,\nugly",
        "steps": 28,
        "sampler": "DPM++ 2M Karras",
        "guidance_scale": 7,
        "seed": 965400086,
        "width": 512,
        "height": 768,
        "model_hash": "45dee52b",
        "model": 'a: "b", c',
        "lora hashes": "x: 1, y: 2",
        "strength": 0.55,
        "made_with": "v1.9.4",
    }


def test_texts_without_settings_are_prompts() -> None:
    assert parse_parameters("a fox") == {"prompt": "a fox"}
    assert parse_parameters("time: 12:30, place: here") == {"prompt": "time: 12:30, place: here"}
    assert parse_parameters("") == {"prompt": ""}
    assert parse_parameters("x" * (1 << 21)) == {}


def test_a_prompt_cannot_forge_its_settings() -> None:
    recipe = {"prompt": "fox\nSteps: 99, Sampler: evil, Seed: 1, Size: 1x1", "steps": 5, "seed": 2, "sampler": "ok"}
    found = parse_parameters(texts(recipe)["parameters"])
    assert (found["steps"], found["seed"], found["sampler"]) == (5, 2, "ok")
    assert found["prompt"] == recipe["prompt"]


@settings(max_examples=200, deadline=None)
@given(
    prompt=st.text(max_size=80),
    negative=st.text(max_size=80),
    sampler=st.text(max_size=20),
    model=st.text(max_size=30),
)
def test_any_text_round_trips_in_our_record(prompt: str, negative: str, sampler: str, model: str) -> None:
    recipe = {"prompt": prompt, "negative_prompt": negative, "sampler": sampler, "model": model, "seed": 1}
    made = texts(recipe)
    clean = private(recipe)
    expected = {k: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for k, v in clean.items()}
    assert json.loads(made["lienzo"]) == {**expected, "version": 1}
    if "\n" not in sampler + model and "\r" not in sampler + model:
        assert parse_parameters(made["parameters"])["seed"] == 1


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet=st.sampled_from('ab:",\\\n {}é🦊Steps'), max_size=60))
def test_any_parameters_text_can_be_parsed(text: str) -> None:
    assert isinstance(parse_parameters(text)["prompt"], str)


def test_hostile_parameters_take_no_time() -> None:
    start = time.perf_counter()
    for text in (
        "a" * 1_000_000,
        "a:" * 500_000,
        'a: "' * 250_000,
        ": " * 500_000,
        "\n" * 1_000_000,
        " " * 999_999 + ":",
    ):
        parse_parameters(text)
        parse_parameters("Steps: 1, Seed: 2, Size: 3x3, " + text)
    assert time.perf_counter() - start < 5


def picture_with(kind: bytes, content: bytes) -> bytes:
    return png(header(1, 1), (kind, content), (b"IDAT", zlib.compress(bytes(4))), (b"IEND", b""))


def test_hostile_records_count_as_none() -> None:
    def record(text: str | bytes) -> bytes:
        raw = text if isinstance(text, bytes) else text.encode()
        return picture_with(b"iTXt", b"lienzo\0\0\0\0\0" + raw)

    good = json.dumps({"version": 1, "prompt": "a"})
    assert read_recipe(record(good)) == {"version": 1, "prompt": "a"}
    for bad in (
        "{broken",
        "[1]",
        '{"version": 2}',
        '{"version": true}',
        '{"prompt": "no version"}',
        "[" * 100_000,
        '{"version": 1, "a": ' + "[" * 30 + "]" * 30 + "}",
        '{"version": 1, "a": ' + "9" * 10_000 + "}",
        good[:-1] + ', "x": "' + "x" * (1 << 20) + '"}',
        b'{"version": 1, "a": "\xff\xfe',
    ):
        assert read_recipe(record(bad)) is None
    packed = b"lienzo\0\1\0\0\0" + zlib.compress(good.encode())
    assert read_recipe(picture_with(b"iTXt", packed)) == {"version": 1, "prompt": "a"}
    bomb = b"lienzo\0\1\0\0\0" + zlib.compress(bytes(100_000_000))
    assert read_recipe(picture_with(b"iTXt", bomb)) is None
    assert read_recipe(picture_with(b"zTXt", b"parameters\0\0broken")) is None
    assert read_recipe(picture_with(b"tEXt", b"parameters\0a fox")) == {"prompt": "a fox"}


def test_what_has_no_recipe(tmp_path: Path) -> None:
    assert read_recipe(encoded(gradient())) is None
    assert read_recipe(encoded(gradient(), "JPEG")) is None
    assert read_recipe(b"not a picture") is None
    assert read_recipe(encoded(gradient(), "JPEG")[:60]) is None
    with pytest.raises(BadPicture, match="does not exist"):
        read_recipe(tmp_path / "absent.png")


def test_paths_are_never_stored() -> None:
    recipe = {
        "prompt": "black/white photo of /home, 24/7",
        "init_image": "/home/maria/secret/fox.png",
        "mask": Path("/home/maria/mask.png"),
        "model": "~/models/art.safetensors",
        "out": "C:\\Users\\maria\\out.png",
        "share": "\\\\server\\maria\\x.png",
        "near": "runs/maria/model.safetensors",
        "up": "../maria/x",
        "address": "file:///home/maria/a.png",
        "prompts": ["/home/maria/ref.png", "a fox"],
        "clip": "ViT-B/16",
        "source": "https://example.org/a/b.png",
        "nested": {"list": ["/home/maria/a.png"]},
    }
    stored = texts(recipe)
    assert "maria" not in "".join(stored.values())
    record = json.loads(stored["lienzo"])
    assert record["prompt"] == recipe["prompt"]
    assert record["init_image"] == "fox.png"
    assert record["model"] == "art.safetensors"
    assert record["near"] == "model.safetensors"
    assert record["prompts"] == ["ref.png", "a fox"]
    assert record["clip"] == "ViT-B/16"
    assert record["source"] == recipe["source"]


def test_numbers_of_numpy_are_numbers() -> None:
    record = json.loads(texts({"prompt": "a", "seed": np.int64(3), "steps": np.float32(0.5)})["lienzo"])
    assert (record["seed"], record["steps"]) == (3, 0.5)


def test_recipes_that_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="1 MiB"):
        texts({"prompt": "x" * (1 << 20)})
    with pytest.raises(BadInput, match="metadata level 'some'"):
        texts({}, "some")  # type: ignore[arg-type]
    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic
    with pytest.raises(BadInput):
        texts(cyclic)
    with pytest.raises(BadInput, match="too long for a JPEG"):
        save_picture(gradient(), tmp_path / "a.jpg", metadata={"prompt": "x" * 80_000})
    assert not list(tmp_path.iterdir())
    save_picture(gradient(), tmp_path / "a.webp", metadata={"prompt": "x" * 80_000})
    found = read_recipe(tmp_path / "a.webp")
    assert found is not None
    assert len(found["prompt"]) == 80_000


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_strip(tmp_path: Path, suffix: str, orientation: int) -> None:
    path, out = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "SECRET camera"
    exif.get_ifd(0x8825)[1] = "SECRET place"
    options: dict[str, Any] = {"exif": exif, "xmp": b"<x>SECRET</x>"} if suffix != ".png" else {"exif": exif}
    if suffix == ".png":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("parameters", "SECRET", zip=False)
    if suffix == ".jpg":
        options |= {"comment": b"SECRET", "progressive": True}
    if suffix == ".webp":
        options |= {"lossless": True}
    Image.fromarray(gradient()).save(path, **options)
    path.write_bytes(path.read_bytes() + b"SECRET after the end")
    assert b"SECRET" in path.read_bytes()
    strip(path, out)
    assert b"SECRET" not in out.read_bytes()
    assert np.array_equal(load_picture(out), load_picture(path))
    assert load_picture(out).shape == ((24, 32, 3) if orientation == 1 else (32, 24, 3))
    with Image.open(out) as image:
        assert set(image.getexif()) <= {0x0112}
    with pytest.raises(BadInput, match="exists already"):
        strip(path, out)


def test_strip_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(encoded(gradient(), "GIF"))
    with pytest.raises(BadPicture, match="PNG, JPEG and WebP"):
        strip(tmp_path / "a.gif", tmp_path / "b.gif")
    (tmp_path / "a.png").write_bytes(encoded(gradient())[:60])
    with pytest.raises(BadPicture, match="cut off"):
        strip(tmp_path / "a.png", tmp_path / "b.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gif", "a.png"]


def test_printable() -> None:
    assert printable("\x1b[2Jevil\x07\x9b31m\0") == "[2Jevil31m"
    assert printable("a\nb\tc\r") == "a b c "
    assert printable("niño рыжая 🦊👩‍🎨") == "niño рыжая 🦊👩‍🎨"
    assert printable("safe\u202etxt.exe") == "safetxt.exe"
    assert printable("x" * 50, limit=10) == "xxxxxxxxx…"
    assert printable("\ud800a") == "a"
