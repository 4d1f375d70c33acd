"""SwinIR: picture restoration with shifted-window transformers (Liang et al. 2021, arXiv:2108.10257).

Parameters keep the key names of the public checkpoints (JingyunLiang/SwinIR), so their state dicts load directly.
Inside the network features travel as (B, H, W, C), which the 3x3 convolutions read as channels-last without a copy.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.core.errors import BadInput, BadWeights
from lienzo.upscaling.swin import BlockGroup, BlockOptions, SwinBlock, WindowAttention, relative_position_index

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean colour of DIV2K, which the original takes from every three-channel picture."""
FEATURES = 64
"""Channels between the body and the last convolution of the `pixelshuffle` and `nearest+conv` heads."""
MAX_IMG_SIZE = 512
"""Largest stored mask, so that a hostile config cannot fill the memory; pictures may be of any size."""
UPSAMPLERS = ("", "pixelshuffle", "pixelshuffledirect", "nearest+conv")
CONNECTIONS = ("1conv", "3conv")


def reflect_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Extend (B, C, H, W) by reflection to the right and below until H and W divide by `multiple`.

    Unlike `F.pad` it also takes pictures smaller than the padding, by reflecting again and again.
    """
    for dim in (2, 3):
        size = x.shape[dim]
        if size % multiple:
            steps = torch.arange(math.ceil(size / multiple) * multiple, device=x.device)
            period = max(2 * size - 2, 1)
            steps = steps % period
            x = x.index_select(dim, torch.minimum(steps, period - steps) if size > 1 else steps)
    return x


class ResidualStage(nn.Module):
    """Residual Swin transformer block (RSTB): blocks, a convolution, and the stage's input added."""

    def __init__(self, options: BlockOptions, heads: int, drop_paths: Sequence[float], use_checkpoint: bool):
        super().__init__()
        self.residual_group = BlockGroup(options, heads, drop_paths, use_checkpoint)
        self.conv = body_conv(options.dim, options.connection)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.residual_group(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1) + x


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, 1, 1)


def body_conv(dim: int, connection: str) -> nn.Module:
    """The convolution that ends a stage and the body: one 3x3, or a bottleneck of three for large networks."""
    if connection == "1conv":
        return conv3x3(dim, dim)
    slim = dim // 4
    return nn.Sequential(
        conv3x3(dim, slim), nn.LeakyReLU(0.2), nn.Conv2d(slim, slim, 1), nn.LeakyReLU(0.2), conv3x3(slim, dim)
    )


def shuffle_steps(scale: int, features: int) -> nn.Sequential:
    """Convolutions and pixel shuffles that enlarge 2^n or 3 times."""
    if scale == 3:
        return nn.Sequential(conv3x3(features, 9 * features), nn.PixelShuffle(3))
    if scale < 1 or scale & (scale - 1):
        raise BadInput(f"The upsampler 'pixelshuffle' enlarges 3 times or a power of 2, not {scale} times.")
    steps: list[nn.Module] = []
    for _ in range(scale.bit_length() - 1):
        steps += [conv3x3(features, 4 * features), nn.PixelShuffle(2)]
    return nn.Sequential(*steps)


class PatchEmbed(nn.Module):
    """The norm of each pixel's features before the body, where `patch_norm` asks for one."""

    def __init__(self, dim: int, patch_norm: bool):
        super().__init__()
        self.norm = nn.LayerNorm(dim) if patch_norm else None

    def forward(self, x: Tensor) -> Tensor:
        return x if self.norm is None else self.norm(x)


