"""The stages of `lienzo train bundled`: which data, which recipe, how long, what the card says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lienzo.clip.compact_recipe import CompactClipRecipe
from lienzo.clip.minilm import MiniLM
from lienzo.clip.sentence_recipe import SentenceRecipe
from lienzo.core.errors import BadInput
from lienzo.core.events import Event, Metric, Note, Picture
from lienzo.data.corpus import Corpus, load_corpus
from lienzo.data.records import Record
from lienzo.diffusion.adm_recipe import AdmRecipe
from lienzo.diffusion.code_painter_recipe import CodedPictures, CodePainterRecipe
from lienzo.diffusion.gaussian import GaussianDiffusion
from lienzo.diffusion.linear_code import LinearCode, fit_linear_code
from lienzo.diffusion.refiner_recipe import RefinerRecipe
from lienzo.diffusion.schedules import make_betas
from lienzo.tasks.train_bundled import TrainBundled
from lienzo.tasks.training_sets import (
    Coloured,
    caption_all,
    captioned,
    choose,
    distillation_texts,
    encode_captions,
    with_colours,
)
from lienzo.training.loop import fit, trained
from lienzo.training.recipe import Recipe, Training
from lienzo.upscaling.recipe import SwinIRRecipe
from lienzo.weights.models import Card, Measured, TrainingData, load_model, save_model
from lienzo.weights.store import BUNDLED

CODE_LENGTH = 512  # numbers in a picture's linear code
NOT_PAINTED = frozenset({"game-icons", "icon-park"})  # line work needs a code of its own
SOURCES = (
    TrainingData(name="Noto Emoji and Noto Emoji v1", licence="Apache-2.0", source="npm @iconify-json/noto, noto-v1"),
    TrainingData(name="Fluent Emoji, 3D and flat", licence="MIT", source="npm @iconify-json/fluent-emoji, -flat"),
    TrainingData(name="Twemoji", licence="CC-BY-4.0", source="npm @iconify-json/twemoji"),
    TrainingData(name="EmojiOne 2", licence="CC-BY-4.0", source="npm @iconify-json/emojione"),
    TrainingData(name="FxEmojis", licence="Apache-2.0", source="npm @iconify-json/fxemoji"),
    TrainingData(name="Open Clip Art", licence="public domain", source="Debian openclipart"),
    TrainingData(name="emojibase (captions)", licence="MIT", source="npm emojibase-data"),
)


ADM_CONFIG: dict[str, Any] = {
    "image_size": 64, "in_channels": 3, "model_channels": 32, "out_channels": 3, "num_res_blocks": 1,
    "attention_resolutions": [8], "channel_mult": [1, 2, 3, 4], "num_head_channels": 32,
    "use_scale_shift_norm": True,
}  # fmt: skip


def bucket(text: str, salt: str) -> int:
    """0 to 99 from a hash, for splits that are independent of the corpus's own."""
    return int(sha256(f"{salt}:{text}".encode()).hexdigest(), 16) % 100


def encoder(given: TrainBundled) -> Callable[[Sequence[str]], Tensor]:
    """The finished sentence encoder, texts to vectors."""
    return load_model(folder(given) / "sentence.safetensors")


def folder(given: TrainBundled) -> Path:
    """Where finished files go."""
    return given.out or BUNDLED


def train(given: TrainBundled, recipe: Recipe, plan: Training, stage: str, into: dict[str, float]) -> Iterator[Event]:
    """Fit the recipe in the stage's run folder; its figures are collected in `into`, its samples saved there."""
    if given.images is not None:
        plan = plan.model_copy(update={"images": given.images})
    plan = plan.model_copy(update={"seed": given.seed + plan.seed})
    run = given.runs / stage
    for event in fit(recipe, plan, run):
        if isinstance(event, Metric):
            into[event.name] = round(event.value, 4)
        if isinstance(event, Picture):
            from lienzo.imaging.writing import save_picture

            save_picture(event.image, run / "samples.png", exist_ok=True)
        yield event
    into["items seen"] = plan.images


