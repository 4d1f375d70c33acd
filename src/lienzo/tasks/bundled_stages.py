"""The stages of `lienzo train bundled`: which data, which recipe, how long, what the card says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lienzo.autoencoders.stage_recipe import StageLosses, StageRecipe, StageTraining, stage_config
from lienzo.clip.compact_recipe import CompactClipRecipe
from lienzo.clip.minilm import MiniLM
from lienzo.clip.sentence_recipe import SentenceRecipe
from lienzo.core.errors import BadInput
from lienzo.data.corpus import Corpus, load_corpus
from lienzo.data.fingerprints import fingerprint
from lienzo.data.recolour import PAINTS
from lienzo.data.records import Record
from lienzo.data.sets import DataSet
from lienzo.diffusion.adm_flags import DiffusionSettings
from lienzo.diffusion.adm_recipe import AdmRecipe, AdmTraining
from lienzo.diffusion.code_painter_recipe import CodedPictures
from lienzo.diffusion.linear_code import LinearCode, encode_all, fit_linear_code
from lienzo.diffusion.refiner_recipe import RefinerRecipe
from lienzo.diffusion.remembering_recipe import RememberingRecipe
from lienzo.tasks.perceptual import perceptual_of
from lienzo.tasks.remembered import remembered, reminded
from lienzo.tasks.train_bundled import TrainBundled
from lienzo.tasks.training_sets import (
    LINE_WORK,
    Prepared,
    captioned,
    choose,
    coded,
    composed,
    distillation_texts,
    kept,
    picture_set,
    shrunk,
)
from lienzo.training.plan import Training
from lienzo.training.recipe import Recipe
from lienzo.upscaling.recipe import SwinIRRecipe
from lienzo.weights.models import load_model, read_card
from lienzo.weights.reading import read_weights
from lienzo.weights.store import BUNDLED

CODE_LENGTH = 512  # numbers in a picture's linear code
CODE_PICTURES = 1000  # pictures that the code is fitted to for each minute of the budget
NOT_PAINTED = LINE_WORK  # it needs a code of its own
NOT_JUDGED = NOT_PAINTED | {"openclipart"}  # titles too loose to measure by
SCENES = 20_000  # pictures of several things that the CLIPs see

# What a bundled file has room for: the painter is as large as 16 MB allow, the
# two CLIPs are of different build so that the one that guides is not the one that judges.
JUDGE_CONFIG: dict[str, Any] = {"tower": "lite0", "size": 96}
GUIDE_CONFIG: dict[str, Any] = {"tower": "lite0", "size": 64, "noise_aware": True}
REFINER_CONFIG: dict[str, Any] = {"widths": [48, 96, 160], "condition": 192}
PAINTER_CONFIG: dict[str, Any] = {"width": 448, "hidden": 912, "blocks": 4}
ADM_CONFIG: dict[str, Any] = {
    "image_size": 64, "in_channels": 3, "model_channels": 32, "out_channels": 3, "num_res_blocks": 1,
    "attention_resolutions": [8], "channel_mult": [1, 2, 3, 4], "num_head_channels": 32,
    "use_scale_shift_norm": True,
}  # fmt: skip
ADM_GPU: dict[str, Any] = {
    "model_channels": 64, "channel_mult": [1, 2, 2, 2], "attention_resolutions": [4, 8], "num_head_channels": 64,
}  # fmt: skip
"""What a GPU has the time to train: 6.7 instead of 3.8 million parameters."""


VQGAN_CONFIG: dict[str, Any] = {
    "factor": 8, "channels": 16, "codes": 1024, "width": 32, "multiples": (1, 1, 2, 2),
}  # fmt: skip


def bucket(text: str, salt: str) -> int:
    """0 to 99 from a hash, for splits that are independent of the corpus's own."""
    return int(sha256(f"{salt}:{text}".encode()).hexdigest(), 16) % 100


def painted(record: Record) -> bool:
    """Whether the painter learns this picture: all concepts, but not the withheld pairs of concept and style."""
    return record.source not in NOT_PAINTED and not record.withheld_pair


def withheld(record: Record) -> bool:
    """Whether the painter is measured on this picture."""
    return record.source not in NOT_PAINTED and record.withheld_pair


def judged(record: Record) -> bool:
    """Whether CLIPs and the upscaler are measured on this picture."""
    return record.split == "test" and record.source not in NOT_JUDGED


