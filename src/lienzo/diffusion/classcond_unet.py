"""The class-conditional U-Net of the diffusion course: diffusers' `UNet2DModel` told the class as extra channels.

Every pixel carries a learned vector of the class beside its colours, so the network sees the class at full size; the
time moves the features of each residual block (Ho et al. 2020, "Denoising Diffusion Probabilistic Models"). Parameters
carry the names of the course's notebook, `class_emb.weight` and `model.*`, and those under `model.` are diffusers' own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.diffusion.adm import plain_arguments
from lienzo.diffusion.unet2d import ACTIVATIONS, DOWN, UP, UNet2D
from lienzo.nn.loading import fill_exactly


class ClassCondUnet(nn.Module):
    """The notebook's network: a noisy picture, its timestep and its class in, the noise (or whatever it learned) out.

    The defaults are the notebook's. Those after `null_class` are named as in diffusers' `UNet2DModel`.

    Args:
        num_classes: number of classes.
        class_emb_size: channels that tell the class.
        in_channels: channels of the picture.
        out_channels: channels of the output.
        null_class: the last row of the class vectors, number `num_classes`, stands for no class.
        sample_size: side in pixels that it was made for; kept for the caller, the network takes other sizes.
        center_input_sample: the network sees 2 x - 1.
        time_embedding_type: ``positional``, ``fourier`` (for noise levels above 0) or ``learned`` (whole timesteps).
        time_embedding_dim: width of the time; None for four times the first width.
        freq_shift, flip_sin_to_cos: form of the ``positional`` sinusoids.
        down_block_types: names of `DOWN`, from the largest size to the smallest.
        mid_block_type: None leaves the middle out.
        up_block_types: names of `UP`, from the smallest size to the largest.
        block_out_channels: width of each level, from the largest size to the smallest.
        layers_per_block: residual blocks a level; one more in the ascending half.
        mid_block_scale_factor: what the sums in the middle are divided by.
        downsample_padding: 1, or 0 to pad on the right and below only.
        downsample_type, upsample_type: ``conv`` or ``resnet``, for levels with attention.
        dropout: share of features dropped in training.
        act_fn: a name of `ACTIVATIONS`.
        attention_head_dim: channels a head; None for a single head.
        norm_num_groups, norm_eps: of all group norms.
        attn_norm_num_groups: of the attention in the middle; None for `norm_num_groups`.
        resnet_time_scale_shift: ``default`` adds the time, ``scale_shift`` scales and shifts by it.
        add_attention: whether the middle has attention.
        num_train_timesteps: rows of a ``learned`` time.
        classes: names of the classes, kept for the caller.

    Raises:
        BadInput: an option has no such value, or the numbers do not fit together.
    """

    def __init__(
        self,
        num_classes: int = 10,
        class_emb_size: int = 4,
        in_channels: int = 1,
        out_channels: int = 1,
        null_class: bool = False,
        sample_size: int | None = 28,
        center_input_sample: bool = False,
        time_embedding_type: str = "positional",
        time_embedding_dim: int | None = None,
        freq_shift: float = 0,
        flip_sin_to_cos: bool = True,
        down_block_types: Sequence[str] = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        mid_block_type: str | None = "UNetMidBlock2D",
        up_block_types: Sequence[str] = ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        block_out_channels: Sequence[int] = (32, 64, 64),
        layers_per_block: int = 2,
        mid_block_scale_factor: float = 1.0,
        downsample_padding: int = 1,
        downsample_type: str = "conv",
        upsample_type: str = "conv",
        dropout: float = 0.0,
        act_fn: str = "silu",
        attention_head_dim: int | None = 8,
        norm_num_groups: int = 32,
        attn_norm_num_groups: int | None = None,
        norm_eps: float = 1e-5,
        resnet_time_scale_shift: str = "default",
        add_attention: bool = True,
        num_train_timesteps: int | None = None,
        classes: Sequence[str] | None = None,
    ):
        config = plain_arguments(locals())
        super().__init__()
        self.config: dict[str, Any] = config
        check(config)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.null_class = num_classes if null_class else None
        self.multiple = 2 ** (len(block_out_channels) - 1)
        self.class_emb = nn.Embedding(num_classes + null_class, class_emb_size)
        self.model = UNet2D(config, in_channels + class_emb_size, out_channels)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """One evaluation.

        Args:
            x: (B, in_channels, H, W); H and W are multiples of 2 to the number of levels less one.
            t: (B,) timesteps.
            y: (B,) labels; `null_class`, where there is one, stands for none.

        Returns:
            (B, out_channels, H, W).

        Raises:
            BadInput: the channels or the size do not fit.
        """
        height, width = x.shape[2:]
        if x.shape[1] != self.in_channels or height % self.multiple or width % self.multiple:
            raise BadInput(
                f"This model takes {self.in_channels} channels and sides that are multiples of {self.multiple}; "
                f"{x.shape[1]} channels of {width}x{height} are not."
            )
        planes = self.class_emb(y)[:, :, None, None].expand(-1, -1, height, width)
        return self.model(torch.cat([x, planes], dim=1), t)


def check(config: Mapping[str, Any]) -> None:
    """Refuse options that have no such value, or numbers of levels that differ.

    Raises:
        BadInput: with a sentence that says which.
    """
    choices: tuple[tuple[str, Sequence[Any]], ...] = (
        ("time_embedding_type", ("positional", "fourier", "learned")),
        ("mid_block_type", ("UNetMidBlock2D", None)),
        ("downsample_type", ("conv", "resnet")),
        ("upsample_type", ("conv", "resnet")),
        ("act_fn", tuple(ACTIVATIONS)),
        ("resnet_time_scale_shift", ("default", "scale_shift")),
    )
    given = [(option, config[option], known) for option, known in choices]
    given += [("down_block_types", kind, tuple(DOWN)) for kind in config["down_block_types"]]
    given += [("up_block_types", kind, tuple(UP)) for kind in config["up_block_types"]]
    for option, value, known in given:
        if value not in known:
            raise BadInput(f"Option '{option}' was {value!r}; it should be one of {', '.join(map(str, known))}.")
    levels = {len(config[name]) for name in ("block_out_channels", "down_block_types", "up_block_types")}
    if len(levels) > 1:
        raise BadInput("A U-Net needs as many widths as blocks down and blocks up.")
    if config["time_embedding_type"] == "learned" and not config["num_train_timesteps"]:
        raise BadInput("A learned time needs num_train_timesteps.")


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is that of a `ClassCondUnet`."""
    return {"class_emb.weight", "model.conv_in.weight", "model.time_embedding.linear_1.weight"} <= state.keys()


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> ClassCondUnet:
    """The network with the weights of `state`, in evaluation mode.

    The tensors tell every width and block; what they cannot tell (the notebook's heads of 8 channels, 32 groups, ...)
    is taken as the notebook has it where `config` does not say otherwise.

    Raises:
        BadWeights: keys or shapes do not fit.
    """
    found = shapes(state)
    given = dict(config or {})
    if given.get("null_class"):
        found["num_classes"] -= 1
    with torch.device("meta"):  # a wrong file costs no memory before its tensors are known to fit
        model = ClassCondUnet(**{**found, **given})
    return fill_exactly(model, state, "a class-conditional U-Net").eval().requires_grad_(False)