def finish(
    given: TrainBundled, stage: str, network: str, model: nn.Module, figures: dict[str, float], **card: str
) -> Note:
    """Save the stage's model as one half-precision file with its card."""
    path = folder(given) / f"{stage}.safetensors"
    metrics = [Measured(name=n.partition("[")[0], value=v, protocol=n.partition("[")[2].rstrip("]") or "training run")
               for n, v in figures.items()]  # fmt: skip
    full = Card(licence="Apache-2.0", training_data=list(SOURCES), metrics=metrics, **card)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, network, model.config, model.state_dict(), full, half=True)  # type: ignore[arg-type]
    return Note(f"{path} is ready.")


def sentence(given: TrainBundled) -> Iterator[Event]:
    """Distil the sentence encoder."""
    if given.teacher is None:
        raise BadInput("Stage sentence needs --teacher, the folder of all-MiniLM-L6-v2.")
    corpus = load_corpus(given.corpus, 64)
    teacher = MiniLM(given.teacher)
    texts = distillation_texts(corpus.records, teacher.words(), given.seed)
    cache = given.runs / "teacher.pt.npy"
    english = list(dict.fromkeys(caption.english for caption in texts))
    if cache.is_file() and len(vectors := np.load(cache)) == len(english):
        targets = torch.from_numpy(vectors)
    else:
        yield Note(f"The teacher reads {len(english)} sentences.")
        targets = teacher(english)
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.save(cache, targets.numpy())
    row = {text: i for i, text in enumerate(english)}
    rows = [row[caption.english] for caption in texts]
    held = [i for i, caption in enumerate(texts) if bucket(caption.english, "sentence") < 2]
    recipe = SentenceRecipe([caption.text for caption in texts], targets[rows], held)
    figures: dict[str, float] = {}
    plan = Training(images=1_000_000, learning_rate=3e-3, warmup=30_000, fall=0.7, weight_decay=0.0, bf16=True)
    yield from train(given, recipe, plan, "sentence", figures)
    yield finish(given, "sentence", "sentence", trained(recipe, given.runs / "sentence"), figures,
        title="Sentence encoder in English, Spanish and Russian",
        description="Student of all-MiniLM-L6-v2 (Apache-2.0), hashed letter n-grams and one transformer layer.",
        limits="Spanish and Russian words outside emoji names are guessed from their letters; long sentences are "
        "read up to 24 words; word order counts for little.",
    )  # fmt: skip


def _clip_stage(
    given: TrainBundled, name: str, config: dict[str, Any], salt: str, seed: int, budget: int
) -> Iterator[Event]:
    corpus = load_corpus(given.corpus, 64, permissive=True)
    encode = encoder(given)
    styles = sorted({record.style for record in corpus.records})

    def learned(record: Record) -> bool:
        return record.split == "train" and bucket(record.concept, salt) >= 10

    data = captioned(with_colours(choose(corpus, learned), 1, seed), styles, encode, seed)
    held = choose(corpus, lambda r: r.split == "test" and r.source not in ("openclipart", *NOT_PAINTED))
    recipe = CompactClipRecipe(data, captioned(held, styles, encode, seed), {**config, "styles": styles})
    figures: dict[str, float] = {}
    plan = Training(
        images=budget, learning_rate=2e-3, warmup=20_000, fall=0.8, weight_decay=0.2, beta2=0.98, bf16=True,
        ema_half_life=60_000, seed=seed, look_images=budget // 4,
    )  # fmt: skip
    yield from train(given, recipe, plan, name, figures)
    yield finish(given, name, "compact-clip", trained(recipe, given.runs / name), figures,
        title=f"Compact CLIP, the {name}",
        description=f"Tower '{config['tower']}' at {config['size']} px on locked sentence vectors, "
        "multi-positive contrastive loss, style head.",
        limits="Knows drawings on white; knows nothing of photographs. Trained on the corpus's train concepts "
        "less a tenth of its own; figures are on the test concepts.",
    )  # fmt: skip


