"""The U-Net of latent diffusion (Rombach et al. 2022) and of Stable Diffusion 1 and 2.

It is the U-Net of ADM, whose attention may be a spatial transformer that also looks at a text. Parameters carry the
names of the public checkpoints, below their `model.diffusion_model.`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.diffusion.adm import checked_labels, dtype_of, plain_arguments, time_mlp
from lienzo.diffusion.ldm_shapes import config_from, is_ldm, without_prefix
from lienzo.diffusion.spatial_transformer import Context, ContextBlock, KeptContext, SpatialTransformer
from lienzo.nn.attention import AttentionBlock
from lienzo.nn.embeddings import timestep_embedding
from lienzo.nn.loading import fill_exactly
from lienzo.nn.normalisation import GroupNorm32
from lienzo.nn.packed import pack
from lienzo.nn.residual import Downsample, EmbeddedBlock, ResBlock, Upsample, convolution, zeroed


class ConditionedSequential(nn.Sequential):
    """Layers in a row; each is given the embedding or the context, if it takes one."""

    def forward(self, x: Tensor, emb: Tensor, context: Context | None) -> Tensor:  # type: ignore[override]
        """Features (B, C, ...), embedding (B, E) and context (B, L, D) to features."""
        for layer in self:
            if isinstance(layer, EmbeddedBlock):
                x = layer(x, emb)
            elif isinstance(layer, ContextBlock):
                x = layer(x, context)
            else:
                x = layer(x)
        return x


class LdmUnet(nn.Module):
    """The U-Net: noisy latents, their timestep and perhaps a text or a class in, noise (or v) out.

    Args:
        image_size: side of the latents that it was trained on; kept for the caller, the network takes other sizes.
        in_channels: channels of the input: of the latents, and of what stands beside them (9 for inpainting).
        model_channels: base width, a multiple of 32; the levels are `channel_mult` times as wide.
        out_channels: channels of the output.
        num_res_blocks: residual blocks a level; a number, or one for each level.
        attention_resolutions: DOWNSAMPLE factors (1, 2, 4, ...) at which there is attention, not picture sizes.
        dropout: share of features dropped in the residual blocks in training.
        channel_mult: width of each level, from the largest size to the smallest; the first is 1.
        conv_resample: resample by convolutions where `resblock_updown` is off.
        dims: 2 for pictures; 1 for signals, 3 for volumes, both without spatial transformer.
        num_classes: number of classes; ``continuous`` for one number (B, 1), ``sequential`` for a vector
            (B, adm_in_channels); None for a network without.
        use_checkpoint: compute blocks again in the backward pass: less memory, more time.
        use_fp16: hold the torso in float16; `cast_torso` offers other dtypes.
        num_heads: attention heads, where `num_head_channels` is -1. One of the two must be given.
        num_head_channels: channels a head.
        num_heads_upsample: heads in the ascending half, of plain attention with `legacy` only; -1 for `num_heads`.
        use_scale_shift_norm: the embedding scales and shifts the norms instead of being added.
        resblock_updown: resample inside residual blocks.
        use_new_attention_order: q/k/v before heads in the channels of plain attention.
        use_spatial_transformer: attention to the positions and to a context, by transformer blocks.
        transformer_depth: blocks a spatial transformer; a number, or one for each level (the last also in the middle).
        context_dim: width of the context; needed by the spatial transformer.
        n_embed: the network gives logits over a codebook of so many entries instead of noise.
        legacy: how the original counts heads; False in Stable Diffusion. It matters only where the heads do not divide
            the channels.
        use_linear_in_transformer: project by linear layers, as Stable Diffusion 2.
        disable_self_attentions: for each level, whether its transformers look at the context only.
        disable_middle_self_attn: the same for the middle.
        num_attention_blocks: for each level, after how many of its residual blocks there is attention; None for all.
        adm_in_channels: width of the vector of a ``sequential`` network.

    Raises:
        BadInput: the numbers do not fit together; the sentence says which.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int,
        model_channels: int,
        out_channels: int,
        num_res_blocks: int | Sequence[int],
        attention_resolutions: Sequence[int],
        dropout: float = 0.0,
        channel_mult: Sequence[int] = (1, 2, 4, 8),
        conv_resample: bool = True,
        dims: int = 2,
        num_classes: int | str | None = None,
        use_checkpoint: bool = False,
        use_fp16: bool = False,
        num_heads: int = -1,
        num_head_channels: int = -1,
        num_heads_upsample: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
        use_spatial_transformer: bool = False,
        transformer_depth: int | Sequence[int] = 1,
        context_dim: int | None = None,
        n_embed: int | None = None,
        legacy: bool = True,
        use_linear_in_transformer: bool = False,
        disable_self_attentions: Sequence[bool] | None = None,
        disable_middle_self_attn: bool = False,
        num_attention_blocks: Sequence[int] | None = None,
        adm_in_channels: int | None = None,
    ):
        config = plain_arguments(locals())
        super().__init__()
        self.config: dict[str, Any] = config
        self.in_channels, self.model_channels, self.dims = in_channels, model_channels, dims
        self.num_classes, self.adm_in_channels = num_classes, adm_in_channels
        self.context_dim = context_dim
        self.multiple = 2 ** (len(channel_mult) - 1)
        blocks = _Blocks(config)
        self.time_embed = time_mlp(model_channels)
        if num_classes is not None:
            self.label_emb = _label_embedding(num_classes, 4 * model_channels, adm_in_channels)
        self.input_blocks, skips = blocks.encoder()
        self.middle_block = blocks.middle()
        self.output_blocks = blocks.decoder(skips)
        self.out = nn.Sequential(
            GroupNorm32(model_channels), nn.SiLU(), zeroed(convolution(dims, model_channels, out_channels))
        )
        if n_embed is not None:
            self.id_predictor = nn.Sequential(
                GroupNorm32(model_channels), convolution(dims, model_channels, n_embed, kernel=1)
            )
        self.predicts_codes = n_embed is not None
        if use_fp16:
            self.cast_torso(torch.float16)

    @property
    def torso_dtype(self) -> torch.dtype:
        """The dtype in which the blocks compute."""
        return dtype_of(self.input_blocks)

    def cast_torso(self, dtype: torch.dtype) -> None:
        """Let the blocks compute in `dtype` (bfloat16 or float16 halve the memory); inputs and outputs keep theirs."""
        for part in (self.input_blocks, self.middle_block, self.output_blocks):
            part.to(dtype)

    def pack_torso(self) -> None:
        """Make the blocks faster for sampling on the CPU, for good; see `nn.packed.pack`. Elsewhere nothing changes.

        It comes last, after `cast_torso` and after any LoRA.
        """
        for part in (self.input_blocks, self.middle_block, self.output_blocks):
            pack(part)

    def embed(self, timesteps: Tensor, y: Tensor | None = None) -> Tensor:
        """The embedding (B, 4 model_channels) of timesteps (B,) and, where the network has one, of the class.

        Raises:
            BadInput: the class is missing, not known, or not wanted.
        """
        wide = timestep_embedding(timesteps, self.model_channels)
        emb = self.time_embed(wide.to(dtype_of(self.time_embed)))
        if self.num_classes is None:
            if y is not None:
                raise BadInput("This model does not know classes; leave the label out.")
            return emb
        batch = timesteps.shape[0]
        if isinstance(self.num_classes, int):
            return emb + self.label_emb(checked_labels(y, batch, self.num_classes))
        width = 1 if self.num_classes == "continuous" else self.adm_in_channels
        if y is None or y.shape != (batch, width):
            given = "none" if y is None else tuple(y.shape)
            raise BadInput(f"This model is told a vector of {width} numbers for each picture, y ({batch}, {width}), "
                           f"not {given}.")  # fmt: skip
        return emb + self.label_emb(y.to(emb.dtype))

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Context | None = None,
        y: Tensor | None = None,
        *,
        concat: Tensor | None = None,
    ) -> Tensor:
        """One evaluation.

        Args:
            x: (B, C, H, W), noisy latents as the diffusion scales them; H and W are multiples of 2 to the number of
                levels less one.
            timesteps: (B,), may be fractional.
            context: (B, L, context_dim), for a network with spatial transformers; e.g. the states of a text. As a
                `KeptContext` it is read once for many evaluations.
            y: the class: (B,) integers, or a vector for each picture.
            concat: (B, in_channels - C, H, W), put after the channels of x: for inpainting the mask (1 where to
                paint), then the latents of the masked picture.

        Returns:
            (B, out_channels, H, W) in the dtype of `x`; logits (B, n_embed, H, W) of a network that predicts codes.

        Raises:
            BadInput: the size, the channels, the context or the class do not fit.
        """
        h = x if concat is None else torch.cat([x, concat.to(x.dtype)], dim=1)
        self._check_shape(h)
        self._check_context(context, len(x))
        dtype = self.torso_dtype
        emb = self.embed(timesteps, y).to(dtype)
        context = None if context is None else context.to(dtype)
        h, skips = h.to(dtype), []
        for block in self.input_blocks:
            h = block(h, emb, context)
            skips.append(h)
        h = self.middle_block(h, emb, context)
        for block in self.output_blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), emb, context)
        head = self.id_predictor if self.predicts_codes else self.out
        return head(h.to(dtype_of(head))).to(x.dtype)

    def _check_shape(self, x: Tensor) -> None:
        if x.ndim != self.dims + 2 or x.shape[1] != self.in_channels:
            raise BadInput(
                f"This model takes batches of {self.in_channels} channels and {self.dims} dimensions; "
                f"{tuple(x.shape)} is no such batch."
            )
        sizes = x.shape[3:] if self.dims == 3 else x.shape[2:]
        if any(size % self.multiple for size in sizes):
            raise BadInput(
                f"This model takes latents whose width and height are multiples of {self.multiple}; "
                f"{'x'.join(str(size) for size in reversed(sizes))} is not."
            )

    def _check_context(self, told: Context | None, batch: int) -> None:
        context = told.states if isinstance(told, KeptContext) else told
        if self.context_dim is None:
            if context is not None:
                raise BadInput("This model looks at no text; leave the context out.")
        elif context is None or context.ndim != 3 or context.shape[::2] != (batch, self.context_dim):
            given = "none" if context is None else tuple(context.shape)
            raise BadInput(
                f"This model is told a text as a context of shape ({batch}, tokens, {self.context_dim}), not {given}."
            )


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of a latent diffusion U-Net, alone or within a whole checkpoint.

    Without the prefix `model.diffusion_model.`, one with plain attention has the names of an ADM U-Net and is taken
    for that.
    """
    return is_ldm(state)


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> LdmUnet:
    """The network with the weights of `state`, in evaluation mode.

    Args:
        state: key to tensor, under the public names, with or without the prefix `model.diffusion_model.` (all other
            keys of a whole checkpoint are then left aside). Tensors of the right dtype are taken over, not copied.
        config: arguments that win over what the weights tell, such as `num_heads` of a private model.

    Raises:
        BadWeights: keys or shapes do not fit, or `config` is not that of such a network.
    """
    state = without_prefix(state)
    given = dict(config or {})
    unknown = [name for name in given if name not in signature(LdmUnet).parameters]
    if unknown:
        raise BadWeights(f"The settings of these weights name an unknown argument '{unknown[0]}' of the U-Net.")
    found = config_from(state)
    if {"num_heads", "num_head_channels"} & given.keys():  # the file's word, whole: the two exclude each other
        found |= {"num_heads": -1, "num_head_channels": -1}
    settings = {**found, **given}
    try:
        _check_blocks(settings, found)
        with torch.device("meta"):
            empty = LdmUnet(**settings)
    except (BadInput, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise BadWeights(f"The settings of these weights make no latent diffusion U-Net: {error}") from error
    return fill_exactly(empty, state, "a latent diffusion U-Net").eval()


def _check_blocks(settings: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse settings with another number of blocks before anything is built: they come from a file."""
    given, there = (_residual_blocks(each) for each in (settings, found))
    levels, depth = settings["channel_mult"], settings["transformer_depth"]
    if given != there or len(levels) != len(found["channel_mult"]):
        raise BadInput(f"they describe {given} residual blocks in {len(levels)} levels, and the weights have {there}.")
    if max(_for_levels("transformer_depth", depth, len(levels))) > 100:
        raise BadInput("they describe more than 100 blocks a transformer.")


