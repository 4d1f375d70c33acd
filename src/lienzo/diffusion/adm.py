"""The U-Net of ADM (Dhariwal and Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis").

It is also the network of Improved DDPM, clip-diffusion-art and disco-diffusion. Parameters carry the names of the
public checkpoints of guided-diffusion, so their state dicts load as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.core.errors import BadInput
from lienzo.nn.attention import AttentionBlock
from lienzo.nn.embeddings import timestep_embedding
from lienzo.nn.normalisation import GroupNorm32
from lienzo.nn.residual import (
    Downsample,
    EmbeddedSequential,
    ResBlock,
    Upsample,
    cast_convolutions,
    convolution,
    zeroed,
)


def plain_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor, from its `locals()`, as a JSON-ready dict."""
    return {name: _plain(value) for name, value in values.items() if name not in ("self", "__class__")}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def level_widths(channel_mult: Sequence[float], model_channels: int) -> list[int]:
    """Channels of each level of the U-Net; fractions are cut off as in guided-diffusion."""
    return [int(mult * model_channels) for mult in channel_mult]


def dtype_of(module: nn.Module) -> torch.dtype:
    """The dtype of the first parameter of a module."""
    return next(module.parameters()).dtype


def time_mlp(model_channels: int) -> nn.Sequential:
    """The two layers that turn the sinusoids of a timestep into the embedding, four times as wide."""
    width = 4 * model_channels
    return nn.Sequential(nn.Linear(model_channels, width), nn.SiLU(), nn.Linear(width, width))


@dataclass(frozen=True)
class Blocks:
    """Makes the blocks of one network: holds the options that all of them share."""

    model_channels: int
    num_res_blocks: int
    attention_resolutions: frozenset[int]
    dropout: float
    conv_resample: bool
    dims: int
    use_checkpoint: bool
    num_heads: int
    num_head_channels: int
    use_scale_shift_norm: bool
    resblock_updown: bool
    use_new_attention_order: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Blocks:
        """The shared options among a network's arguments."""
        shared = {name: config[name] for name in cls.__dataclass_fields__}
        return cls(**{**shared, "attention_resolutions": frozenset(config["attention_resolutions"])})

    def res(self, channels: int, out_channels: int, up: bool = False, down: bool = False) -> ResBlock:
        """A residual block."""
        return ResBlock(
            channels,
            4 * self.model_channels,
            out_channels,
            dropout=self.dropout,
            use_scale_shift_norm=self.use_scale_shift_norm,
            dims=self.dims,
            use_checkpoint=self.use_checkpoint,
            up=up,
            down=down,
        )

    def attention(self, channels: int, num_heads: int | None = None) -> AttentionBlock:
        """An attention block, with `num_heads` instead of the network's own where given."""
        return AttentionBlock(
            channels,
            self.num_heads if num_heads is None else num_heads,
            self.num_head_channels,
            self.use_new_attention_order,
            self.use_checkpoint,
        )

    def halving(self, channels: int) -> nn.Module:
        """What stands between a level and the next smaller one."""
        if self.resblock_updown:
            return self.res(channels, channels, down=True)
        return Downsample(channels, self.conv_resample, self.dims)

    def doubling(self, channels: int) -> nn.Module:
        """What stands between a level and the next larger one."""
        if self.resblock_updown:
            return self.res(channels, channels, up=True)
        return Upsample(channels, self.conv_resample, self.dims)

    def encoder(self, in_channels: int, widths: Sequence[int]) -> tuple[nn.ModuleList, list[int]]:
        """The descending half, and the width of each of its blocks."""
        channels = widths[0]
        blocks = nn.ModuleList([EmbeddedSequential(convolution(self.dims, in_channels, channels))])
        skips = [channels]
        for level, width in enumerate(widths):
            for _ in range(self.num_res_blocks):
                layers: list[nn.Module] = [self.res(channels, width)]
                channels = width
                if 2**level in self.attention_resolutions:
                    layers.append(self.attention(channels))
                blocks.append(EmbeddedSequential(*layers))
                skips.append(channels)
            if level < len(widths) - 1:
                blocks.append(EmbeddedSequential(self.halving(channels)))
                skips.append(channels)
        return blocks, skips

    def middle(self, channels: int) -> EmbeddedSequential:
        """The blocks at the smallest size."""
        return EmbeddedSequential(self.res(channels, channels), self.attention(channels), self.res(channels, channels))

    def decoder(self, skips: Sequence[int], widths: Sequence[int], num_heads: int) -> nn.ModuleList:
        """The ascending half; each of its blocks also takes the features of one of the descending half."""
        blocks = nn.ModuleList()
        channels, skips = widths[-1], list(skips)
        for level, width in reversed(list(enumerate(widths))):
            for index in range(self.num_res_blocks + 1):
                layers: list[nn.Module] = [self.res(channels + skips.pop(), width)]
                channels = width
                if 2**level in self.attention_resolutions:
                    layers.append(self.attention(channels, num_heads))
                if level and index == self.num_res_blocks:
                    layers.append(self.doubling(channels))
                blocks.append(EmbeddedSequential(*layers))
        return blocks