class Workshop:
    """What the stages share: the options, the corpus, the sentence encoder, and data made from them once."""

    def __init__(self, given: TrainBundled):
        self.given = given
        self.folder = given.out or BUNDLED
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def load(self, name: str) -> nn.Module:
        """A finished model of this or an earlier command.

        Raises:
            BadInput: it is not there.
        """
        path = self.folder / f"{name}.safetensors"
        if not path.is_file():
            raise BadInput(f"{path} is missing; run stage {name} first.")
        return load_model(path)

    @property
    def encoder(self) -> Path:
        """The sentence encoder: the one in `--out`, else the one that ships with Lienzo."""
        own = self.folder / "sentence.safetensors"
        return own if own.is_file() else BUNDLED / own.name

    @cached_property
    def corpus(self) -> Corpus:
        """The permissive pictures at 64 px."""
        return load_corpus(self.given.corpus, 64, permissive=True)

    @cached_property
    def prepared(self) -> Prepared:
        """They, with recoloured copies and captions; kept in the runs' folder."""
        return self._prepared(self.corpus)

    @cached_property
    def sharp(self) -> Prepared:
        """The same at 128 px for the CLIPs, where the corpus has them so large (a packed one has not)."""
        large = (self.given.corpus / "shards" / "128").is_dir()
        return self._prepared(load_corpus(self.given.corpus, 128, permissive=True)) if large else self.prepared

    def _prepared(self, corpus: Corpus) -> Prepared:
        encode: Any = load_model(self.encoder, self.device)
        name = read_card(self.encoder).sha256
        return Prepared(corpus, encode, name, self.given.runs / "prepared", self.given.seed)

    @property
    def styles(self) -> list[str]:
        """All styles of the corpus."""
        return sorted({record.style for record in self.corpus.records})

    @property
    def painted_styles(self) -> list[str]:
        """Those that the painter learns."""
        return sorted({record.style for record in self.corpus.records if painted(record)})

    def coded(self, keep: Callable[[Record], bool], *, copies: bool) -> tuple[np.ndarray, CodedPictures]:
        """Pictures that the painter or refiner uses: their rows, and their codes with styles and captions."""
        code = self.load("code")
        assert isinstance(code, LinearCode)
        rows = self.prepared.rows(keep, copies=copies)
        return rows, coded(self.prepared, rows, code, self.painted_styles)

    def seed(self, stage: Stage) -> int:
        """The seed of a stage."""
        return self.given.seed + stage.plan.seed

    def batch(self, stage: Stage) -> int:
        """Items of a step."""
        return stage.batches[self.given.size == "gpu"]


@dataclass(frozen=True)
class Stage:
    """One model of the bundle.

    Attributes:
        recipe: makes its recipe.
        plan: its training on a laptop without `--minutes`.
        batches: items of a step on a laptop and on a GPU.
        gpu: what the plan changes on a GPU.
        look: training items that take as long as its evaluation and samples.
        figure: how the name of its main figure begins.
        title, description, limits: of the card.
        file: name of the finished file where it is not the stage's.
    """

    recipe: Callable[[Workshop, Stage], Recipe]
    plan: Training
    batches: tuple[int, int]
    gpu: Mapping[str, Any]
    look: int
    figure: str
    title: str
    description: str
    limits: str
    file: str = ""


def sentence(shop: Workshop, stage: Stage) -> Recipe:
    """Distil the sentence encoder."""
    given = shop.given
    if given.teacher is None:
        raise BadInput("Stage sentence needs --teacher, the folder of all-MiniLM-L6-v2.")
    teacher = MiniLM(given.teacher)
    texts = distillation_texts(shop.corpus.records, teacher.words(), given.seed)
    english = list(dict.fromkeys(caption.english for caption in texts))
    name = sha256("\n".join(english).encode()).hexdigest()[:16]
    read = kept(given.runs / "prepared" / f"teacher-{name}.safetensors", lambda: {"vectors": teacher(english)})
    row = {text: i for i, text in enumerate(english)}
    targets = read["vectors"][torch.tensor([row[caption.english] for caption in texts])]
    held = [i for i, caption in enumerate(texts) if bucket(caption.english, "sentence") < 2]
    return SentenceRecipe([caption.text for caption in texts], targets, held, shop.batch(stage), seed=shop.seed(stage))


