"""`models`: what is at hand, what a file holds, safe conversion, and damage found."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import SWINIR, openai_clip
from torch import nn

from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Note, Table
from lienzo.diffusion.adm import Adm
from lienzo.tasks.models import ConvertModel, ListModels, ShowModel, VerifyModels, run
from lienzo.upscaling.swinir import SwinIR
from lienzo.weights.models import Card, load_model, read_card, save_model

ADM: dict[str, Any] = {
    "image_size": 64, "in_channels": 3, "model_channels": 32, "out_channels": 3, "num_res_blocks": 1,
    "attention_resolutions": [2], "channel_mult": [1, 2], "num_heads": 4,
}  # fmt: skip


@pytest.fixture
def own_home(tiny_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny set that a test may change."""
    home = tmp_path / "own"
    shutil.copytree(tiny_home / "models", home / "models")
    monkeypatch.setenv("LIENZO_HOME", str(home))
    return home


def table(options: Any) -> Table:
    (event,) = (e for e in run(options) if isinstance(e, Table))
    return event


def test_list() -> None:
    rows = {row[0]: row for row in table(ListModels.make()).rows}
    assert {"adm-64", "guide", "judge", "painter", "refiner", "sentence", "upscaler"} <= rows.keys()
    assert rows["painter"][2:] == ("yours", "CC0-1.0", "tiny painter")
    assert rows["painter"][1].endswith(" MB")


def test_list_goes_on_past_a_broken_file(own_home: Path) -> None:
    (own_home / "models" / "broken.safetensors").write_bytes(b"\0" * 40)
    torch.save({"a": torch.zeros(1)}, own_home / "models" / "raw.pt")
    rows = {row[0]: row for row in table(ListModels.make()).rows}
    assert "broken" in rows
    assert "convert it" in rows["raw"][4]
    assert "painter" in rows


@pytest.mark.parametrize(
    "card",
    [
        {"training_data": [{"name": "Noto", "licence": "Apache-2.0"}],
         "metrics": [{"name": "psnr", "value": 30.5, "protocol": "rgb"}]},
        {"training_data": "Noto, Apache-2.0", "metrics": {"psnr[rgb]": 30.5}},
    ],
)  # fmt: skip
def test_show_a_card(card: dict[str, Any]) -> None:
    model = SwinIR(**SWINIR)
    full = {"title": "mine", "licence": "CC0-1.0", "description": "two\nlines", **card}
    save_model("mine.safetensors", "swinir", model.config, model.state_dict(), full)
    rows = dict(table(ShowModel.make(model="mine.safetensors")).rows)  # type: ignore[arg-type]
    assert (rows["title"], rows["licence"]) == ("mine", "CC0-1.0")
    assert "Noto" in rows["training data"]
    assert any("psnr" in name and "30.5" in value for name, value in rows.items())
    assert len(rows["sha256"]) == 64


def test_show_a_foreign_file() -> None:
    torch.save(openai_clip().state_dict(), "ViT.pt")
    rows = dict(table(ShowModel.make(model="ViT.pt")).rows)  # type: ignore[arg-type]
    assert rows["network"] == "clip"
    assert rows["token_embedding.weight"] == "(49408, 16)"
    with pytest.raises(BadInput, match="There is no model 'nope'"):
        table(ShowModel.make(model="nope"))


class Bomb:
    """A pickled object that would write a file in a careless reader."""

    def __reduce__(self) -> Any:
        return (exec, ("open('owned', 'w').close()",))


def networks() -> dict[str, tuple[str, nn.Module, str | None]]:
    torch.manual_seed(2)
    return {
        "swinir": ("swinir", SwinIR(**SWINIR), "params_ema"),
        "adm": ("adm", Adm(**ADM), None),
        "clip": ("clip", openai_clip(), "state_dict"),
    }