def judge(given: TrainBundled) -> Iterator[Event]:
    """The independent judge: its own tower, seed and split."""
    config = {"tower": "basic", "widths": [32, 64, 128, 256], "depth": 2, "size": 32}
    yield from _clip_stage(given, "judge", config, "judge", 11, 360_000)


def guide(given: TrainBundled) -> Iterator[Event]:
    """The CLIP that guides and ranks."""
    config = {"tower": "bottleneck", "widths": [48, 96, 192, 384], "depth": 2, "size": 32}
    yield from _clip_stage(given, "guide", config, "guide", 23, 160_000)


def painted(record: Record) -> bool:
    """Whether the painter learns this picture: all concepts, but not the withheld pairs of concept and style."""
    return record.source not in NOT_PAINTED and not record.withheld_pair


def painter_data(given: TrainBundled) -> tuple[Corpus, Coloured, LinearCode, CodedPictures, list[str]]:
    """The permissive corpus, the painter's pictures, their linear code, codes with captions, and the styles."""
    corpus = load_corpus(given.corpus, 64, permissive=True)
    plain = choose(corpus, painted)
    data = with_colours(plain, 1, given.seed)
    path = folder(given) / "code.safetensors"
    if not path.is_file():
        fitted = fit_linear_code(data.images, CODE_LENGTH, given.seed)
        finish(given, "code", "linear-code", fitted, {},
            title="Linear code of drawings, 64 px",
            description=f"{CODE_LENGTH} principal components of the painter's pictures, 8-bit.",
            limits="Fine detail and texture are lost; made for single things on white.",
        )  # fmt: skip
    code = load_model(path)
    assert isinstance(code, LinearCode)
    styles = sorted({record.style for record in plain.records})
    return corpus, data, code, coded(data, code, styles, encoder(given), given.seed), styles


@torch.no_grad()
def coded(
    data: Coloured, code: LinearCode, styles: list[str], encode: Callable[[Sequence[str]], Tensor], seed: int
) -> CodedPictures:
    """Codes, styles and captions of pictures."""
    parts = torch.from_numpy(data.images).permute(0, 3, 1, 2).split(512)
    rows, _, vectors = encode_captions(caption_all(data, styled=False, count=3, seed=seed), encode)
    return CodedPictures(
        codes=torch.cat([code.encode(part.float() / 127.5 - 1) for part in parts]),
        style=torch.tensor([styles.index(record.style) for record in data.records]),
        caption_rows=rows,
        vectors=vectors,
    )


def painter(given: TrainBundled) -> Iterator[Event]:
    """The text-to-picture model."""
    corpus, _, code, data, styles = painter_data(given)
    held = choose(corpus, lambda r: r.withheld_pair and r.source not in NOT_PAINTED)
    config = {"styles": styles, "length": CODE_LENGTH}
    recipe = CodePainterRecipe(data, config, coded(held, code, styles, encoder(given), given.seed))
    figures: dict[str, float] = {}
    plan = Training(
        images=6_500_000, learning_rate=1.5e-3, warmup=100_000, fall=0.5, bf16=True, ema_half_life=300_000,
        look_images=500_000,
    )  # fmt: skip
    yield from train(given, recipe, plan, "painter", figures)
    yield finish(given, "painter", "code-painter", trained(recipe, given.runs / "painter"), figures,
        title="Painter: sentence to drawing, 64 px",
        description="An MLP that diffuses a linear code of whole pictures by flow matching; sentence, style and "
        "classifier-free guidance.",
        limits="Draws single things on white that it has seen under some name; unseen things come out as blobs of "
        "a plausible colour. No composition of two things. Largely memory plus transfer of style and colour.",
    )  # fmt: skip