def _clip(shop: Workshop, stage: Stage, config: dict[str, Any], early: tuple[int, int] | None = None) -> Recipe:
    def learned(record: Record) -> bool:
        return record.split != "test"

    rows = shop.sharp.rows(learned, copies=True)
    data = captioned(shop.sharp, rows, shop.styles)
    held = captioned(shop.sharp, shop.sharp.rows(judged, copies=False), shop.styles)
    start = None if shop.given.backbone is None else read_weights(shop.given.backbone).tensors
    return CompactClipRecipe(
        data,
        held,
        {**config, "styles": shop.styles},
        shop.batch(stage),
        scenes=composed(shop.sharp, rows, SCENES),
        late_noise=((92_160, 0.75), (280_064, 0.85)),  # at first things must be learned at all
        imagenet=start,
        early=early if shop.given.minutes is None else None,  # a budget is planned by the pace of the first steps
        seed=shop.seed(stage),
    )


def judge(shop: Workshop, stage: Stage) -> Recipe:
    """The judge, at a higher resolution than the guide and without noise."""
    return _clip(shop, stage, JUDGE_CONFIG, early=(160_000, 64))


def guide(shop: Workshop, stage: Stage) -> Recipe:
    """The CLIP that guides and ranks."""
    return _clip(shop, stage, GUIDE_CONFIG)


def fit_code(shop: Workshop) -> tuple[LinearCode, dict[str, float]]:
    """The linear code of the painter's pictures, and how well it rebuilds pictures that it has not seen."""
    prepared, given = shop.prepared, shop.given
    rows = np.random.default_rng(given.seed).permutation(prepared.rows(painted, copies=True))
    if given.minutes is not None:
        rows = rows[: max(4 * CODE_LENGTH, int(CODE_PICTURES * given.minutes))]
    code = fit_linear_code(prepared.data.images[np.sort(rows)], CODE_LENGTH, given.seed)
    unseen = prepared.rows(withheld, copies=False)
    if not len(unseen):
        return code, {}
    x = torch.from_numpy(prepared.data.images[unseen]).permute(0, 3, 1, 2).float() / 127.5 - 1
    error = ((code.decode(code.encode(x)).clamp(-1, 1) - x) / 2).square().mean((1, 2, 3))
    return code, {f"psnr[rgb,mean,withheld pairs,n={len(x)}]": float((-10 * error.clamp_min(1e-10).log10()).mean())}


def painter(shop: Workshop, stage: Stage) -> Recipe:
    """The text-to-picture model."""
    rows, data = shop.coded(painted, copies=True)
    _, held = shop.coded(withheld, copies=False)
    config = {**PAINTER_CONFIG, "styles": shop.painted_styles, "colours": list(PAINTS), "length": CODE_LENGTH}
    data, known = remembered(shop.prepared, rows, data, cast(LinearCode, shop.load("code")))
    return RememberingRecipe(data, config, held, known, shop.batch(stage), seed=shop.seed(stage))


