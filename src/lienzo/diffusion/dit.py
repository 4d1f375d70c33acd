"""The diffusion transformer of Peebles and Xie (2023, "Scalable Diffusion Models with Transformers", arXiv 2212.09748).

A picture or latent is cut into patches; transformer blocks mix them; time and class steer every block through its layer
norms, whose last gate starts at zero (adaLN-Zero). Parameters carry the names of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.diffusion.adm import dtype_of
from lienzo.nn.embeddings import timestep_embedding
from lienzo.nn.loading import fill_exactly

TIME_FEATURES = 256
PUBLISHED_HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}
"""Heads of the published sizes S, B, L and XL by width; the shapes of a checkpoint do not tell them."""


def line_embedding(places: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of positions (N,) at width / 2 frequencies from 1 down to nearly 1/10000: (N, width)."""
    rates = 10_000.0 ** -(torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angles = places.double()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def grid_embedding(rows: int, columns: int, width: int) -> Tensor:
    """One fixed vector a patch, (1, rows * columns, width): the first half tells the column, the second the row."""
    across = line_embedding(torch.arange(columns), width // 2).repeat(rows, 1)
    down = line_embedding(torch.arange(rows), width // 2).repeat_interleave(columns, dim=0)
    return torch.cat([across, down], dim=1)[None]


def linear(inputs: int, outputs: int, start: Literal["xavier", "small", "zero"] = "xavier") -> nn.Linear:
    """A linear layer as the authors start it, its bias at zero."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.bias)
    if start == "xavier":
        nn.init.xavier_uniform_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=0.02 if start == "small" else 0.0)
    return layer


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Features (B, T, D) moved and stretched by one vector (B, D) a picture."""
    return x * (1 + scale[:, None]) + shift[:, None]


class PatchEmbedder(nn.Module):
    """Patches (B, T, hidden_size) of a picture, row by row."""

    def __init__(self, patch_size: int, in_channels: int, hidden_size: int):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, hidden_size, patch_size, stride=patch_size)
        nn.init.xavier_uniform_(self.proj.weight.view(hidden_size, -1))
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        # The same numbers as the convolution; a matrix product has the faster backward pass on CPUs.
        width, _, side, _ = self.proj.weight.shape
        b, c, height, breadth = x.shape
        patches = x.reshape(b, c, height // side, side, breadth // side, side).permute(0, 2, 4, 1, 3, 5)
        flat = patches.reshape(b, -1, c * side * side)  # (B, T, C side side)
        return F.linear(flat, self.proj.weight.reshape(width, -1), self.proj.bias)


class TimestepEmbedder(nn.Module):
    """Sinusoids of the time through two layers: (B,) to (B, hidden_size)."""

    def __init__(self, hidden_size: int):
        super().__init__()
        first, last = linear(TIME_FEATURES, hidden_size, "small"), linear(hidden_size, hidden_size, "small")
        self.mlp = nn.Sequential(first, nn.SiLU(), last)

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(timestep_embedding(t, TIME_FEATURES).to(dtype_of(self.mlp)))


class LabelEmbedder(nn.Module):
    """A vector a class; where there is a null class, it is the last row."""

    def __init__(self, rows: int, hidden_size: int):
        super().__init__()
        self.embedding_table = nn.Embedding(rows, hidden_size)
        nn.init.normal_(self.embedding_table.weight, std=0.02)

    def forward(self, y: Tensor) -> Tensor:
        return self.embedding_table(y)


class Attention(nn.Module):
    """Self-attention of all patches; q, k and v before heads in the channels of `qkv`."""

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = linear(hidden_size, 3 * hidden_size)
        self.proj = linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        b, length, width = x.shape
        parts = self.qkv(x).reshape(b, length, 3, self.num_heads, width // self.num_heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts.unbind(0))  # (B, heads, T, width / heads)
        return self.proj(mixed.transpose(1, 2).reshape(b, length, width))


class Mlp(nn.Module):
    """Two layers with the tanh form of GELU between them."""

    def __init__(self, hidden_size: int, inner: int):
        super().__init__()
        self.fc1 = linear(hidden_size, inner)
        self.fc2 = linear(inner, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    """Attention and MLP, each between a norm and a gate that the condition steers; starts as the identity."""

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden_size, eps=1e-6, elementwise_affine=False)
        self.attn = Attention(hidden_size, num_heads)
        self.norm2 = nn.LayerNorm(hidden_size, eps=1e-6, elementwise_affine=False)
        self.mlp = Mlp(hidden_size, int(hidden_size * mlp_ratio + 1e-6))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), linear(hidden_size, 6 * hidden_size, "zero"))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Patches (B, T, D) and condition (B, D) to (B, T, D)."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(condition).chunk(6, dim=1)
        x = x + gate_a[:, None] * self.attn(modulate(self.norm1(x), shift_a, scale_a))
        return x + gate_m[:, None] * self.mlp(modulate(self.norm2(x), shift_m, scale_m))


class FinalLayer(nn.Module):
    """The pixels of each patch; starts at zero."""

    def __init__(self, hidden_size: int, patch_size: int, out_channels: int):
        super().__init__()
        self.norm_final = nn.LayerNorm(hidden_size, eps=1e-6, elementwise_affine=False)
        self.linear = linear(hidden_size, patch_size * patch_size * out_channels, "zero")
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), linear(hidden_size, 2 * hidden_size, "zero"))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(condition).chunk(2, dim=1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


class DiT(nn.Module):
    """The transformer: a noisy picture, its time and its class in, a picture of `out_channels` out.

    Args:
        input_size: side in pixels (or latent positions) that it was made for; it takes other sizes too.
        patch_size: side of a patch; pictures are multiples of it.
        in_channels: channels of the picture.
        hidden_size: width, a multiple of 4 and of `num_heads`.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: inner width of the MLPs in multiples of `hidden_size`.
        class_dropout_prob: share of labels that training drops; above 0 there is a null class, numbered `num_classes`.
        num_classes: number of classes.
        learn_sigma: the answer has twice the channels, the second half telling the variance.
        objective: ``ddpm`` for the published one, noise of timesteps 0 to 999; ``flow`` for the velocity of a rectified
            flow at times 0 to 1.
        classes: names of the classes, kept for the caller.

    Raises:
        BadInput: the widths do not fit together.
    """

    def __init__(
        self,
        input_size: int = 32,
        patch_size: int = 2,
        in_channels: int = 4,
        hidden_size: int = 1152,
        depth: int = 28,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        class_dropout_prob: float = 0.1,
        num_classes: int = 1000,
        learn_sigma: bool = True,
        objective: Literal["ddpm", "flow"] = "ddpm",
        classes: Sequence[str] | None = None,
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "input_size": input_size, "patch_size": patch_size, "in_channels": in_channels, "hidden_size": hidden_size,
            "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio, "class_dropout_prob": class_dropout_prob,
            "num_classes": num_classes, "learn_sigma": learn_sigma, "objective": objective,
            "classes": None if classes is None else list(classes),
        }  # fmt: skip
        if hidden_size % 4 or hidden_size % num_heads:
            raise BadInput(f"The width {hidden_size} of a DiT must be a multiple of 4 and of its {num_heads} heads.")
        if input_size % patch_size:
            raise BadInput(f"Pictures of {input_size} pixels cannot be cut into patches of {patch_size}.")
        self.patch_size, self.in_channels = patch_size, in_channels
        self.out_channels = in_channels * 2 if learn_sigma else in_channels
        self.num_classes, self.time_scale = num_classes, 1000.0 if objective == "flow" else 1.0
        self.null_class = num_classes if class_dropout_prob > 0 else None
        self.grid = input_size // patch_size
        self.x_embedder = PatchEmbedder(patch_size, in_channels, hidden_size)
        self.t_embedder = TimestepEmbedder(hidden_size)
        self.y_embedder = LabelEmbedder(num_classes + (self.null_class is not None), hidden_size)
        self.pos_embed = nn.Parameter(grid_embedding(self.grid, self.grid, hidden_size), requires_grad=False)
        self.blocks = nn.ModuleList(Block(hidden_size, num_heads, mlp_ratio) for _ in range(depth))
        self.final_layer = FinalLayer(hidden_size, patch_size, self.out_channels)

    def positions(self, rows: int, columns: int) -> Tensor:
        """The fixed vectors of a grid of patches: the stored ones for the size it was made for, else computed."""
        if rows == columns == self.grid:
            return self.pos_embed
        return grid_embedding(rows, columns, self.pos_embed.shape[2]).to(self.pos_embed)

    def unpatchify(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """Patches (B, rows * columns, p * p * C), pixels before channels, to pictures (B, C, rows * p, columns * p)."""
        p = self.patch_size
        cells = x.reshape(len(x), rows, columns, p, p, -1).permute(0, 5, 1, 3, 2, 4)  # (B, C, rows, p, columns, p)
        return cells.reshape(len(x), -1, rows * p, columns * p)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """One evaluation.

        Args:
            x: (B, in_channels, H, W), H and W multiples of `patch_size`.
            t: (B,) times.
            y: (B,) labels; `null_class`, where there is one, stands for none.

        Returns:
            (B, out_channels, H, W).

        Raises:
            BadInput: the channels or the size do not fit.
        """
        height, width = x.shape[2:]
        if x.shape[1] != self.in_channels or height % self.patch_size or width % self.patch_size:
            raise BadInput(
                f"This model takes {self.in_channels} channels and sides that are multiples of {self.patch_size}; "
                f"{x.shape[1]} channels of {width}x{height} are not."
            )
        rows, columns = height // self.patch_size, width // self.patch_size
        condition = self.t_embedder(t * self.time_scale) + self.y_embedder(y)
        h = self.x_embedder(x) + self.positions(rows, columns)
        for block in self.blocks:
            h = block(h, condition)
        return self.unpatchify(self.final_layer(h, condition), rows, columns)


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of a `DiT`."""
    return {"x_embedder.proj.weight", "y_embedder.embedding_table.weight", "final_layer.linear.weight"} <= state.keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> DiT:
    """The network with the weights of `state`, in evaluation mode.

    Shapes tell all sizes but the number of heads and whether the last class stands for none; without `config` these are
    taken as published (heads of 64 channels at other widths, and a null class).

    Raises:
        BadWeights: keys or shapes do not fit.
    """
    with torch.device("meta"):  # a wrong file costs no memory before its tensors are known to fit
        model = DiT(**{**shapes(state), **(config or {})})
    return fill_exactly(model, state, "a DiT").eval().requires_grad_(False)


def shapes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `DiT` that its tensors tell.

    Raises:
        BadWeights: the tensors that tell them are missing.
    """
    try:
        width, channels, patch, _ = state["x_embedder.proj.weight"].shape
        inner = state["blocks.0.mlp.fc1.weight"].shape[0]
        outputs = state["final_layer.linear.weight"].shape[0] // patch**2
        rows = state["y_embedder.embedding_table.weight"].shape[0]
        patches = state["pos_embed"].shape[1]
    except KeyError as error:
        raise BadWeights(f"The weights are not those of a DiT: {error} is missing.") from error
    depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    return {
        "input_size": round(patches**0.5) * patch,
        "patch_size": patch,
        "in_channels": channels,
        "hidden_size": width,
        "depth": depth,
        "num_heads": PUBLISHED_HEADS.get(width, max(width // 64, 1)),
        "mlp_ratio": inner / width,
        "num_classes": rows - 1,
        "learn_sigma": outputs == 2 * channels,
    }
