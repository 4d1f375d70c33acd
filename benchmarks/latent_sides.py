"""The sides that `latent_speed.py` compares, each in a process of its own: one U-Net step, or one decoding.

A third side, `reference`, is the network of diffusers in float64: how far the others are from it is their rounding. The
side `diffusers` also makes the weights: a network with random weights under its own names. Lienzo reads the same
file through the names that it knows of diffusers. Loading is not timed, and one run on small latents comes before.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

CONTEXT, TOKENS, HEADS = 768, 77, 8
STRIP = 3e8
"""Bytes that a float64 convolution may unfold its input to."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Run = Callable[[Tensor], Tensor]


def widths(channels: int) -> tuple[int, ...]:
    """Channels of the four levels, as in Stable Diffusion 1: of its U-Net for 320, of its autoencoder for 128."""
    return channels, 2 * channels, 4 * channels, 4 * channels


def diffusers_network(job: str, channels: int) -> torch.nn.Module:
    """The network of diffusers with its own random start."""
    import diffusers

    if job == "unet":
        return diffusers.UNet2DConditionModel(
            block_out_channels=widths(channels), cross_attention_dim=CONTEXT, attention_head_dim=HEADS
        ).eval()
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths(channels),
        layers_per_block=2,
    ).eval()


def context_of(batch: int, dtype: torch.dtype) -> Tensor:
    """The same random text states on both sides."""
    return torch.randn(batch, TOKENS, CONTEXT, generator=torch.Generator().manual_seed(2)).to(dtype)


def diffusers_side(job: str, weights: Path, channels: int, dtype: torch.dtype) -> Run:
    """As its pipelines call it."""
    with torch.device("meta"):
        network = diffusers_network(job, channels)
    network.load_state_dict(load_file(weights), assign=True)
    network.to(dtype)
    if job == "decode":
        return lambda x: network.decode(x.to(dtype)).sample  # type: ignore[operator]
    timesteps = torch.tensor(500)
    return lambda x: network(x.to(dtype), timesteps, encoder_hidden_states=context_of(len(x), dtype)).sample


def reference_side(job: str, weights: Path, channels: int, dtype: torch.dtype) -> Run:
    """diffusers in float64, whatever the dtype; convolutions take strips of a picture, as torch unfolds all of it."""
    whole = torch.nn.Conv2d._conv_forward

    def in_strips(self: torch.nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = max(1, int(STRIP / (weight[0].numel() * x.shape[3] * x.element_size())))
        if self.stride != (1, 1) or len(x) > 1 or x.shape[2] <= rows:
            return whole(self, x, weight, bias)
        margin = int(self.padding[0])
        padded = F.pad(x, (margin,) * 4)
        starts = range(0, x.shape[2], rows)
        return torch.cat([F.conv2d(padded[:, :, a : a + rows + 2 * margin], weight, bias) for a in starts], 2)

    torch.nn.Conv2d._conv_forward = in_strips  # type: ignore[method-assign, assignment]
    return diffusers_side(job, weights, channels, torch.float64)


def lienzo_side(job: str, weights: Path, channels: int, dtype: torch.dtype) -> Run:
    """As for sampling on the CPU: the blocks of the U-Net are packed, and the text is read at the first step only."""
    from lienzo.autoencoders import kl
    from lienzo.diffusion import ldm_unet
    from lienzo.diffusion.diffusers_keys import unet_to_ldm, vae_to_ldm
    from lienzo.diffusion.spatial_transformer import KeptContext

    state = load_file(weights)
    if job == "decode":
        stage = kl.load(vae_to_ldm(state), {"scale_factor": 1.0}).to(dtype)
        return lambda x: stage.decode(x.to(dtype))
    unet = ldm_unet.load(unet_to_ldm(state), {"num_heads": HEADS})
    del state
    if dtype != torch.float32:
        unet.cast_torso(dtype)
    unet.pack_torso()
    context = KeptContext(context_of(2, dtype))
    return lambda x: unet(x, torch.full((len(x),), 500.0), context)


def measure(run: Run, x: Tensor, repeats: int) -> tuple[dict[str, float], Tensor]:
    """Least wall and processor seconds, and the peak of resident memory over what was held before, in MB."""
    with torch.inference_mode():
        run(x[..., :8, :8])
        held = reset_peak()
        walls, processors = [], []
        for _ in range(repeats):
            wall, processor = time.perf_counter(), time.process_time()
            y = run(x)
            walls.append(time.perf_counter() - wall)
            processors.append(time.process_time() - processor)
    peak = memory("VmHWM")
    times = {"wall": min(walls), "processor": min(processors)}
    return times | {"peak_mb": peak, "over_mb": peak - held}, y


def memory(row: str) -> float:
    """A row of the process's state, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(row))


def reset_peak() -> float:
    """Let the peak of resident memory begin anew; what is held now, in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=["lienzo", "diffusers", "reference", "make"])
    parser.add_argument("job", choices=["unet", "decode"])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--channels", type=int, required=True, help="width of the first level")
    parser.add_argument("--latent", type=int, default=32, help="side of the latents")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, help="the result, .npy")
    given = parser.parse_args()
    if given.side == "make":
        torch.manual_seed(0)
        save_file(diffusers_network(given.job, given.channels).state_dict(), given.weights)
        return
    side = {"lienzo": lienzo_side, "diffusers": diffusers_side, "reference": reference_side}[given.side]
    x = torch.randn(1, 4, given.latent, given.latent, generator=torch.Generator().manual_seed(1))
    if given.job == "unet":  # classifier-free guidance asks twice about the same latents
        x = torch.cat([x, x])
    found, y = measure(side(given.job, given.weights, given.channels, DTYPES[given.dtype]), x, given.repeats)
    np.save(given.out, y.double().numpy())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