def refiner(shop: Workshop, stage: Stage) -> Recipe:
    """The refiner of the painter's pictures, to twice their size where the corpus has them so large."""
    painter, code, guide = (cast(Any, shop.load(name)) for name in ("painter", "code", "guide"))
    guide = guide.to(memory_format=torch.channels_last)
    rows = np.random.default_rng(shop.given.seed).permutation(shop.sharp.rows(painted, copies=True))
    images = shop.sharp.data.images[rows]
    scale = images.shape[1] // code.size
    known = shop.sharp.unstyled
    styles = shop.painted_styles
    heads = [guide.config["styles"].index(style) for style in styles]
    records = [shop.sharp.data.records[row] for row in rows]
    style = torch.tensor([styles.index(record.style) for record in records])
    said = known.of(rows)
    codes = CodedPictures(encode_all(code, shrunk(images, scale)), style, said, known.vectors)

    def reading(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = guide.to(x.device).features(x)
        return F.normalize(guide.project(pooled).float(), dim=-1), guide.style_head(pooled)[:, heads]

    return RefinerRecipe(
        images,
        codes,
        painter,
        code,
        lambda x: guide.to(x.device).stage_maps(x, stages=3),
        reading,
        {**REFINER_CONFIG, "scale": scale, "styles": styles},
        batch_size=shop.batch(stage),
        reminded=reminded(shop.sharp, rows, said) if painter.memory is not None else None,
        seed=shop.seed(stage),
    )


def upscaler(shop: Workshop, stage: Stage) -> Recipe:
    """A small SwinIR that enlarges drawings four times."""
    corpus = load_corpus(shop.given.corpus, 256, permissive=True)
    learned, held = choose(corpus, lambda record: record.split == "train"), choose(corpus, judged)
    order = np.random.default_rng(shop.given.seed).permutation(len(held.images))[:120]
    seed = shop.seed(stage)
    return SwinIRRecipe(learned.images, held.images[order], batch_size=shop.batch(stage), seed=seed)


def adm(shop: Workshop, stage: Stage) -> Recipe:
    """An unconditional ADM U-Net for the CLIP-guided path: of one style on a laptop, of all on a GPU."""
    gpu = shop.given.size == "gpu"

    def drawn(record: Record) -> bool:
        return record.source not in NOT_PAINTED if gpu else record.source == "noto"

    data, held = (
        picture_set(shop.prepared, shop.prepared.rows(keep, copies=False))
        for keep in (lambda r: drawn(r) and r.split != "test", lambda r: drawn(r) and r.split == "test")
    )
    config = {**ADM_CONFIG, **(ADM_GPU if gpu else {})}
    process = DiffusionSettings(noise_schedule="cosine", learn_sigma=False, prediction="v")
    return AdmRecipe(data, held, config, process, AdmTraining(batch_size=shop.batch(stage), seed=shop.seed(stage)))


def vqgan(shop: Workshop, stage: Stage) -> Recipe:
    """A small VQGAN of factor 8, on pieces of drawings at 128 px, many of them on coloured paper."""
    size = 128 if (shop.given.corpus / "shards" / "128").is_dir() else 64
    corpus = load_corpus(shop.given.corpus, size, permissive=True)
    names = tuple(record.key for record in corpus.records)
    data = DataSet(corpus.images, names, fingerprint=fingerprint(names, [str(size)]))

    def chosen(keep: Callable[[Record], bool]) -> DataSet:
        return data.select([i for i, record in enumerate(corpus.records) if keep(record)])

    training = StageTraining(
        "vqgan",
        StageLosses(l1=4.0, adversary=0.4, adversary_start=stage.plan.images * 4 // 5),
        {"ndf": 32, "n_layers": 2, "use_actnorm": True},
        shop.batch(stage),
        crop=size // 2,
        flip=True,
        tint=0.5,
        seed=shop.seed(stage),
    )
    guide = shop.folder if (shop.folder / "guide.safetensors").is_file() else BUNDLED
    looks = perceptual_of(load_model(guide / "guide.safetensors"), "guide")
    learned = chosen(lambda record: record.split != "test" and record.source not in NOT_PAINTED)
    return StageRecipe(learned, chosen(judged), stage_config("vqgan", resolution=size, **VQGAN_CONFIG), training, looks)


def _clip_stage(
    name: str, make: Callable[[Workshop, Stage], Recipe], images: int, seed: int, description: str
) -> Stage:
    plan = Training(
        images=images, learning_rate=1e-3, warmup=8_000, fall=0.8, weight_decay=0.1, beta2=0.98, clip=1.0,
        ema_half_lives=(8_000,), seed=seed, look_images=40_000,
    )  # fmt: skip
    return Stage(
        make, plan, (256, 1024), {"precision": "bf16"}, look=1500, figure="R@10",
        title=f"Compact CLIP, the {name}",
        description=description + " EfficientNet-Lite0 from ImageNet, fine-tuned on drawings with locked sentence "
        "vectors: multi-positive contrast, captions of thing, colour and style, composed scenes, style head.",
        limits="Knows single drawings on white and simple scenes of them; photographs only as far as ImageNet's "
        "features survived, which was not measured. Trained on all concepts but those of the test split, which the "
        "figures are of. Judge and guide share ImageNet's start and the data; resolution, noise and seeds differ.",
    )  # fmt: skip


STAGES: dict[str, Stage] = {
    "sentence": Stage(
        sentence,
        Training(
            images=1_000_000, learning_rate=3e-3, warmup=30_000, fall=0.7, weight_decay=0.0, precision="bf16",
        ),
        (256, 1024), {}, look=500, figure="nearest",
        title="Sentence encoder in English, Spanish and Russian",
        description="Student of all-MiniLM-L6-v2 (Apache-2.0), hashed letter n-grams and one transformer layer.",
        limits="Spanish and Russian words outside emoji names are guessed from their letters; long sentences are "
        "read up to 24 words; word order counts for little.",
    ),
    "judge": _clip_stage("judge", judge, 215_040, 11, "96 px."),
    "guide": _clip_stage("guide", guide, 400_128, 23, "64 px, told how noisy a picture is."),
    "painter": Stage(
        painter,
        Training(
            images=6_500_000, learning_rate=2e-3, warmup=100_000, fall=0.5, precision="bf16",
            ema_half_lives=(300_000,), look_images=500_000,
        ),
        (512, 2048), {"learning_rate": 2e-3, "compile": True}, look=200, figure="velocity",
        title="Painter: sentence to drawing, 64 px",
        description="An MLP that diffuses a linear code of whole pictures by flow matching, conditioned on a sentence, "
        "a style, a colour and the codes of three of 8,975 training pictures that the sentence retrieves "
        "(retrieval-augmented diffusion). Its memory of those pictures is part of the file; they stay under their own "
        "licences, which are named below.",
        limits="Draws single things on white. What it remembers in the style that is asked for it draws again in "
        "another pose; in a style in which it does not remember the thing the shape is that of another style, and only "
        "details follow; things without a name in its memory come out as the nearest one, or as a mixture. It is no "
        "source of new designs.",
    ),
    "refiner": Stage(
        refiner,
        Training(
            images=120_000, learning_rate=7e-4, warmup=1_000, precision="bf16", ema_half_lives=(3_000,),
            look_images=10_000,
        ),
        (16, 128), {"learning_rate": 1.5e-3}, look=60, figure="psnr",
        title="Refiner of the painter's drawings, 64 to 128 px",
        description="A residual U-Net, told sentence and style, trained on the painter's guesses against pixels, edges "
        "and the guide's feature maps, and by what the guide reads in them: the thing and the style.",
        limits="Cleans grain, closes edges, whitens paper; what the painter left vague stays vague. Told "
        "another style than the drawing's own, it changes little.",
    ),
    "upscaler": Stage(
        upscaler,
        Training(
            images=56_000, learning_rate=2e-3, warmup=2_000, fall=0.6, ema_half_lives=(4_000,), look_images=30_000,
            precision="bf16",
        ),
        (8, 64), {}, look=300, figure="gain",
        title="SwinIR x4 for drawings",
        description="A lightweight SwinIR (pixelshuffledirect) on clean bicubic shrinking of drawings.",
        limits="Made for flat areas and sharp edges on clean pictures; it has seen no photographs, noise or JPEG.",
    ),
    "adm": Stage(
        adm,
        Training(
            images=160_000, learning_rate=1e-3, warmup=2_000, fall=0.3, precision="bf16", ema_half_lives=(8_000,),
            look_images=8_000,
        ),
        (16, 128), {"learning_rate": 6e-4, "compile": True}, look=250, figure="mse",
        title="ADM U-Net, 64 px, unconditional, for CLIP guidance",
        description="Cosine schedule, 1000 steps, prediction of v; learned on drawings alone.",
        limits="It reads no sentences, and a few minutes teach it shapes more than things. CLIP guidance moves its "
        "colours and draws little. It is there so that the CLIP-guided path runs; the painter is the one that paints.",
        file="adm-64",
    ),
    "vqgan": Stage(
        vqgan,
        Training(
            images=30_000, learning_rate=1e-3, warmup=800, fall=0.5, weight_decay=1e-4, precision="bf16",
            ema_half_lives=(2_000,), look_images=8_000,
        ),
        (12, 64), {"images": 1_000_000, "warmup": 10_000, "ema_half_lives": (20_000,), "look_images": 100_000},
        look=400, figure="psnr",
        title="VQGAN of drawings, factor 8, 1024 codes",
        description="A small VQGAN: codes of 16 numbers, features of the bundled guide, a patch discriminator in the "
        "last fifth. Trained on pieces of drawings at 128 px, half of them on coloured paper.",
        limits="Knows drawings; photographs come out as if drawn. Small letters and thin lines blur.",
    ),
}  # fmt: skip
"""The stages that the loop trains; stage `code` is fitted by `fit_code`."""


def file_of(stage: str) -> str:
    """Name of a stage's finished file, without suffix."""
    return (STAGES[stage].file if stage in STAGES else "") or stage