def shapes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `ClassCondUnet` that its tensors tell.

    Raises:
        BadWeights: the tensors that tell them are missing.
    """
    try:
        classes, class_width = state["class_emb.weight"].shape
        entrance = state["model.conv_in.weight"]
        outputs = state["model.conv_out.weight"].shape[0]
        time_width = state["model.time_embedding.linear_1.weight"].shape[0]
        moved = state["model.down_blocks.0.resnets.0.time_emb_proj.weight"].shape[0]
        levels = count(state, r"model\.down_blocks\.(\d+)\.")
        widths = [state[f"model.down_blocks.{i}.resnets.0.conv1.weight"].shape[0] for i in range(levels)]
        time = state.get("model.time_proj.weight")
    except KeyError as error:
        raise BadWeights(f"The weights are not those of a class-conditional U-Net: {error} is missing.") from error
    down, up = half(state, "down", levels), half(state, "up", levels)
    return {
        "num_classes": classes,
        "class_emb_size": class_width,
        "in_channels": entrance.shape[1] - class_width,
        "out_channels": outputs,
        "time_embedding_type": "positional" if time is None else ("fourier" if time.ndim == 1 else "learned"),
        "num_train_timesteps": time.shape[0] if time is not None and time.ndim == 2 else None,
        "time_embedding_dim": time_width,
        "block_out_channels": widths,
        "layers_per_block": count(state, r"model\.down_blocks\.0\.resnets\.(\d+)\."),
        "resnet_time_scale_shift": "scale_shift" if moved == 2 * widths[0] else "default",
        "mid_block_type": "UNetMidBlock2D" if "model.mid_block.resnets.0.conv1.weight" in state else None,
        "add_attention": "model.mid_block.attentions.0.to_q.weight" in state,
        **down,
        **up,
    }


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbered parts there are whose keys begin with `pattern`."""
    return 1 + max((int(found[1]) for key in state if (found := re.match(pattern, key))), default=-1)


def half(state: Mapping[str, Tensor], way: str, levels: int) -> dict[str, Any]:
    """The block types of one half, and how its levels with attention resample."""
    table = DOWN if way == "down" else UP
    kinds, attended = [], "conv"
    for level in range(levels):
        prefix = f"model.{way}_blocks.{level}"
        attends = f"{prefix}.attentions.0.to_q.weight" in state
        how = "resnet" if f"{prefix}.{way}samplers.0.norm1.weight" in state else "conv"
        attended = how if attends and how == "resnet" else attended
        kinds.append(next(name for name, row in table.items() if row == ((True, "") if attends else (False, how))))
    return {f"{way}_block_types": kinds, f"{way}sample_type": attended}
