"""The classifier of noisy pictures that guides ADM: half of its U-Net with a pool on top."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.diffusion.adm import Blocks, checked_labels, dtype_of, level_widths, plain_arguments, time_mlp
from lienzo.nn.attention import AttentionPool
from lienzo.nn.embeddings import timestep_embedding
from lienzo.nn.normalisation import GroupNorm32
from lienzo.nn.residual import cast_convolutions, convolution, zeroed

POOLS = ("adaptive", "attention", "spatial", "spatial_v2")
ADAPTIVE = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


class AdmClassifier(nn.Module):
    """Classifies a noisy picture at any timestep (Dhariwal and Nichol 2021, section 4).

    Args:
        image_size: width and height of the pictures; the attention pool takes no other size.
        out_channels: number of classes.
        num_heads_upsample: of no effect, as this network only descends; kept so that public settings fit.
        pool: "adaptive" (mean, then a linear layer), "attention", or "spatial" and "spatial_v2" (a small network
            over the means of every block).

    The other arguments are those of `Adm`.

    Raises:
        BadInput: the numbers do not fit together, or there is no such pool.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int,
        model_channels: int,
        out_channels: int,
        num_res_blocks: int,
        attention_resolutions: Sequence[int],
        dropout: float = 0.0,
        channel_mult: Sequence[float] = (1, 2, 4, 8),
        conv_resample: bool = True,
        dims: int = 2,
        use_checkpoint: bool = False,
        use_fp16: bool = False,
        num_heads: int = 1,
        num_head_channels: int = -1,
        num_heads_upsample: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
        pool: str = "adaptive",
        diffusion: Mapping[str, Any] | None = None,
        classes: Sequence[str] | None = None,
    ):
        config = plain_arguments(locals())
        super().__init__()
        self.config: dict[str, Any] = config
        self.model_channels, self.num_classes, self.pool = model_channels, out_channels, pool
        self.in_channels, self.dims = in_channels, dims
        blocks = Blocks.of(config)
        widths = level_widths(channel_mult, model_channels)
        self.time_embed = time_mlp(model_channels)
        self.input_blocks, features = blocks.encoder(in_channels, widths)
        self.middle_block = blocks.middle(widths[-1])
        self.out = _pool(config, widths[-1], sum(features) + widths[-1])
        if use_fp16:
            self.cast_torso(torch.float16)

    @property
    def torso_dtype(self) -> torch.dtype:
        """The dtype in which the blocks compute."""
        return dtype_of(self.input_blocks)

    def cast_torso(self, dtype: torch.dtype) -> None:
        """Let the blocks compute in `dtype`; inputs, the pool and the outputs keep theirs."""
        cast_convolutions([self.input_blocks, self.middle_block], dtype)

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Logits (B, out_channels) of noisy pictures x (B, in_channels, H, W) at timesteps (B,).

        Raises:
            BadInput: the batch has other channels or dimensions, or the attention pool another size.
        """
        if x.ndim != self.dims + 2 or x.shape[1] != self.in_channels:
            raise BadInput(
                f"This classifier takes batches of {self.in_channels} channels and {self.dims} dimensions; "
                f"{tuple(x.shape)} is no such batch."
            )
        wide = timestep_embedding(timesteps, self.model_channels)
        emb = self.time_embed(wide.to(dtype_of(self.time_embed)))
        pooled_dtype = dtype_of(self.out)
        h, means = x.to(self.torso_dtype), []
        for block in [*self.input_blocks, self.middle_block]:
            h = block(h, emb)
            if self.pool.startswith("spatial"):
                means.append(h.to(pooled_dtype).flatten(2).mean(dim=2))
        return self.out(torch.cat(means, dim=1) if means else h.to(pooled_dtype)).to(x.dtype)


def _pool(config: dict[str, Any], channels: int, all_channels: int) -> nn.Sequential:
    """The head: from the last features (`channels`) or from the means of all blocks (`all_channels`) to logits."""
    classes, dims = config["out_channels"], config["dims"]
    if config["pool"] == "adaptive":
        return nn.Sequential(
            GroupNorm32(channels),
            nn.SiLU(),
            ADAPTIVE[dims](1),
            zeroed(convolution(dims, channels, classes, 1)),
            nn.Flatten(),
        )
    if config["pool"] == "attention":
        if config["num_head_channels"] == -1:
            raise BadInput("The attention pool needs num_head_channels, the channels of one of its heads.")
        size = config["image_size"] // 2 ** (len(config["channel_mult"]) - 1)
        pool = AttentionPool(size, channels, config["num_head_channels"], classes, dims)
        return nn.Sequential(GroupNorm32(channels), nn.SiLU(), pool)
    if config["pool"] == "spatial":
        return nn.Sequential(nn.Linear(all_channels, 2048), nn.ReLU(), nn.Linear(2048, classes))
    if config["pool"] == "spatial_v2":
        return nn.Sequential(nn.Linear(all_channels, 2048), GroupNorm32(2048), nn.SiLU(), nn.Linear(2048, classes))
    raise BadInput(f"There is no pool {config['pool']!r}; there are {', '.join(POOLS)}.")


def class_gradient(classifier: Callable[[Tensor, Tensor], Tensor], x: Tensor, timesteps: Tensor, y: Tensor) -> Tensor:
    """d log p(y | x_t) / d x_t: the direction in which a noisy picture looks more like its class.

    Works inside `torch.no_grad()` too. The caller multiplies by the guidance scale.

    Args:
        classifier: (x, timesteps) to logits (B, classes), such as an `AdmClassifier`.
        x: (B, C, H, W) noisy pictures, as the diffusion scales them.
        timesteps: (B,).
        y: (B,) integer labels.

    Returns:
        (B, C, H, W), detached.

    Raises:
        BadInput: a label is not one of the classes.
    """
    with torch.enable_grad():
        noisy = x.detach().requires_grad_(True)
        log_p = classifier(noisy, timesteps).log_softmax(dim=-1)
        labels = checked_labels(y, x.shape[0], log_p.shape[1])
        chosen = log_p.gather(1, labels.long()[:, None]).sum()
        return torch.autograd.grad(chosen, noisy)[0]
