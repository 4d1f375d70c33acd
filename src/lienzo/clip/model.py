"""CLIP (Radford et al., arXiv:2103.00020): two towers that put pictures and texts into one space.

Keys are those of OpenAI's checkpoints; `load` reads these, open_clip's and Hugging Face's (see `layouts`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.clip import layouts
from lienzo.clip.resnet import ModifiedResNet
from lienzo.clip.transformer import TextTower, VisionTransformer, default_heads
from lienzo.core.errors import BadInput, BadWeights

# Wide vision towers of OpenCLIP that do not have heads of 64 channels: ViT-H/14, ViT-g/14, ViT-bigG/14.
OPEN_CLIP_HEADS = {1280: 16, 1408: 16, 1664: 16}
# In OpenAI's TorchScript archives beside the weights; the last is a mask that old OpenCLIP files hold.
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")


class CLIP(TextTower):
    """An image tower (`visual`) and a text tower, whose tensors OpenAI's layout keeps at the top level.

    Args:
        embed_dim: the width of the common space.
        image_resolution: side of the images in pixels.
        vision_layers: blocks of a vision transformer, or the four stage depths of a ResNet.
        vision_width: the width of the transformer, or of the first stage of the ResNet.
        vision_patch_size: side of a patch in pixels; None for a ResNet.
        context_length: tokens a text.
        vocab_size: token ids.
        transformer_width: the width of the text tower.
        transformer_heads: its heads; `transformer_width // 64` when None.
        transformer_layers: its depth.
        vision_heads: heads of the image tower; one for each 64 channels when None.
        quick_gelu: QuickGELU as OpenAI, or the exact GELU as many of OpenCLIP's checkpoints.
        vision_mlp_width: hidden width of the image tower's MLPs; four times its width when None.
        text_mlp_width: hidden width of the text tower's MLPs; four times its width when None.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        image_resolution: int,
        vision_layers: int | Sequence[int],
        vision_width: int,
        vision_patch_size: int | None,
        context_length: int = 77,
        vocab_size: int = 49408,
        transformer_width: int,
        transformer_heads: int | None = None,
        transformer_layers: int,
        vision_heads: int | None = None,
        quick_gelu: bool = True,
        vision_mlp_width: int | None = None,
        text_mlp_width: int | None = None,
    ):
        super().__init__(
            width=transformer_width,
            layers=transformer_layers,
            heads=transformer_heads,
            context_length=context_length,
            vocab_size=vocab_size,
            embed_dim=embed_dim,
            mlp_width=text_mlp_width,
            quick_gelu=quick_gelu,
        )
        resnet = not isinstance(vision_layers, int)
        if vision_heads is None:
            vision_heads = default_heads(vision_width * 32 if resnet else vision_width)
        self.config = {
            "embed_dim": embed_dim,
            "image_resolution": image_resolution,
            "vision_layers": vision_layers if isinstance(vision_layers, int) else list(vision_layers),
            "vision_width": vision_width,
            "vision_patch_size": vision_patch_size,
            "context_length": context_length,
            "vocab_size": vocab_size,
            "transformer_width": transformer_width,
            "transformer_heads": self.config["heads"],
            "transformer_layers": transformer_layers,
            "vision_heads": vision_heads,
            "quick_gelu": quick_gelu,
            "vision_mlp_width": vision_mlp_width,
            "text_mlp_width": text_mlp_width,
        }
        self.image_resolution = image_resolution
        self.visual = _vision_tower(self.config)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_image(self, images: Tensor) -> Tensor:
        """Normalised images (see `preprocessing`), (B, 3, R, R), to embeddings (B, D), not normalised."""
        return self.visual(images.to(self.visual.conv1.weight.dtype))

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled cosines of every image with every text: (images, texts) and its transpose."""
        image_embeds = F.normalize(self.encode_image(images), dim=-1)
        text_embeds = F.normalize(self.encode_text(tokens), dim=-1)
        logits_per_image = self.logit_scale.exp() * image_embeds @ text_embeds.T
        return logits_per_image, logits_per_image.T


def _vision_tower(config: Mapping[str, Any]) -> VisionTransformer | ModifiedResNet:
    """The image tower of a complete configuration: a ResNet where `vision_layers` is a list."""
    size = {"image_resolution": config["image_resolution"], "embed_dim": config["embed_dim"]}
    width, heads, layers = config["vision_width"], config["vision_heads"], config["vision_layers"]
    if isinstance(layers, list):
        return ModifiedResNet(**size, layers=layers, width=width, heads=heads)
    if config["vision_patch_size"] is None:
        raise BadInput("A CLIP with a vision transformer needs a patch size.")
    return VisionTransformer(
        **size,
        patch_size=config["vision_patch_size"],
        width=width,
        layers=layers,
        heads=heads,
        mlp_width=config["vision_mlp_width"],
        quick_gelu=config["quick_gelu"],
    )


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors are a whole CLIP, in the layout of OpenAI, open_clip or Hugging Face."""
    if layouts.is_huggingface(state):
        return "visual_projection.weight" in state and "text_projection.weight" in state
    if layouts.is_custom_text(state):
        state = layouts.from_custom_text(state)
    keys = ("visual.conv1.weight", "token_embedding.weight", "ln_final.weight", "text_projection", "logit_scale")
    tower = ("visual.proj", "visual.attnpool.positional_embedding")
    return all(key in state for key in keys) and any(key in state for key in tower)


