"""SigLIP (Zhai et al. 2023, arXiv:2303.15343): two towers whose pairs are told apart one by one, with a sigmoid.

SigLIP 2 of fixed resolution (Tschannen et al. 2025, arXiv:2502.14786) has the same networks. Keys are those of Hugging
Face's SiglipModel; `load` reads these and open_clip's (see `siglip_layouts`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lienzo.clip import siglip_layouts
from lienzo.core.errors import BadInput, BadWeights
from lienzo.nn.loading import fill_exactly

EPS = 1e-6  # of layer norms
# Widths whose heads do not have 64 channels: the shape-optimised so400m and g-opt.
HEADS = {1152: 16, 1536: 16}
ACTIVATIONS = {"gelu": "none", "gelu_tanh": "tanh"}


class MLP(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, width: int, hidden: int, act: str):
        super().__init__()
        if act not in ACTIVATIONS:
            raise BadInput(f"The activation '{act}' is none of SigLIP's; it should be gelu or gelu_tanh.")
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU(approximate=ACTIVATIONS[act])
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Attention(nn.Module):
    """Multi-head self-attention without a mask."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if heads < 1 or width % heads:
            raise BadInput(f"A width of {width} cannot be divided among {heads} heads.")
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        parts = (linear(x).unflatten(-1, (self.heads, -1)) for linear in (self.q_proj, self.k_proj, self.v_proj))
        q, k, v = (part.transpose(1, 2) for part in parts)  # each (B, H, L, W/H)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A pre-norm residual block: attention, then the MLP."""

    def __init__(self, width: int, heads: int, hidden: int, act: str):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(width, EPS)
        self.self_attn = Attention(width, heads)
        self.layer_norm2 = nn.LayerNorm(width, EPS)
        self.mlp = MLP(width, hidden, act)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """A stack of blocks, (B, L, W) to (B, L, W)."""

    def __init__(self, width: int, layers: int, heads: int, hidden: int, act: str):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads, hidden, act) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class ProbeAttention(nn.Module):
    """Attention of a few queries over many places; its keys are those of `nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(width**-0.5 * torch.randn(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, query: Tensor, places: Tensor) -> Tensor:
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        parts = (F.linear(x, w, b) for x, w, b in zip((query, places, places), weights, biases))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class AttentionPool(nn.Module):
    """One learned query asks all places, and an MLP follows: (B, L, W) to (B, W)."""

    def __init__(self, width: int, heads: int, hidden: int, act: str):
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, width))
        self.attention = ProbeAttention(width, heads)
        self.layernorm = nn.LayerNorm(width, EPS)
        self.mlp = MLP(width, hidden, act)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.attention(self.probe.expand(len(x), -1, -1), x)
        return (pooled + self.mlp(self.layernorm(pooled)))[:, 0]


class VisionEmbeddings(nn.Module):
    """Patches with a learned position each; there is no class token."""

    def __init__(self, image_resolution: int, patch_size: int, width: int):
        super().__init__()
        if not 1 <= patch_size <= image_resolution:
            raise BadInput(f"A patch of {patch_size} pixels does not fit an image of {image_resolution}.")
        self.image_resolution = image_resolution
        self.patch_embedding = nn.Conv2d(3, width, patch_size, patch_size)
        self.position_embedding = nn.Embedding((image_resolution // patch_size) ** 2, width)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch_embedding(images).flatten(2).transpose(1, 2)  # (B, grid^2, W)
        if x.shape[1] != self.position_embedding.num_embeddings:
            size, (height, width) = self.image_resolution, images.shape[-2:]
            raise BadInput(f"The image is {width} x {height}; this SigLIP reads {size} x {size} pixels.")
        return x + self.position_embedding.weight


class VisionTower(nn.Module):
    """Images (B, 3, R, R) in [-1, 1] to embeddings (B, W), not normalised."""

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        width, heads, act = config["vision_width"], config["vision_heads"], config["vision_act"]
        hidden = config["vision_mlp_width"]
        self.embeddings = VisionEmbeddings(config["image_resolution"], config["vision_patch_size"], width)
        self.encoder = Encoder(width, config["vision_layers"], heads, hidden, act)
        self.post_layernorm = nn.LayerNorm(width, EPS)
        self.head = AttentionPool(width, heads, hidden, act)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.post_layernorm(self.encoder(self.embeddings(images))))


class TextEmbeddings(nn.Module):
    """Tokens with a learned position each."""

    def __init__(self, vocab_size: int, context_length: int, width: int):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.position_embedding = nn.Embedding(context_length, width)

    def forward(self, tokens: Tensor) -> Tensor:
        length, most = tokens.shape[-1], self.position_embedding.num_embeddings
        if length > most:
            raise BadInput(f"The text has {length} tokens; this text tower reads at most {most}.")
        return self.token_embedding(tokens) + self.position_embedding.weight[:length]


class TextTower(nn.Module):
    """Tokens (B, L), padded to the full length, to embeddings (B, D): the projected state of the last place."""

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        width = config["text_width"]
        self.embeddings = TextEmbeddings(config["vocab_size"], config["context_length"], width)
        self.encoder = Encoder(
            width, config["text_layers"], config["text_heads"], config["text_mlp_width"], config["text_act"]
        )
        self.final_layer_norm = nn.LayerNorm(width, EPS)
        self.head = nn.Linear(width, config["vision_width"])

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.final_layer_norm(self.encoder(self.embeddings(tokens)))[:, -1])


class SigLIP(nn.Module):
    """Both towers, the scale of their cosines and its bias.

    Args:
        image_resolution: side of the images in pixels.
        vision_patch_size: side of a patch in pixels.
        vision_width: the width of the image tower and of the common space.
        vision_layers: its blocks.
        vision_heads: its heads; one for each 64 channels when None (16 at widths 1152 and 1536).
        vision_mlp_width: hidden width of its MLPs; four times its width when None.
        vision_act: `gelu_tanh`, or `gelu` as some of open_clip's.
        context_length: tokens a text.
        vocab_size: token ids.
        text_width, text_layers, text_heads, text_mlp_width, text_act: the same of the text tower.
    """

    def __init__(
        self,
        *,
        image_resolution: int,
        vision_patch_size: int,
        vision_width: int,
        vision_layers: int,
        vision_heads: int | None = None,
        vision_mlp_width: int | None = None,
        vision_act: str = "gelu_tanh",
        context_length: int = 64,
        vocab_size: int = 32000,
        text_width: int,
        text_layers: int,
        text_heads: int | None = None,
        text_mlp_width: int | None = None,
        text_act: str = "gelu_tanh",
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "image_resolution": image_resolution,
            "vision_patch_size": vision_patch_size,
            "vision_width": vision_width,
            "vision_layers": vision_layers,
            "vision_heads": default_heads(vision_width) if vision_heads is None else vision_heads,
            "vision_mlp_width": 4 * vision_width if vision_mlp_width is None else vision_mlp_width,
            "vision_act": vision_act,
            "context_length": context_length,
            "vocab_size": vocab_size,
            "text_width": text_width,
            "text_layers": text_layers,
            "text_heads": default_heads(text_width) if text_heads is None else text_heads,
            "text_mlp_width": 4 * text_width if text_mlp_width is None else text_mlp_width,
            "text_act": text_act,
        }
        self.image_resolution, self.context_length = image_resolution, context_length
        self.vision_model = VisionTower(self.config)
        self.text_model = TextTower(self.config)
        self.logit_scale = nn.Parameter(torch.tensor([math.log(10.0)]))
        self.logit_bias = nn.Parameter(torch.tensor([-10.0]))

    def encode_image(self, images: Tensor) -> Tensor:
        """Images (B, 3, R, R) in [-1, 1] to embeddings (B, D), not normalised."""
        return self.vision_model(images)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Tokens (B, context_length) to embeddings (B, D), not normalised."""
        return self.text_model(tokens)

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of every image with every text, (images, texts), and their transpose; the sigmoid is a match."""
        image_embeds = F.normalize(self.encode_image(images), dim=-1)
        text_embeds = F.normalize(self.encode_text(tokens), dim=-1)
        logits_per_image = self.logit_scale.exp() * image_embeds @ text_embeds.T + self.logit_bias
        return logits_per_image, logits_per_image.T


def default_heads(width: int) -> int:
    """The heads of published SigLIPs of a width."""
    return HEADS.get(width, max(width // 64, 1))


def detect(state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors are a whole SigLIP, in Hugging Face's or open_clip's layout."""
    keys = ("vision_model.head.probe", "text_model.head.weight", "logit_scale", "logit_bias")
    return all(key in state for key in keys) or siglip_layouts.is_open_clip(state)


def load(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> SigLIP:
    """A SigLIP in float32 and evaluation mode.

    Sizes are read off the shapes. `config` (arguments of `SigLIP`, Hugging Face's `config.json` or open_clip's
    `open_clip_config.json`) adds heads, activations and the resolution; without it they are those of the published
    networks, whose activation in Hugging Face's layout is the tanh form.

    Raises:
        BadWeights: the tensors are no SigLIP, or do not fit `config`.
    """
    state, sizes = siglip_layouts.read(state, config)
    try:
        with torch.device("meta"):
            model = SigLIP(**sizes)
    except BadInput as error:
        raise BadWeights(f"The weights are of no SigLIP: {error}") from error
    return fill_exactly(model, {key: value.float() for key, value in state.items()}, "a SigLIP").eval()