def _residual_blocks(config: Mapping[str, Any]) -> int:
    return sum(_for_levels("num_res_blocks", config["num_res_blocks"], len(config["channel_mult"])))


class _Blocks:
    """Makes the blocks of one network from its arguments."""

    def __init__(self, config: Mapping[str, Any]):
        self.config = config
        self.base, self.dims = config["model_channels"], config["dims"]
        self.spatial = config["use_spatial_transformer"]
        mult = config["channel_mult"]
        _check(config)
        levels = len(mult)
        self.widths = [int(m * self.base) for m in mult]
        self.depths = _for_levels("num_res_blocks", config["num_res_blocks"], levels)
        self.transformers = _for_levels("transformer_depth", config["transformer_depth"], levels)
        disabled = config["disable_self_attentions"]
        self.disabled = _for_levels("disable_self_attentions", False if disabled is None else disabled, levels)
        attended = config["num_attention_blocks"]
        limits = [depth + 1 for depth in self.depths] if attended is None else attended
        self.attended = _for_levels("num_attention_blocks", limits, levels)

    def res(self, channels: int, out_channels: int, up: bool = False, down: bool = False) -> ResBlock:
        return ResBlock(
            channels,
            4 * self.base,
            out_channels,
            dropout=self.config["dropout"],
            use_scale_shift_norm=self.config["use_scale_shift_norm"],
            dims=self.dims,
            use_checkpoint=self.config["use_checkpoint"],
            up=up,
            down=down,
        )

    def attention(self, channels: int, depth: int, disable_self_attn: bool, num_heads: int | None = None) -> nn.Module:
        """An attention layer; the counting of heads is the original's, with its corners."""
        config = self.config
        heads, width = config["num_heads"], config["num_head_channels"]
        if width == -1:
            width = channels // heads
        else:
            heads = channels // width
        if heads < 1 or width < 1:
            raise BadInput(f"{channels} channels cannot be shared among the attention heads that were asked for.")
        if not self.spatial:
            return AttentionBlock(
                channels,
                heads if num_heads is None else num_heads,
                config["num_head_channels"] if config["legacy"] else width,
                config["use_new_attention_order"],
                config["use_checkpoint"],
            )
        return SpatialTransformer(
            channels,
            heads,
            channels // heads if config["legacy"] else width,
            depth,
            config["context_dim"],
            config["use_linear_in_transformer"],
            config["use_checkpoint"],
            disable_self_attn,
        )

    def attends(self, level: int, index: int) -> bool:
        """Whether attention follows the residual block `index` of a level."""
        return 2**level in self.config["attention_resolutions"] and index < self.attended[level]

    def encoder(self) -> tuple[nn.ModuleList, list[int]]:
        """The descending half, and the width of each of its blocks."""
        channels = self.base
        blocks = nn.ModuleList([ConditionedSequential(convolution(self.dims, self.config["in_channels"], channels))])
        skips = [channels]
        for level, width in enumerate(self.widths):
            for index in range(self.depths[level]):
                layers: list[nn.Module] = [self.res(channels, width)]
                channels = width
                if self.attends(level, index):
                    layers.append(self.attention(channels, self.transformers[level], self.disabled[level]))
                blocks.append(ConditionedSequential(*layers))
                skips.append(channels)
            if level < len(self.widths) - 1:
                blocks.append(ConditionedSequential(self.halving(channels)))
                skips.append(channels)
        return blocks, skips

    def middle(self) -> ConditionedSequential:
        """The blocks at the smallest size."""
        channels = self.widths[-1]
        attention = self.attention(channels, self.transformers[-1], self.config["disable_middle_self_attn"])
        return ConditionedSequential(self.res(channels, channels), attention, self.res(channels, channels))

    def decoder(self, skips: Sequence[int]) -> nn.ModuleList:
        """The ascending half; each of its blocks also takes the features of one of the descending half."""
        blocks = nn.ModuleList()
        channels, skips = self.widths[-1], list(skips)
        heads = self.config["num_heads_upsample"]
        heads = self.config["num_heads"] if heads == -1 else heads
        for level, width in reversed(list(enumerate(self.widths))):
            for index in range(self.depths[level] + 1):
                layers: list[nn.Module] = [self.res(channels + skips.pop(), width)]
                channels = width
                if self.attends(level, index):
                    layers.append(self.attention(channels, self.transformers[level], self.disabled[level], heads))
                if level and index == self.depths[level]:
                    layers.append(self.doubling(channels))
                blocks.append(ConditionedSequential(*layers))
        return blocks

    def halving(self, channels: int) -> nn.Module:
        """What stands between a level and the next smaller one."""
        if self.config["resblock_updown"]:
            return self.res(channels, channels, down=True)
        return Downsample(channels, self.config["conv_resample"], self.dims)

    def doubling(self, channels: int) -> nn.Module:
        """What stands between a level and the next larger one."""
        if self.config["resblock_updown"]:
            return self.res(channels, channels, up=True)
        return Upsample(channels, self.config["conv_resample"], self.dims)