@pytest.mark.parametrize("name", ["swinir", "adm", "clip"])
@pytest.mark.parametrize("half", [True, False])
def test_convert_reads_data_and_runs_nothing(name: str, half: bool, own_home: Path) -> None:
    kind, model, key = networks()[name]
    state = model.state_dict()
    saved: dict[str, Any] = {key: state, "extra": Bomb()} if key else dict(state)
    torch.save(saved, f"{name}-file.pt")
    events: list[Event] = list(run(ConvertModel.make(source=Path(f"{name}-file.pt"), half=half, licence="MIT")))
    note = events[-1]
    assert isinstance(note, Note)
    assert f"is a {kind}; saved as" in note.text
    assert note.text.endswith(f"Use it as --model {name}-file.")
    assert not Path("owned").exists()
    out = own_home / "models" / f"{name}-file.safetensors"
    assert read_card(out).licence == "MIT"
    found = load_model(out).state_dict()
    assert found.keys() == state.keys()
    assert all(torch.allclose(found[k].float(), state[k].float(), atol=1e-3 if half else 0) for k in state)
    assert table(VerifyModels.make(models=(f"{name}-file",))).rows == ((f"{name}-file", "whole"),)


def test_the_bomb_would_go_off() -> None:
    pickle.loads(pickle.dumps(Bomb()))
    assert Path("owned").exists()


def test_convert_to_a_place_and_by_a_name_with_spaces(own_home: Path) -> None:
    torch.save(SwinIR(**SWINIR).state_dict(), "my net (1).pth")
    source = Path("my net (1).pth")
    note = list(run(ConvertModel.make(source=source, out=Path("small.safetensors"))))[-1]
    assert isinstance(note, Note)
    assert note.text.endswith("Use it as --model small.safetensors.")
    load_model("small.safetensors")
    note = list(run(ConvertModel.make(source=source)))[-1]
    assert isinstance(note, Note)
    named = note.text.rpartition("--model ")[2].removesuffix(".")
    assert Path(named).is_file(), "a name that the store does not take is no use to anyone"


def test_convert_refuses_in_one_sentence(own_home: Path) -> None:
    swinir = SwinIR(**SWINIR).state_dict()
    torch.save({"a": torch.zeros(2)}, "unknown.pt")
    torch.save({k: v for k, v in swinir.items() if "relative_position" not in k}, "lacking.pt")
    torch.save({k: v.flatten()[:1] if "qkv" in k else v for k, v in swinir.items()}, "bent.pt")
    Path("text.pt").write_text("hello")
    Path("cut.pt").write_bytes(Path("unknown.pt").read_bytes()[:100])
    Path("folder.pt").mkdir()
    before = set(os.listdir(own_home / "models"))
    for name in ("unknown", "lacking", "bent", "text", "cut", "folder", "absent"):
        with pytest.raises(BadInput) as caught:
            list(run(ConvertModel.make(source=Path(f"{name}.pt"))))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
    torch.save(swinir, "good.pt")
    with pytest.raises(BadInput, match=r"ends in \.safetensors"):
        list(run(ConvertModel.make(source=Path("good.pt"), out=Path("good.bin"))))
    assert set(os.listdir(own_home / "models")) == before


def test_verify(own_home: Path) -> None:
    names = ("painter", "guide", "refiner")
    assert table(VerifyModels.make(models=names)).rows == tuple((name, "whole") for name in names)
    path = own_home / "models" / "guide.safetensors"
    data = bytearray(path.read_bytes())
    data[-7] ^= 1  # one bit of one number
    path.write_bytes(data)
    events = run(VerifyModels.make(models=names))
    found = next(events)
    assert isinstance(found, Table)
    assert dict(found.rows)["guide"] == "changed since its card was written"  # type: ignore[arg-type]
    assert dict(found.rows)["painter"] == "whole"  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"^1 of 3 models are not whole: guide\.$"):
        next(events)


def test_verify_everything_and_the_lost(own_home: Path) -> None:
    (own_home / "models" / "judge.safetensors").write_bytes(b"short")
    events = run(VerifyModels.make())
    rows = dict(next(events).rows)  # type: ignore[union-attr, arg-type]
    assert rows["upscaler"] == "whole"
    assert rows["judge"] not in ("whole", "changed since its card was written")
    with pytest.raises(BadInput, match="not whole: judge"):
        next(events)
    with pytest.raises(BadInput, match="1 of 1 models are not whole: nope"):
        list(run(VerifyModels.make(models=("nope",))))


def test_cards_of_saved_models_are_kept_whole() -> None:
    model = SwinIR(**SWINIR)
    save_model("m.safetensors", "swinir", model.config, model.state_dict(), Card(title="t", licence="CC0-1.0"))
    (good,) = table(VerifyModels.make(models=("m.safetensors",))).rows
    assert good == ("m.safetensors", "whole")