def detect_text(state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors hold CLIP's text tower, alone or in a whole CLIP, in either layout."""
    found = layouts.to_openai(state) if layouts.is_huggingface(state) else state
    return "token_embedding.weight" in found and "ln_final.weight" in found and "positional_embedding" in found


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> CLIP:
    """A CLIP in float32 and evaluation mode from its tensors, which are copied.

    All sizes are read off the shapes. `config` (arguments of `CLIP`, a Hugging Face `config.json`, or an
    `open_clip_config.json`) adds what shapes do not tell: heads and the activation. Without it heads are 64 channels
    wide, as in all of OpenAI's models (ViT-H, g and bigG of OpenCLIP: 16 heads), and the activation is QuickGELU.

    Raises:
        BadWeights: the tensors are no CLIP, or do not fit `config`; the sentence names the first keys.
    """
    state = _openai_weights(state)
    return _filled(CLIP, read_config(state, config), state)


def load_text(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> TextTower:
    """The text tower alone, from a whole CLIP or a text model (as in Stable Diffusion), in either layout.

    Args:
        state: the tensors.
        config: `heads` and `quick_gelu`, the arguments of `CLIP`, or a Hugging Face `config.json`.

    Raises:
        BadWeights: as `load`.
    """
    state = _openai_weights(state)
    state = {key: value for key, value in state.items() if not key.startswith("visual.") and key != "logit_scale"}
    given = dict(config or {})
    if "text_config" in given:
        given = dict(given["text_config"])
    elif "model_cfg" in given or "vision_cfg" in given:
        given = layouts.config_from_open_clip(given)
    if "transformer_layers" in given or "transformer_heads" in given:
        given = {"heads": given.get("transformer_heads"), "quick_gelu": given.get("quick_gelu", True)}
    elif "num_attention_heads" in given or "hidden_act" in given:
        given = layouts.text_config_from_huggingface(given)
    width = _shape(state, "ln_final.weight")[0]
    sizes: dict[str, Any] = {
        "width": width,
        "layers": _count(state, "transformer.resblocks."),
        "context_length": _shape(state, "positional_embedding")[0],
        "vocab_size": _shape(state, "token_embedding.weight")[0],
        "embed_dim": _shape(state, "text_projection")[-1] if "text_projection" in state else None,
        "mlp_width": _mlp_width(state, "transformer.", width),
    }
    return _filled(TextTower, _merged(sizes, given, ("heads", "quick_gelu")), state)


def load_visual(
    state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> VisionTransformer | ModifiedResNet:
    """The image tower alone, from a whole CLIP in any layout; the text tower's tensors are not copied.

    Raises:
        BadWeights: as `load`.
    """
    state = _openai_weights(state)
    own = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    return _filled(lambda **given: CLIP(**given).visual, read_config(state, config), own)


def read_config(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of `CLIP` for tensors in OpenAI's layout; `config` adds what shapes do not tell.

    Raises:
        BadWeights: as `load`.
    """
    width = _shape(state, "ln_final.weight")[0]
    sizes: dict[str, Any] = {
        "embed_dim": _shape(state, "text_projection")[-1],
        "context_length": _shape(state, "positional_embedding")[0],
        "vocab_size": _shape(state, "token_embedding.weight")[0],
        "transformer_width": width,
        "transformer_layers": _count(state, "transformer.resblocks."),
        "text_mlp_width": _mlp_width(state, "transformer.", width),
    }
    given = dict(config or {})
    if "text_config" in given or "vision_config" in given:
        given = layouts.config_from_huggingface(given)
    elif "model_cfg" in given or "vision_cfg" in given:
        given = layouts.config_from_open_clip(given)
    if "visual.proj" in state:
        out, _, _, patch = _shape(state, "visual.conv1.weight", 4)
        positions, step = _shape(state, "visual.positional_embedding")[0], patch
        sizes |= {
            "vision_layers": _count(state, "visual.transformer.resblocks."),
            "vision_width": out,
            "vision_patch_size": patch,
            "vision_mlp_width": _mlp_width(state, "visual.transformer.", out),
        }
        if out in OPEN_CLIP_HEADS:
            given = {"vision_heads": OPEN_CLIP_HEADS[out]} | given
    else:
        positions, step = _shape(state, "visual.attnpool.positional_embedding")[0], 32
        sizes |= {
            "vision_layers": [_count(state, f"visual.layer{i}.") for i in range(1, 5)],
            "vision_width": _shape(state, "visual.conv3.weight")[0],
            "vision_patch_size": None,
            "vision_mlp_width": None,
        }
    grid = math.isqrt(positions - 1) if positions > 1 else 0
    # An image may have a few more pixels than its patches cover; only the configuration knows.
    resolution = given.pop("image_resolution", grid * step)
    if not isinstance(resolution, int) or resolution // step != grid or grid * grid + 1 != positions:
        raise BadWeights(f"A CLIP for images of {resolution} pixels cannot have {positions} image positions.")
    sizes["image_resolution"] = resolution
    return _merged(sizes, given, ("transformer_heads", "vision_heads", "quick_gelu"))


def at_resolution(model: CLIP, image_resolution: int) -> CLIP:
    """The same CLIP for images of another size: a copy whose image positions are interpolated."""
    state = model.state_dict()
    resnet = model.config["vision_patch_size"] is None
    key = "visual.attnpool.positional_embedding" if resnet else "visual.positional_embedding"
    step = 32 if resnet else model.config["vision_patch_size"]
    state[key] = resize_positions(state[key], image_resolution // step)
    result = load(state, model.config | {"image_resolution": image_resolution}).train(model.training)
    return result.to(model.logit_scale.device, model.logit_scale.dtype)


def resize_positions(positions: Tensor, grid: int) -> Tensor:
    """Position embeddings (1 + g^2, C) of a class token and a g x g map, for a map of `grid` x `grid`.

    Bicubic with anti-aliasing; the class token keeps its own.
    """
    if grid < 1:
        raise BadInput("The image is smaller than one patch of this CLIP.")
    old = math.isqrt(len(positions) - 1)
    first, places = positions[:1], positions[1:].view(1, old, old, -1).permute(0, 3, 1, 2)  # (1, C, g, g)
    if old != grid:
        places = F.interpolate(places.float(), (grid, grid), mode="bicubic", antialias=True).to(positions.dtype)
    return torch.cat([first, places.flatten(2)[0].T])


def _openai_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in OpenAI's layout, in float32, without what is no weight."""
    return {
        key: value.to(torch.float32) if value.is_floating_point() else value
        for key, value in in_openai_layout(state).items()
        if key not in NOT_WEIGHTS
    }


def in_openai_layout(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of a CLIP of any layout under OpenAI's names, in their own number types."""
    if layouts.is_huggingface(state):
        return layouts.to_openai(state)
    if layouts.is_custom_text(state):
        return layouts.from_custom_text(state)
    return state


def _filled(network: Any, config: dict[str, Any], state: Mapping[str, Tensor]) -> Any:
    """The network with the tensors in it. It is first built without memory, so a hostile size costs nothing."""
    with torch.device("meta"):
        model = network(**config)
    wanted = model.state_dict()
    # Some tools leave the batch counters out, which evaluation never reads.
    counters = {key: torch.zeros((), dtype=torch.long) for key in wanted if key.endswith("num_batches_tracked")}
    state = {**counters, **state}
    missing = sorted(wanted.keys() - state.keys())
    unexpected = sorted(state.keys() - wanted.keys())
    other = [key for key in wanted if key in state and wanted[key].shape != state[key].shape]
    for problem, keys in (("lack", missing), ("have the unknown", unexpected), ("have a wrong shape for", other)):
        if keys:
            more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
            raise BadWeights(f"The CLIP weights {problem} {', '.join(keys[:4])}{more}.")
    model.load_state_dict({key: value.clone() for key, value in state.items()}, assign=True)
    return model.eval()


def _merged(sizes: dict[str, Any], given: Mapping[str, Any], free: Sequence[str]) -> dict[str, Any]:
    """`sizes`, read off the shapes, and the `free` values of `given`, whose other values must agree."""
    for key, value in given.items():
        if key not in sizes and key not in free and value is not None:
            raise BadWeights(f"The configuration has an unknown value '{key}'.")
        if key in sizes and value is not None and value != sizes[key]:
            raise BadWeights(f"The configuration says {key} = {value}, but the weights have {sizes[key]}.")
        if key in free and value is not None and type(value) is not (bool if key == "quick_gelu" else int):
            raise BadWeights(f"The configuration has {key} = {value!r}, which is no sensible value.")
    return sizes | {key: given[key] for key in free if given.get(key) is not None}


def _shape(state: Mapping[str, Tensor], key: str, ndim: int | None = None) -> torch.Size:
    if key not in state:
        raise BadWeights(f"These weights are no CLIP: they lack '{key}'.")
    shape = state[key].shape
    if not shape or 0 in shape or (ndim is not None and len(shape) != ndim):
        raise BadWeights(f"The tensor '{key}' of the CLIP weights has the impossible shape {tuple(shape)}.")
    return shape


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """The number of different indices that follow a prefix."""
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})


def _mlp_width(state: Mapping[str, Tensor], prefix: str, width: int) -> int:
    """The hidden width of the MLPs; four times `width` where there is none."""
    key = f"{prefix}resblocks.0.mlp.c_fc.bias"
    return state[key].numel() if key in state else 4 * width