def _check(config: Mapping[str, Any]) -> None:
    if not config["channel_mult"] or config["channel_mult"][0] != 1:
        raise BadInput("The first number of channel_mult should be 1: the first and last layers have the base width.")
    if config["num_heads"] == -1 and config["num_head_channels"] == -1:
        raise BadInput("Give the attention either num_heads or num_head_channels.")
    if config["use_spatial_transformer"] != (config["context_dim"] is not None):
        raise BadInput("A spatial transformer and the width of its context, context_dim, are given together.")
    if config["use_spatial_transformer"] and config["dims"] != 2:
        raise BadInput(f"A spatial transformer works on pictures, of 2 dimensions, not {config['dims']}.")


def _for_levels(name: str, value: Any, levels: int) -> list[Any]:
    """One value a level.

    Raises:
        BadInput: there are more or fewer values than levels.
    """
    if not isinstance(value, Sequence):
        return [value] * levels
    if len(value) != levels:
        raise BadInput(f"{name} has {len(value)} values for {levels} levels.")
    return list(value)


def _label_embedding(num_classes: int | str, width: int, adm_in_channels: int | None) -> nn.Module:
    if isinstance(num_classes, int):
        return nn.Embedding(num_classes, width)
    if num_classes == "continuous":
        return nn.Linear(1, width)
    if num_classes != "sequential" or adm_in_channels is None:
        raise BadInput("num_classes is a number, 'continuous', or 'sequential' together with adm_in_channels.")
    layers = nn.Sequential(nn.Linear(adm_in_channels, width), nn.SiLU(), nn.Linear(width, width))
    return nn.Sequential(layers)
