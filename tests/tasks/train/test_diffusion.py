"""`train diffusion`: options to recipe, fine-tuning, and painting what was trained on its own noise schedule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import ADM

from lienzo.core.errors import BadInput
from lienzo.core.events import Event
from lienzo.data.sets import DataSet
from lienzo.diffusion.adm import Adm
from lienzo.diffusion.adm_checkpoints import diffusion_of
from lienzo.diffusion.adm_flags import CHANNEL_MULT, MODEL_DEFAULTS, DiffusionSettings, from_flags
from lienzo.diffusion.schedules import make_betas
from lienzo.tasks.create import Create
from lienzo.tasks.engines import engine_for
from lienzo.tasks.engines.base import Wish
from lienzo.tasks.train.diffusion import NETWORK, TrainDiffusion, described, recipe, run
from lienzo.tasks.train.starting import DIFFUSION
from lienzo.weights.models import Card, load_model, save_model

SMALL: dict[str, Any] = {"image_size": 16, "channel_mult": "1,1.5", "attention_resolutions": "8", "batch": 2}
SMALL |= {"num_channels": 64, "num_head_channels": 32}


def options(preset: str | None = None, **given: Any) -> TrainDiffusion:
    return TrainDiffusion.make(preset, data="pictures", **given)


def pictures(size: int, classes: tuple[str, ...] = ("cat", "dog")) -> DataSet:
    rng = np.random.default_rng(0)
    labels = np.arange(6, dtype=np.int64) % max(len(classes), 1)
    return DataSet(
        rng.integers(0, 256, (6, size, size, 3), np.uint8),
        tuple(f"picture {i}" for i in range(6)),
        labels=labels if classes else None,
        label_names=classes,
    )


def two_steps(given: TrainDiffusion, path: Path) -> Path:
    """Train two steps, save as the loop does, and return the file."""
    config, settings = described(given)
    data = pictures(config["image_size"])
    made = recipe(given, config, settings, data, data)
    torch.manual_seed(0)
    model = made.build().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(2):
        losses = made.step(model, made.batch(2 * step, torch.Generator().manual_seed(step)))
        optimizer.zero_grad()
        torch.as_tensor(sum(losses.values())).backward()
        optimizer.step()
    told: Any = model.config
    save_model(path, made.network, told, model.state_dict(), Card(title="x", licence="CC0-1.0"), half=True)
    return path


@pytest.mark.parametrize(
    ("given", "schedule", "steps"),
    [({}, "cosine", 1000), ({"noise_schedule": "ldm_linear", "diffusion_steps": 300}, "ldm_linear", 300)],
    ids=["cosine", "ldm_linear"],
)
def test_a_trained_model_is_painted_on_its_own_schedule(
    given: dict[str, Any], schedule: str, steps: int, tmp_path: Path
) -> None:
    path = two_steps(options(**SMALL, **given), tmp_path / "mine.safetensors")
    engine: Any = engine_for(load_model(path), Create.make(prompt="x", model=str(path)), torch.device("cpu"))
    assert torch.equal(engine.network.betas, make_betas(schedule, steps))
    assert engine.network.prediction == "v"
    assert not engine.network.learned_range
    assert engine.size == 16
    assert not engine.conditional
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    sigma = engine.sigmas(4)[1:2]
    denoised = engine.denoiser(Wish(()), 1, 1.0)(x * sigma, sigma)
    level = (1 + sigma**2).sqrt()
    t = engine.network.timesteps_for(sigma)
    with torch.no_grad():
        v = engine.model(x * sigma / level, t)
    assert torch.allclose(denoised, (x * sigma / level**2 - sigma / level * v).clamp(-1, 1), atol=1e-4)


def test_a_class_conditional_model_is_asked_by_name(tmp_path: Path) -> None:
    given = options(**SMALL, class_cond=True, label_dropout=0.2, learn_sigma=True, predict_v=False)
    path = two_steps(given, tmp_path / "cats.safetensors")
    model: Any = load_model(path)
    assert model.config["classes"] == ["cat", "dog"]
    assert model.config["num_classes"] == 3
    engine: Any = engine_for(model, Create.make(prompt="dog", model=str(path)), torch.device("cpu"))
    assert engine.label("Dog") == engine.label("1") == 1
    assert engine.network.learned_range


def test_the_defaults_are_small_and_the_presets_are_those_published() -> None:
    config, settings = described(options())
    assert config["model_channels"] * max(config["channel_mult"]) <= 256
    assert settings == DiffusionSettings("cosine", learn_sigma=False, prediction="v")
    published = {"improved": "imagenet64_uncond_100M", "adm-64": "64x64_diffusion", "cda": "256x256_clip_diffusion_art"}
    from lienzo.diffusion.adm_checkpoints import PUBLIC

    for preset, name in published.items():
        config, settings = described(options(preset))
        row = from_flags(PUBLIC[name])
        assert settings == row.diffusion
        assert config == row.config
    art = options("cda")
    assert (art.learning_rate, art.batch, art.precision, art.checkpointing) == (5e-6, 16, "fp16", True)
    for preset in TrainDiffusion.presets:
        config, _ = described(options(preset))
        with torch.device("meta"):
            Adm(**config)


def test_options_are_the_flags_of_guided_diffusion() -> None:
    elsewhere = {"use_checkpoint", "use_fp16", "timestep_respacing"}
    assert set(MODEL_DEFAULTS) - elsewhere == set(NETWORK) | set(DIFFUSION)
    assert set(NETWORK) | set(DIFFUSION) <= set(TrainDiffusion.model_fields)
    given = options(
        image_size=64, channel_mult="", num_heads=2, num_head_channels=-1, resblock_updown=True, dropout=0.3
    )
    config, _ = described(given)
    assert config["channel_mult"] == list(CHANNEL_MULT[64])
    assert (config["num_heads"], config["num_head_channels"], config["resblock_updown"]) == (2, -1, True)
    given = options(schedule_sampler="loss-second-moment", random_flip=True, bpd=3, seed=7)
    made = recipe(given, *described(given), pictures(32), pictures(32))
    assert (made.training.random_flip, made.training.bpd, made.training.seed) == (True, 3, 7)
    assert made.training.schedule_sampler == "loss_second_moment"


@pytest.mark.parametrize("given", [{"image_size": 16}, {"start_from": "adm-64"}], ids=["new", "from"])
def test_the_data_are_opened_at_the_size_of_the_network(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def train(options: TrainDiffusion, size: int, make: Any, title: str, limits: str) -> Iterator[Event]:
        asked.append((size, make(pictures(size), pictures(size)).build()))
        yield from ()

    monkeypatch.setattr("lienzo.tasks.train.base.train", train)
    assert list(run(options(**given))) == []
    ((size, model),) = asked
    assert size == model.config["image_size"] == (ADM["image_size"] if "start_from" in given else 16)


def test_what_is_predicted() -> None:
    assert described(options(predict_xstart=True))[1].prediction == "x0"
    assert described(options(predict_v=False))[1].prediction == "eps"
    with pytest.raises(BadInput, match="not both"):
        described(options(predict_xstart=True, predict_v=True))
    given = options(noise_schedule="cosin")
    with pytest.raises(BadInput, match="no noise schedule 'cosin'; did you mean 'cosine'"):
        recipe(given, *described(given), pictures(32), pictures(32))


def test_fine_tuning_takes_the_network_of_its_model(tmp_path: Path) -> None:
    path = two_steps(options(**SMALL, noise_schedule="sigmoid", diffusion_steps=200), tmp_path / "first.safetensors")
    config, settings = described(options(start_from=str(path), dropout=0.2, use_kl=True))
    assert settings == DiffusionSettings("sigmoid", 200, learn_sigma=False, prediction="v", use_kl=True)
    assert (config["image_size"], config["model_channels"], config["dropout"]) == (16, 64, 0.2)
    assert config["channel_mult"] == [1, 1.5]
    assert described(options(start_from=str(path), **SMALL))[0] == described(options(start_from=str(path)))[0]
    for contradiction, sentence in (
        ({"num_channels": 128}, "--num-channels 128: its model_channels is 64"),
        ({"image_size": 32}, "--image-size 32: its image_size is 16"),
        ({"noise_schedule": "cosine"}, "its noise_schedule is sigmoid"),
        ({"predict_v": False}, "its prediction is v"),
        ({"class_cond": True}, "its num_classes is None"),
        ({"learn_sigma": True}, "its learn_sigma is False"),
        ({"attention_resolutions": "16"}, r"its attention_resolutions is \[2\]"),
    ):
        with pytest.raises(BadInput, match=f"'.*first.safetensors' does not fit .*{sentence}"):
            described(options(start_from=str(path), **contradiction))


def test_of_a_foreign_checkpoint_the_user_knows_what_no_shape_tells(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(Adm(**ADM).state_dict(), tmp_path / "foreign.pt")
    foreign = str(tmp_path / "foreign.pt")
    given = options(start_from=foreign, noise_schedule="cosine", image_size=48, num_head_channels=16)
    config, settings = described(given)
    assert (config["image_size"], config["num_head_channels"], settings.noise_schedule) == (48, 16, "cosine")
    assert config["attention_resolutions"] == [2]
    with pytest.raises(BadInput, match="its num_res_blocks is 1"):
        described(options(start_from=foreign, num_res_blocks=2))
    with pytest.raises(BadInput, match="'painter' is a network CodePainter; this training starts from Adm"):
        described(options(start_from="painter"))


def test_fine_tuning_keeps_the_class_of_nothing(tmp_path: Path) -> None:
    path = two_steps(options(**SMALL, class_cond=True, label_dropout=0.2), tmp_path / "cats.safetensors")
    given = options(start_from=str(path))
    made = recipe(given, *described(given), pictures(16, ("oil", "ink")), pictures(16, ("oil", "ink")))
    assert made.config["classes"] == ["oil", "ink"]
    assert made.config["num_classes"] == 3
    assert made.training.label_dropout > 0
    with pytest.raises(BadInput, match="one folder a class"):
        recipe(given, *described(given), pictures(16, ()), pictures(16, ()))
    plain = options(start_from=str(path), label_dropout=0)
    made = recipe(plain, *described(plain), pictures(16), pictures(16))
    assert made.config["num_classes"] == 2


def test_models_without_a_diffusion_of_their_own_have_that_of_the_table() -> None:
    bundled = from_flags(
        {"num_channels": 32, "num_res_blocks": 1, "attention_resolutions": "8", "num_head_channels": 32}
    )
    with torch.device("meta"):
        model = Adm(**bundled.config)
    assert model.config["diffusion"] is None
    assert diffusion_of(model).noise_schedule == "cosine"


def test_from_a_painter_trains_the_painter(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("lienzo.tasks.train.painter.run", lambda options: iter(seen.append(options) or ()))
    list(run(TrainDiffusion.make(data="pictures", start_from="painter", images=7)))
    assert (seen[0].start_from, seen[0].images, seen[0].batch) == ("painter", 7, 512)
    with pytest.raises(BadInput, match="is a painter, which has no --num-channels"):
        list(run(TrainDiffusion.make(data="pictures", start_from="painter", num_channels=64)))