class Adm(nn.Module):
    """The U-Net: a noisy picture, its timestep and perhaps its class in, noise (and its variance) out.

    Args:
        image_size: width and height that it was trained on; kept for the caller, the network takes other sizes.
        in_channels: channels of the picture.
        model_channels: base width; the levels are `channel_mult` times as wide, in multiples of 32.
        out_channels: channels of the output; twice the picture's where the variance is learned.
        num_res_blocks: residual blocks a level.
        attention_resolutions: DOWNSAMPLE factors (1, 2, 4, ...) at which there is attention, not picture sizes.
        dropout: share of features dropped in training.
        channel_mult: width of each level, from the largest size to the smallest; fractions are allowed.
        conv_resample: resample by convolutions where `resblock_updown` is off.
        dims: 2 for pictures; 1 for signals, 3 for volumes and clips, whose first axis keeps its size.
        num_classes: number of classes of a class-conditional network.
        use_checkpoint: compute blocks again in the backward pass: less memory, more time.
        use_fp16: hold the convolutions of the torso in float16; `cast_torso` offers other dtypes.
        num_heads: attention heads, where `num_head_channels` is -1.
        num_head_channels: channels a head.
        num_heads_upsample: heads in the ascending half; -1 for `num_heads`.
        use_scale_shift_norm: the embedding scales and shifts the norms instead of being added.
        resblock_updown: resample inside residual blocks.
        use_new_attention_order: q/k/v before heads in the channels of attention.
        diffusion: the fields of the `adm_flags.DiffusionSettings` that it was trained with; kept for the caller.
        classes: names of the classes; kept for the caller. One fewer than `num_classes` where the last class stands
            for "no class", as classifier-free guidance needs it.

    Raises:
        BadInput: the numbers do not fit together; the sentence says which.
    """

    copies_in: ClassVar[int] = 1
    """Pictures of `in_channels` that the first layer sees."""

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
        num_classes: int | None = None,
        use_checkpoint: bool = False,
        use_fp16: bool = False,
        num_heads: int = 1,
        num_head_channels: int = -1,
        num_heads_upsample: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
        diffusion: Mapping[str, Any] | None = None,
        classes: Sequence[str] | None = None,
    ):
        config = plain_arguments(locals())
        super().__init__()
        self.config: dict[str, Any] = config
        self.model_channels, self.num_classes = model_channels, num_classes
        self.in_channels, self.dims = in_channels, dims
        self.multiple = 2 ** (len(channel_mult) - 1)
        blocks = Blocks.of(config)
        widths = level_widths(channel_mult, model_channels)
        self.time_embed = time_mlp(model_channels)
        if num_classes is not None:
            self.label_emb = nn.Embedding(num_classes, 4 * model_channels)
        self.input_blocks, skips = blocks.encoder(in_channels * self.copies_in, widths)
        self.middle_block = blocks.middle(widths[-1])
        self.output_blocks = blocks.decoder(
            skips, widths, num_heads if num_heads_upsample == -1 else num_heads_upsample
        )
        self.out = nn.Sequential(GroupNorm32(widths[0]), nn.SiLU(), zeroed(convolution(dims, widths[0], out_channels)))
        if use_fp16:
            self.cast_torso(torch.float16)

    @property
    def torso_dtype(self) -> torch.dtype:
        """The dtype in which the blocks compute."""
        return dtype_of(self.input_blocks)

    def cast_torso(self, dtype: torch.dtype) -> None:
        """Let the blocks compute in `dtype` (bfloat16 or float16 halve the memory); inputs and outputs keep theirs."""
        cast_convolutions([self.input_blocks, self.middle_block, self.output_blocks], dtype)

    def embed(self, timesteps: Tensor, y: Tensor | None) -> Tensor:
        """The embedding (B, 4 model_channels) of timesteps (B,) and, in a class-conditional network, labels (B,)."""
        wide = timestep_embedding(timesteps, self.model_channels)
        emb = self.time_embed(wide.to(dtype_of(self.time_embed)))
        if self.num_classes is None:
            if y is not None:
                raise BadInput("This model does not know classes; leave the label out.")
            return emb
        return emb + self.label_emb(checked_labels(y, timesteps.shape[0], self.num_classes))

    def forward(self, x: Tensor, timesteps: Tensor, y: Tensor | None = None) -> Tensor:
        """One evaluation.

        Args:
            x: (B, in_channels, H, W), noisy pictures as the diffusion scales them; H and W are multiples of
                2 to the number of levels less one.
            timesteps: (B,), may be fractional.
            y: (B,) integer labels, for a class-conditional network.

        Returns:
            (B, out_channels, H, W) in the dtype of `x`.

        Raises:
            BadInput: the size, the channels or the labels do not fit.
        """
        self._check_shape(x)
        return self._run(x, self.embed(timesteps, y))

    def _run(self, x: Tensor, emb: Tensor) -> Tensor:
        h, skips = x.to(self.torso_dtype), []
        for block in self.input_blocks:
            h = block(h, emb)
            skips.append(h)
        h = self.middle_block(h, emb)
        for block in self.output_blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), emb)
        return self.out(h.to(dtype_of(self.out))).to(x.dtype)

    def _check_shape(self, x: Tensor) -> None:
        if x.ndim != self.dims + 2 or x.shape[1] != self.in_channels:
            raise BadInput(
                f"This model takes batches of {self.in_channels} channels and {self.dims} dimensions; "
                f"{tuple(x.shape)} is no such batch."
            )
        sizes = x.shape[3:] if self.dims == 3 else x.shape[2:]
        if any(size % self.multiple for size in sizes):
            raise BadInput(
                f"This model draws pictures whose width and height are multiples of {self.multiple}; "
                f"{'x'.join(str(size) for size in reversed(sizes))} is not."
            )


