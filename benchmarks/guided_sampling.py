"""CLIP-guided sampling of a pixel diffusion: Lienzo against the procedure of clip-diffusion-art.

Both paint the same prompts from the same seeds with the same ADM U-Net and the same CLIP, one picture at a time, in
one process, in turns. A second CLIP that neither has seen judges the pictures.

* The peer is `original` below: the loop of clip-diffusion-art (commit de2298f) with its default flags, save that it
  takes the 16 cutouts of its README and its API, not the 30 of its command line, which would cost it more. DDIM of
  50 steps of which the first 5 are skipped; each step runs the network twice, once for the step and once for the
  gradient, which goes back through all of it; 4 CLIP passes of 16 cutouts, cut and changed one by one.
* Lienzo runs what `lienzo create --model adm-64 --clip-guidance S` does: `steer` on the estimate, one CLIP pass.

It reports seconds a picture (wall and processor), their ratio, the ratio without the peer's repeated network pass, and
the judge's R@1 and mean cosine; a sheet of all pictures goes to benchmarks/out/guided_sampling.png. The promise: at
least 3 times fewer seconds at an equal or better judge's score; exit code 1 when it is broken.

It takes about 3 minutes with 8 prompts on 2 idle cores; `--random --prompts 1` tries it without any weights.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lienzo.clip.compact import CompactClip
from lienzo.clip.sentence import SentenceEncoder
from lienzo.diffusion.adm import Adm
from lienzo.diffusion.adm_checkpoints import diffusion_from
from lienzo.diffusion.denoiser import DiscreteDenoiser
from lienzo.diffusion.sampling import final, sample
from lienzo.diffusion.schedules import make_betas
from lienzo.diffusion.sigmas import discrete
from lienzo.guidance.augment import grayscale, perspective_maps, warp
from lienzo.guidance.draws import picture_generators
from lienzo.guidance.guide import make_guide
from lienzo.guidance.options import GuidanceOptions
from lienzo.guidance.perceptor import Perceptor, TowerPerceptor
from lienzo.guidance.prompts import Prompt
from lienzo.guidance.steer import steer, thresholded
from lienzo.imaging.grids import contact_sheet
from lienzo.imaging.resize import resize_array
from lienzo.imaging.writing import save_picture
from lienzo.metrics.judging import prompt_recall
from lienzo.nn.noise import PictureNoise
from lienzo.tasks.create import Create
from lienzo.weights.models import load_model
from lienzo.weights.store import resolve

PROMPTS = (
    "a red apple", "a green tree", "a yellow sun", "a blue whale", "an orange pumpkin", "a pink flower",
    "a purple grape", "a brown bear", "a black cat", "a red car", "a green frog", "a yellow star",
    "a blue butterfly", "a slice of pizza", "a golden crown", "a white egg",
)  # fmt: skip
PROMISED_RATIO = 3.0
OUT = Path(__file__).parent / "out" / "guided_sampling.png"
ADM: dict[str, Any] = {
    "image_size": 64, "in_channels": 3, "model_channels": 32, "out_channels": 3, "num_res_blocks": 1,
    "attention_resolutions": [8], "channel_mult": [1, 2, 3, 4], "num_head_channels": 32, "use_scale_shift_norm": True,
}  # fmt: skip


@dataclass(frozen=True)
class Networks:
    """What both sides paint with, and the judge."""

    adm: Adm
    betas: Tensor  # (1000,)
    guide: Perceptor
    judge: Perceptor

    @property
    def size(self) -> int:
        return self.adm.config["image_size"]


def load_networks(models: Path | None) -> Networks:
    """The bundled networks, or the files of the same names in a folder."""
    loaded: dict[str, Any] = {}
    for name in ("adm-64", "guide", "judge", "sentence"):
        path = resolve(name) if models is None else models / f"{name}.safetensors"
        loaded[name] = load_model(path).requires_grad_(False)
    guide, judge = (as_perceptor(loaded[name], loaded["sentence"]) for name in ("guide", "judge"))
    trained = diffusion_from(loaded["adm-64"].state_dict())
    return Networks(loaded["adm-64"], make_betas(trained.noise_schedule, trained.steps), guide, judge)


def random_networks() -> Networks:
    """Untrained networks of the same classes and sizes: right for seconds, meaningless for scores."""
    torch.manual_seed(0)
    guide = CompactClip(tower="bottleneck", widths=[48, 96, 192, 384], depth=2, size=32)
    judge = CompactClip(tower="basic", widths=[32, 64, 128, 256], depth=2, size=32)
    adm, read = Adm(**ADM), SentenceEncoder()
    for network in (adm, guide, judge, read):
        network.eval().requires_grad_(False)
    return Networks(adm, make_betas("cosine", 1000), as_perceptor(guide, read), as_perceptor(judge, read))


def as_perceptor(clip: CompactClip, read: Callable[[list[str]], Tensor]) -> Perceptor:
    """A compact CLIP, which takes pictures in [0, 1] as they are."""
    return TowerPerceptor(clip, read, clip.size, prepare=lambda pictures: pictures)


# The peer: clip-diffusion-art


@dataclass(frozen=True)
class Flags:
    """clip-diffusion-art's flags; the defaults are its own, see the top of this file for `cutn`."""

    steps: int = 50
    skip_timesteps: int = 5
    cutn: int = 16
    cutn_batches: int = 4
    clip_guidance_scale: float = 5000
    tv_scale: float = 100
    range_scale: float = 150
    saturation_scale: float = 0
    scale_multiplier: float = 50
    clamp_max: float = 0.05
    skip_augs: bool = False