def refiner(given: TrainBundled) -> Iterator[Event]:
    """The refiner of the painter's pictures."""
    _, data, code, codes, _ = painter_data(given)
    order = np.random.default_rng(given.seed).permutation(len(data.images))
    shuffled = CodedPictures(
        codes.codes[order], codes.style[order], [codes.caption_rows[i] for i in order], codes.vectors
    )
    painter_model = load_model(folder(given) / "painter.safetensors")
    recipe = RefinerRecipe(data.images[order], shuffled, painter_model, code)  # type: ignore[arg-type]
    figures: dict[str, float] = {}
    plan = Training(
        images=24_000, learning_rate=1.5e-3, warmup=1_000, bf16=True, ema_half_life=3_000, look_images=6_000
    )
    yield from train(given, recipe, plan, "refiner", figures)
    yield finish(given, "refiner", "refiner", trained(recipe, given.runs / "refiner"), figures,
        title="Refiner of the painter's drawings, 64 px",
        description="A residual U-Net trained on the painter's one-step guesses.",
        limits="Cleans grain and closes edges; invents no detail.",
    )  # fmt: skip


def upscaler(given: TrainBundled) -> Iterator[Event]:
    """A small SwinIR that enlarges drawings four times."""
    corpus = load_corpus(given.corpus, 256, permissive=True)
    learned = choose(corpus, lambda r: r.split == "train")
    held = choose(corpus, lambda r: r.split == "test" and r.source not in ("openclipart", *NOT_PAINTED))
    order = np.random.default_rng(given.seed).permutation(len(held.images))[:120]
    recipe = SwinIRRecipe(learned.images, held.images[order])
    figures: dict[str, float] = {}
    plan = Training(
        images=56_000, learning_rate=2e-3, warmup=2_000, fall=0.6, ema_half_life=4_000, look_images=30_000, bf16=True
    )
    yield from train(given, recipe, plan, "upscaler", figures)
    yield finish(given, "upscaler", "swinir", trained(recipe, given.runs / "upscaler"), figures,
        title="SwinIR x4 for drawings",
        description="A lightweight SwinIR (pixelshuffledirect) on clean bicubic shrinking of drawings.",
        limits="Made for flat areas and sharp edges on clean pictures; it has seen no photographs, noise or JPEG.",
    )  # fmt: skip


def adm(given: TrainBundled) -> Iterator[Event]:
    """A small unconditional ADM U-Net for the CLIP-guided path."""
    corpus = load_corpus(given.corpus, 64, permissive=True)
    learned = choose(corpus, lambda r: r.source == "noto" and r.split != "test")
    held = choose(corpus, lambda r: r.source == "noto" and r.split == "test")
    diffusion = GaussianDiffusion(make_betas("cosine", 1000), mean_type="eps")
    recipe = AdmRecipe(learned.images, held.images, ADM_CONFIG, diffusion, batch_size=16)
    figures: dict[str, float] = {}
    plan = Training(
        images=160_000, learning_rate=5e-4, warmup=2_000, fall=0.3, bf16=True, ema_half_life=8_000, look_images=8_000
    )
    yield from train(given, recipe, plan, "adm", figures)
    yield finish(given, "adm-64", "adm", trained(recipe, given.runs / "adm"), figures,
        title="ADM U-Net, 64 px, unconditional, for CLIP guidance",
        description="Cosine schedule, 1000 steps, noise prediction; learned on Noto Emoji alone.",
        limits="Small and briefly trained: alone it draws smears, no objects. CLIP guidance moves its colours "
        "and draws nothing. It is there so that the CLIP-guided path runs; the painter is the one that paints.",
    )  # fmt: skip


STAGES: dict[str, Callable[[TrainBundled], Iterator[Event]]] = {
    "sentence": sentence,
    "judge": judge,
    "guide": guide,
    "painter": painter,
    "refiner": refiner,
    "upscaler": upscaler,
    "adm": adm,
}