class AdmSuperRes(Adm):
    """The U-Net that enlarges: it also sees a small picture, enlarged to its own size by bilinear interpolation."""

    copies_in: ClassVar[int] = 2

    def forward(
        self, x: Tensor, timesteps: Tensor, y: Tensor | None = None, *, low_res: Tensor | None = None
    ) -> Tensor:
        """As `Adm.forward`, with the small picture `low_res` (B, in_channels, h, w) in [-1, 1].

        Raises:
            BadInput: also when `low_res` is left out or has another batch or other channels than `x`.
        """
        self._check_shape(x)
        if low_res is None or low_res.shape[:2] != x.shape[:2] or low_res.ndim != 4:
            given = "none" if low_res is None else tuple(low_res.shape)
            raise BadInput(
                f"This model enlarges small pictures; low_res should be (B, {self.in_channels}, h, w), not {given}."
            )
        enlarged = F.interpolate(low_res.to(x.dtype), x.shape[2:], mode="bilinear", align_corners=False)
        return self._run(torch.cat([x, enlarged], dim=1), self.embed(timesteps, y))


def checked_labels(y: Tensor | None, batch: int, num_classes: int) -> Tensor:
    """The labels, when they are one integer a picture in 0..num_classes-1.

    Raises:
        BadInput: they are not; on a GPU a wrong label would end the process instead.
    """
    wanted = f"one whole number from 0 to {num_classes - 1} for each of the {batch} pictures"
    if y is None:
        raise BadInput(f"This model draws by class; give labels, {wanted}.")
    if y.is_floating_point() or y.dtype == torch.bool or y.shape != (batch,):
        raise BadInput(f"Labels should be {wanted}, not {y.dtype} of shape {tuple(y.shape)}.")
    if batch and (int(y.min()) < 0 or int(y.max()) >= num_classes):
        raise BadInput(f"Labels should be {wanted}; {int(y.min())} to {int(y.max())} were given.")
    return y