@dataclass
class Painted:
    """A picture (3, S, S) in [-1, 1] and what it cost."""

    picture: Tensor
    seconds: float = 0.0
    processor: float = 0.0
    repeated: float = 0.0
    """Seconds of the peer's second network pass a step, whose result the gradient's pass had already."""


def original(networks: Networks, prompt: str, seed: int, flags: Flags) -> Painted:
    """DDIM (eta 0) in the variance-preserving scaling x = sqrt(abar) x0 + sqrt(1 - abar) noise."""
    torch.manual_seed(seed)
    targets = networks.guide.encode_text([prompt])  # (1, D)
    weights = torch.ones(1)
    kept = range(0, len(networks.betas), len(networks.betas) // flags.steps)
    abars = (1 - networks.betas.double()).cumprod(0)[list(kept)].tolist()
    first = len(kept) - flags.skip_timesteps - 1
    noise = PictureNoise([seed])(torch.zeros(1, 3, networks.size, networks.size))
    x, repeated = math.sqrt(1 - abars[first]) * noise, 0.0
    x0 = x
    for i in range(first, -1, -1):
        abar, before = abars[i], abars[i - 1] if i else 1.0
        t = torch.tensor([kept[i]])
        began = time.perf_counter()
        with torch.no_grad():
            eps = networks.adm(x, t)
        repeated += time.perf_counter() - began
        x0 = (x - math.sqrt(1 - abar) * eps) / math.sqrt(abar)
        grad = original_gradient(partial(networks.adm, timesteps=t), networks.guide, targets, weights, x, abar, flags)
        eps = eps - math.sqrt(1 - abar) * clamp_batch(grad, flags.clamp_max)
        moved = (x - math.sqrt(1 - abar) * eps) / math.sqrt(abar)
        x = math.sqrt(before) * moved + math.sqrt(1 - before) * eps
    return Painted(x0[0].clamp(-1, 1), repeated=repeated)  # the original saves the estimate before guidance


def original_gradient(
    network: Callable[[Tensor], Tensor],
    clip: Perceptor,
    targets: Tensor,
    weights: Tensor,
    x: Tensor,
    abar: float,
    flags: Flags,
) -> Tensor:
    """Minus the gradient of all losses by x (B, 3, H, W), back through the network x -> eps; before the clamp.

    Args:
        targets: (N, D) embeddings of the prompts.
        weights: (N,).
    """
    x = x.detach().requires_grad_()
    x0 = (x - math.sqrt(1 - abar) * network(x)) / math.sqrt(abar)
    share = math.sqrt(1 - abar)
    x_in = x0 * share + x * (1 - share)
    grad = torch.zeros_like(x_in)
    for _ in range(flags.cutn_batches):
        cuts = cut(x_in / 2 + 0.5, flags.cutn, clip.size, flags.skip_augs)
        embeds = clip.encode_image(cuts)  # (cutn * B, D)
        distances = squared_angle(embeds[:, None], targets[None]).view(flags.cutn, len(x), -1)
        loss = (distances * weights).sum(2).mean(0).sum()
        scale = flags.clip_guidance_scale * flags.scale_multiplier
        grad += torch.autograd.grad(loss * scale, x_in)[0] / flags.cutn_batches
    padded = F.pad(x_in, (0, 1, 0, 1), "replicate")
    across, down = padded[..., :-1, 1:] - x_in, padded[..., 1:, :-1] - x_in
    tv = (across.square() + down.square()).mean((1, 2, 3)).sum() * flags.tv_scale * flags.scale_multiplier
    # As in the original: the range loss looks at x0, so it has no gradient by x_in.
    out_of_range = (x0 - x0.clamp(-1, 1)).square().mean((1, 2, 3)).sum() * flags.range_scale * flags.scale_multiplier
    saturation = (x_in - x_in.clamp(-1, 1)).abs().mean() * flags.saturation_scale
    grad += torch.autograd.grad(tv + out_of_range + saturation, x_in)[0]
    return -torch.autograd.grad(x_in, x, grad)[0]


def clamp_batch(grad: Tensor, most: float) -> Tensor:
    """Shrink a gradient whose root mean square is above `most` to that."""
    size = grad.square().mean().sqrt()
    return grad * size.clamp(max=most) / size


def squared_angle(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared angle between vectors, by the arcsine of half their distance."""
    gap = (F.normalize(a, dim=-1) - F.normalize(b, dim=-1)).norm(dim=-1)
    return 2 * (gap / 2).arcsin().square()


def cut(picture: Tensor, cutn: int, size: int, skip_augs: bool) -> Tensor:
    """Squares of the picture in its black frame, one after the other: (cutn * B, 3, size, size)."""
    framed = F.pad(picture, [picture.shape[2] // 4] * 4)
    height, width = framed.shape[2:]
    most = min(height, width)
    cuts = []
    for index in range(cutn):
        piece = framed
        if index <= cutn - cutn // 4:
            side = int(most * torch.zeros(1).normal_(0.8, 0.3).clip(size / most, 1.0))
            x = int(torch.randint(0, width - side + 1, ()))
            y = int(torch.randint(0, height - side + 1, ()))
            piece = framed[:, :, y : y + side, x : x + side]
        cuts.append(F.adaptive_avg_pool2d(piece if skip_augs else changed(piece), size))
    return torch.cat(cuts)


def changed(piece: Tensor) -> Tensor:
    """Flip (half of the time), turn and shift, perspective (0.7 of the time), grey (0.15 of the time)."""
    batch = len(piece)
    u = torch.rand(16)
    piece = piece.flip(-1) if u[0] < 0.5 else piece
    angle, (right, down) = math.radians(15) * (2 * u[1].item() - 1), (0.2 * (2 * u[2:4] - 1)).tolist()
    turn = [[math.cos(angle), -math.sin(angle), right], [math.sin(angle), math.cos(angle), down]]
    grid = F.affine_grid(torch.tensor([turn]).expand(batch, 2, 3), list(piece.shape), align_corners=False)
    piece = F.grid_sample(piece, grid, mode="nearest", align_corners=False)
    if u[4] < 0.7:
        piece = warp(piece, perspective_maps(0.4 * u[5:13].view(1, 4, 2)).expand(batch, 3, 3))
    return grayscale(piece) if u[13] < 0.15 else piece


# Lienzo


@dataclass(frozen=True)
class Plan:
    """Settings of Lienzo's side, as `create` takes them; all others are its defaults."""

    sampler: str = "dpmpp_2m"
    steps: int = 20
    cutn: int = 16
    strength: float = 0.3
    look_at: Literal["blend", "denoised", "noisy"] = "blend"


def ours(networks: Networks, prompt: str, seed: int, plan: Plan) -> Painted:
    """What `create` does for an ADM checkpoint with --clip-guidance."""
    create = Create(prompt=prompt, cutn=plan.cutn, look_at=plan.look_at, clip_guidance=plan.strength)
    given = create.model_dump(include=set(GuidanceOptions.model_fields)) | {"relative_step": plan.strength}
    options = GuidanceOptions.make(**given)
    guide = make_guide(options, [[Prompt(prompt)]], [(networks.guide, 1.0)], generators=picture_generators([seed]))
    sigmas = discrete(networks.betas, plan.steps).float()
    model = steer(thresholded(DiscreteDenoiser(networks.adm, networks.betas)), guide, sigmas=sigmas)
    noise = PictureNoise([seed])
    x = sigmas[0] * noise(torch.zeros(1, 3, networks.size, networks.size))
    return Painted(final(sample(plan.sampler, model, x, sigmas, noise=noise))[0].clamp(-1, 1))


# The comparison


def timed(paint: Callable[[], Painted]) -> Painted:
    """The picture with its seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    painted = paint()
    painted.seconds, painted.processor = time.perf_counter() - wall, time.process_time() - processor
    return painted


def compare(networks: Networks, wishes: list[tuple[str, int]], flags: Flags, plan: Plan) -> dict[str, list[Painted]]:
    """Both sides paint every (prompt, seed), in turns; the one that begins changes each time."""
    sides: dict[str, Callable[[str, int], Painted]] = {
        "original": lambda prompt, seed: original(networks, prompt, seed, flags),
        "lienzo": lambda prompt, seed: ours(networks, prompt, seed, plan),
    }
    done: dict[str, list[Painted]] = {name: [] for name in sides}
    for number, (prompt, seed) in enumerate(wishes):
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            done[name].append(timed(partial(sides[name], prompt, seed)))
        took = ", ".join(f"{name} {rows[-1].seconds:.1f} s" for name, rows in done.items())
        print(f"{prompt}, seed {seed}: {took}", flush=True)
    return done


@torch.no_grad()
def embedded(networks: Networks, rows: list[Painted], prompts: list[str]) -> tuple[Tensor, Tensor]:
    """The judge's unit vectors (N, D) of pictures and of their prompts."""
    pictures = torch.stack([row.picture for row in rows]) / 2 + 0.5
    return F.normalize(networks.judge.encode_image(pictures), dim=-1), F.normalize(
        networks.judge.encode_text(prompts), dim=-1
    )


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def report(networks: Networks, done: dict[str, list[Painted]], prompts: list[str]) -> bool:
    """Print the table; whether the promise is kept."""
    print(f"\n{'':10}{'s/picture':>10}{'processor s':>13}{'judge R@1':>11}{'judge cosine':>14}")
    recall, cosine, seconds, processor = {}, {}, {}, {}
    for name, rows in done.items():
        seen, words = embedded(networks, rows, prompts)
        recall[name], cosine[name] = prompt_recall(seen, words, prompts), (seen * words).sum(1)
        seconds[name] = mean([row.seconds for row in rows])
        processor[name] = mean([row.processor for row in rows])
        print(f"{name:10}{seconds[name]:10.2f}{processor[name]:13.2f}{recall[name]:11.2f}{cosine[name].mean():14.3f}")
    ratio = seconds["original"] / seconds["lienzo"]
    repeated = mean([row.repeated for row in done["original"]])
    gain = cosine["lienzo"] - cosine["original"]
    error = gain.std().item() / math.sqrt(len(gain)) if len(gain) > 1 else math.nan
    print(f"\n{len(prompts)} pictures, chance R@1 {1 / len(set(prompts)):.2f}")
    spared = (seconds["original"] - repeated) / seconds["lienzo"]
    print(f"Lienzo takes {ratio:.1f} times fewer seconds (promise: {PROMISED_RATIO:g}),")
    print(f"{spared:.1f} times without the peer's repeated pass,")
    print(f"{processor['original'] / processor['lienzo']:.1f} times fewer processor seconds")
    print(f"gain in the judge's cosine {gain.mean():+.3f}, standard error {error:.3f}")
    return ratio >= PROMISED_RATIO and recall["lienzo"] >= recall["original"] and gain.mean().item() >= 0


def save_sheet(done: dict[str, list[Painted]], prompts: list[str], path: Path) -> None:
    """All pictures at twice their size: a row of the original's above a row of Lienzo's, eight columns."""
    cells, labels = [], []
    for start in range(0, len(prompts), 8):
        for name, rows in done.items():
            for row, prompt in zip(rows[start : start + 8], prompts[start : start + 8]):
                array = ((row.picture.permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
                cells.append(resize_array(array, 128, 128))
                labels.append(f"{name}: {prompt}")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(contact_sheet(cells, labels, columns=min(8, len(prompts))), path, exist_ok=True)
    print(f"pictures: {path}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder of adm-64, guide, judge, sentence (default: bundled)")
    parser.add_argument("--random", action="store_true", help="untrained networks: only the seconds mean something")
    parser.add_argument("--prompts", type=int, default=8, choices=range(1, len(PROMPTS) + 1), metavar="1-16")
    parser.add_argument("--seeds", type=int, default=1, help="pictures a prompt")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer-steps", type=int, default=Flags.steps, help="a divisor of 1000")
    parser.add_argument("--peer-cutn", type=int, default=Flags.cutn, help="30 on the original's command line")
    parser.add_argument("--sampler", default=Plan.sampler)
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--cutn", type=int, default=Plan.cutn)
    parser.add_argument("--strength", type=float, default=Plan.strength, help="create's --clip-guidance")
    parser.add_argument("--look-at", default=Plan.look_at, choices=("blend", "denoised", "noisy"))
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args()


def main() -> int:
    given = read_arguments()
    torch.set_num_threads(given.threads)
    networks = random_networks() if given.random else load_networks(given.models)
    flags = Flags(steps=given.peer_steps, skip_timesteps=given.peer_steps // 10, cutn=given.peer_cutn)
    plan = Plan(given.sampler, given.steps, given.cutn, given.strength, given.look_at)
    wishes = [(prompt, seed) for seed in range(given.seeds) for prompt in PROMPTS[: given.prompts]]
    original(networks, "warming up", 0, Flags(steps=2, skip_timesteps=0))
    ours(networks, "warming up", 0, Plan(plan.sampler, 3))
    done = compare(networks, wishes, flags, plan)
    prompts = [prompt for prompt, _ in wishes]
    kept = report(networks, done, prompts)
    save_sheet(done, prompts, given.out)
    if given.random:
        print("Untrained networks: the judge's scores mean nothing.")
        return 0
    print("The promise is kept." if kept else "The promise is BROKEN.")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