class SwinIR(nn.Module):
    """Super-resolution, denoising and JPEG repair by one network (arXiv:2108.10257).

    Called with (B, in_chans, H, W) in [0, 1], any size from one pixel on; returns (B, in_chans, scale H, scale W),
    not clamped. Sizes that are no multiple of the window are extended by reflection inside and cut afterwards.
    Options, names and defaults are those of the original; two things go further: `ape` position embeddings are
    resized for other picture sizes than `img_size`, and pictures may be smaller than a window.

    Args:
        img_size: training picture size in input pixels, an int or (H, W); its attention mask is stored.
        patch_size: divides `img_size`; 1 in all public networks.
        in_chans: 3 for colour, 1 for grey.
        depths, num_heads: transformer blocks and attention heads of each stage.
        mlp_ratio: hidden over outer width of the blocks' MLPs.
        qk_scale: factor on the attention logits; None for (width of a head)^-0.5.
        ape: add a learned position embedding. patch_norm: norm before the body.
        upscale: enlargement; with upsampler '' the size stays.
        img_range: factor on pixel values inside the network, 255 for the JPEG networks.
        upsampler: '' (denoising, JPEG), 'pixelshuffle' (classical), 'pixelshuffledirect' (lightweight) or
            'nearest+conv' (real-world; 2 or 4 times).
        resi_connection: '1conv', or '3conv' for the large networks.

    Raises:
        BadInput: when the options do not fit together.
    """

    mean: Tensor

    def __init__(
        self,
        *,
        img_size: int | Sequence[int] = 64,
        patch_size: int = 1,
        in_chans: int = 3,
        embed_dim: int = 96,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6),
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        ape: bool = False,
        patch_norm: bool = True,
        use_checkpoint: bool = False,
        upscale: int = 2,
        img_range: float = 1.0,
        upsampler: str = "",
        resi_connection: str = "1conv",
    ):
        super().__init__()
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.config: dict[str, Any] = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
        check_options(self.config)
        self.in_chans, self.img_range, self.upsampler = in_chans, img_range, upsampler
        self.scale = upscale if upsampler else 1
        size = (img_size, img_size) if isinstance(img_size, int) else (img_size[0], img_size[1])
        grid = (size[0] // patch_size, size[1] // patch_size)
        self.grid, self.window_size = grid, math.lcm(window_size, min(window_size, *grid))

        options = BlockOptions(
            embed_dim, grid, window_size, mlp_ratio, qkv_bias, qk_scale, drop_rate, attn_drop_rate, resi_connection
        )
        rates = [drop_path_rate * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
        ends = [sum(depths[: i + 1]) for i in range(len(depths))]
        self.conv_first = conv3x3(in_chans, embed_dim)
        self.patch_embed = PatchEmbed(embed_dim, patch_norm)
        self.absolute_pos_embed = nn.Parameter(torch.zeros(1, grid[0] * grid[1], embed_dim)) if ape else None
        self.pos_drop = nn.Dropout(drop_rate)
        self.layers = nn.ModuleList(
            ResidualStage(options, heads, rates[end - depth : end], use_checkpoint)
            for depth, heads, end in zip(depths, num_heads, ends)
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = body_conv(embed_dim, resi_connection)
        self._build_head(embed_dim, upscale)
        self.register_buffer("mean", self.picture_mean(), persistent=False)
        self._start_weights()

    def _build_head(self, dim: int, upscale: int) -> None:
        if self.upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(conv3x3(dim, upscale**2 * self.in_chans), nn.PixelShuffle(upscale))
            return
        if self.upsampler == "":
            self.conv_last = conv3x3(dim, self.in_chans)
            return
        self.conv_before_upsample = nn.Sequential(conv3x3(dim, FEATURES), nn.LeakyReLU())
        if self.upsampler == "pixelshuffle":
            self.upsample = shuffle_steps(upscale, FEATURES)
        else:
            self.conv_up1 = conv3x3(FEATURES, FEATURES)
            if upscale == 4:
                self.conv_up2 = conv3x3(FEATURES, FEATURES)
            self.conv_hr = conv3x3(FEATURES, FEATURES)
        self.conv_last = conv3x3(FEATURES, self.in_chans)

    def _start_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.absolute_pos_embed is not None:
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)

    def picture_mean(self) -> Tensor:
        """The colour (1, C, 1, 1) taken from the input and added to the output."""
        mean = RGB_MEAN if self.in_chans == 3 else (0.0,)
        return torch.tensor(mean).view(1, -1, 1, 1)

    def reset_buffers(self) -> None:
        """Compute again every value that follows from the options alone (mean, position index, masks)."""
        self.mean = self.picture_mean()
        for module in self.modules():
            if isinstance(module, WindowAttention):
                module.relative_position_index = relative_position_index(module.window)
            elif isinstance(module, SwinBlock):
                module.attn_mask = module.stored_mask()

    def position(self, height: int, width: int) -> Tensor:
        """The position embedding for a picture of this size, (1, H, W, C)."""
        assert self.absolute_pos_embed is not None
        grid = self.absolute_pos_embed.unflatten(1, self.grid)
        if (height, width) == self.grid:
            return grid
        return F.interpolate(grid.permute(0, 3, 1, 2), (height, width), mode="bicubic").permute(0, 2, 3, 1)

    def body(self, x: Tensor) -> Tensor:
        """All stages with the long skip connection: (B, dim, H, W) to the same, H and W multiples of the window."""
        y = self.patch_embed(x.permute(0, 2, 3, 1).contiguous())
        if self.absolute_pos_embed is not None:
            y = y + self.position(y.shape[1], y.shape[2])
        y = self.pos_drop(y)
        for layer in self.layers:
            y = layer(y)
        return self.conv_after_body(self.norm(y).permute(0, 3, 1, 2)) + x

    def head(self, x: Tensor) -> Tensor:
        """Features (B, dim, H, W) to pixels (B, C, scale H, scale W)."""
        if self.upsampler == "":
            return self.conv_last(x)
        if self.upsampler == "pixelshuffledirect":
            return self.upsample(x)
        x = self.conv_before_upsample(x)
        if self.upsampler == "pixelshuffle":
            return self.conv_last(self.upsample(x))
        for conv in [self.conv_up1] + ([self.conv_up2] if self.scale == 4 else []):
            x = F.leaky_relu(conv(F.interpolate(x, scale_factor=2.0, mode="nearest")), 0.2)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.in_chans or not x.numel():
            raise BadInput(f"SwinIR wants pictures (B, {self.in_chans}, H, W), not {tuple(x.shape)}.")
        height, width = x.shape[2:]
        mean = self.mean.to(x)
        x = (reflect_to_multiple(x, self.window_size) - mean) * self.img_range
        y = self.head(self.body(self.conv_first(x)))
        y = (x + y if self.upsampler == "" else y) / self.img_range + mean
        return y[:, :, : height * self.scale, : width * self.scale]


def check_options(config: dict[str, Any]) -> None:
    """Raise BadInput with one sentence if the options of a SwinIR cannot work."""
    sizes = config["img_size"] if isinstance(config["img_size"], list) else [config["img_size"]]
    if not all(1 <= size <= MAX_IMG_SIZE for size in sizes) or not 1 <= config["window_size"] <= MAX_IMG_SIZE:
        raise BadInput(f"img_size and window_size of a SwinIR are 1 to {MAX_IMG_SIZE} pixels.")
    if not 1 <= config["patch_size"] <= min(sizes):
        raise BadInput(f"patch_size is 1 to img_size, not {config['patch_size']}.")
    if not config["img_range"] > 0:
        raise BadInput(f"img_range is above 0, not {config['img_range']}.")
    if config["upsampler"] not in UPSAMPLERS:
        raise BadInput(f"There is no upsampler '{config['upsampler']}'; choose one of {UPSAMPLERS}.")
    if config["resi_connection"] not in CONNECTIONS:
        raise BadInput(f"There is no resi_connection '{config['resi_connection']}'; choose one of {CONNECTIONS}.")
    if len(config["depths"]) != len(config["num_heads"]):
        raise BadInput(f"depths {config['depths']} and num_heads {config['num_heads']} differ in length.")
    if config["upsampler"] == "nearest+conv" and config["upscale"] not in (2, 4):
        raise BadInput(f"The upsampler 'nearest+conv' enlarges 2 or 4 times, not {config['upscale']} times.")


# Reading public checkpoints

_BLOCK = "layers.{}.residual_group.blocks.{}."
_DERIVED = ("attn_mask", "relative_position_index")
_KEY = re.compile(
    r"absolute_pos_embed|(conv_first|conv_up1|conv_up2|conv_hr|conv_last|norm|patch_embed\.norm)\.(weight|bias)"
    r"|(conv_after_body|layers\.\d+\.conv)(\.[024])?\.(weight|bias)"
    r"|(conv_before_upsample\.0|upsample\.\d+)\.(weight|bias)"
    r"|layers\.\d+\.residual_group\.blocks\.\d+\.(attn_mask|(norm1|norm2|mlp\.fc1|mlp\.fc2)\.(weight|bias)"
    r"|attn\.((qkv|proj)\.(weight|bias)|relative_position_bias_table|relative_position_index))"
)
_NEEDED = (
    "conv_first.weight",
    "norm.weight",
    *(_BLOCK.format(0, 0) + k for k in ("attn.qkv.weight", "mlp.fc1.weight")),
)
_FREE = ("qk_scale", "drop_rate", "attn_drop_rate", "drop_path_rate", "use_checkpoint", "img_range", "patch_size")
"""Options that no shape shows, so that a config may set them freely."""


def unwrap(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The bare state dict inside the wrappers of public files: `params_ema` (preferred), `params`, `module.`."""
    for name in ("params_ema", "params", "state_dict"):
        if isinstance(state.get(name), Mapping):
            return unwrap(state[name])
        inner = {k.removeprefix(name + "."): v for k, v in state.items() if k.startswith(name + ".")}
        if inner:
            return unwrap(inner)
    return {k.removeprefix("module."): v for k, v in state.items()}


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a SwinIR and of no cousin (HAT, Swin2SR and others have further keys)."""
    state = unwrap(state)
    return all(k in state for k in _NEEDED) and all(_KEY.fullmatch(k) for k in state)


def read_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The constructor options that the shapes of a bare state dict show, with these rules for the rest.

    `img_range` is 255 for a network of the JPEG kind (window 7, no upsampler), else 1. A stored mask gives the
    area of `img_size`, which is taken as square where that is possible; without masks or position embedding it is
    64 rounded to windows. Drop rates are 0: they are for training only.
    """
    dim, in_chans = state["conv_first.weight"].shape[:2]
    depths: list[int] = []
    heads: list[int] = []
    while (table := state.get(_BLOCK.format(len(depths), 0) + "attn.relative_position_bias_table")) is not None:
        stage = len(depths)
        depths.append(sum(_BLOCK.format(stage, i) + "norm1.weight" in state for i in range(len(state))))
        heads.append(table.shape[1])
        window = (math.isqrt(table.shape[0]) + 1) // 2
    if not depths:
        raise BadWeights("The SwinIR weights hold no relative_position_bias_table, so their window is unknown.")
    hidden = state[_BLOCK.format(0, 0) + "mlp.fc1.weight"].shape[0]
    ratio = hidden / dim
    upsampler, upscale = read_upsampler(state, in_chans)
    return {
        "img_size": read_img_size(state, window),
        "in_chans": in_chans,
        "embed_dim": dim,
        "depths": depths,
        "num_heads": heads,
        "window_size": window,
        "mlp_ratio": ratio if int(dim * ratio) == hidden else (hidden + 0.5) / dim,
        "qkv_bias": _BLOCK.format(0, 0) + "attn.qkv.bias" in state,
        "drop_path_rate": 0.0,
        "ape": "absolute_pos_embed" in state,
        "patch_norm": "patch_embed.norm.weight" in state,
        "upscale": upscale,
        "img_range": 255.0 if window == 7 and not upsampler else 1.0,
        "upsampler": upsampler,
        "resi_connection": "3conv" if "conv_after_body.0.weight" in state else "1conv",
    }


def read_upsampler(state: Mapping[str, Tensor], in_chans: int) -> tuple[str, int]:
    """The upsampler and the scale, by which convolutions the head has and how wide they are."""
    if "conv_up1.weight" in state:
        return "nearest+conv", 4 if "conv_up2.weight" in state else 2
    if "conv_before_upsample.0.weight" in state:
        steps = [v.shape[0] for k, v in state.items() if re.fullmatch(r"upsample\.\d+\.weight", k)]
        return "pixelshuffle", 3 if steps == [9 * FEATURES] else 2 ** len(steps)
    if "upsample.0.weight" in state:
        return "pixelshuffledirect", math.isqrt(state["upsample.0.weight"].shape[0] // in_chans)
    return "", 1


def read_img_size(state: Mapping[str, Tensor], window: int) -> int | list[int]:
    """The training picture size from the number of stored windows or positions."""
    masks = [v.shape[0] for k, v in state.items() if k.endswith("attn_mask")]
    if masks:
        count, unit = masks[0], window
    elif "absolute_pos_embed" in state:
        count, unit = state["absolute_pos_embed"].shape[1], 1
    else:
        return max(64 // window, 1) * window
    rows = next(n for n in range(math.isqrt(count), 0, -1) if count % n == 0)
    return rows * unit if rows * rows == count else [rows * unit, count // rows * unit]


def load(state: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> SwinIR:
    """A SwinIR in eval mode with copies of these weights, as float32.

    Args:
        state: a state dict with the public key names, bare or under `params`/`params_ema`. The derived tensors
            (`attn_mask`, `relative_position_index`) may be missing and are computed anew in any case.
        config: constructor options, for what the shapes do not show (see `read_config` for the rules without it).

    Raises:
        BadWeights: naming keys that are missing, unexpected or of another shape than the config says.
    """
    state = unwrap(state)
    if not detect(state):
        odd = [k for k in _NEEDED if k not in state] or [k for k in state if not _KEY.fullmatch(k)]
        raise BadWeights(f"These are not SwinIR weights: {'unexpected' if odd[0] in state else 'no'} key {odd[0]}.")
    try:
        settings = merge_config(read_config(state), config or {})
        with torch.device("meta"):
            model = SwinIR(**settings)
    except (BadInput, TypeError, ValueError) as error:
        if isinstance(error, BadWeights):
            raise
        raise BadWeights(f"The SwinIR weights do not fit together: {error}") from error
    check_shapes(model.state_dict(), state)
    copies = {k: v.detach().to(torch.float32, copy=True) for k, v in state.items() if not k.endswith(_DERIVED)}
    model.load_state_dict(copies, strict=False, assign=True)
    model.reset_buffers()
    return model.eval()


def merge_config(read: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What the shapes show, completed from a config, which must not contradict them."""
    unknown = sorted(set(config) - set(inspect.signature(SwinIR).parameters))
    if unknown:
        raise BadWeights(f"SwinIR has no option '{unknown[0]}'.")
    # A picture smaller than the window shrinks it, and without an upsampler the scale shows nowhere.
    free = [*_FREE, "img_size", "window_size", *(() if read["upsampler"] else ("upscale",))]
    merged = read | {k: config[k] for k in free if k in config}
    for name in sorted(set(config) - set(free)):
        given = list(config[name]) if isinstance(config[name], tuple) else config[name]
        if name == "mlp_ratio" and int(read["embed_dim"] * given) == int(read["embed_dim"] * read[name]):
            merged[name] = given  # only the whole number of hidden channels counts
        elif given != read[name]:
            raise BadWeights(f"The SwinIR weights have {name} {read[name]}, not {given} as their config says.")
    return merged


def check_shapes(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Raise BadWeights unless the state has exactly the expected keys and shapes; derived tensors may be missing."""
    missing = sorted(k for k in expected if k not in state and not k.endswith(_DERIVED))
    extra = sorted(k for k in state if k not in expected)
    if missing or extra:
        what = f"{missing[0]} is missing" if missing else f"{extra[0]} is unexpected"
        raise BadWeights(f"The SwinIR weights are incomplete or mixed: {what} ({len(missing) + len(extra)} such keys).")
    for key, value in state.items():
        if value.shape != expected[key].shape:
            shapes = f"{tuple(value.shape)}, not {tuple(expected[key].shape)}"
            raise BadWeights(f"The SwinIR weights do not fit together: {key} is {shapes}.")
