"""Tiny pipelines of diffusers with random weights, made here and saved as folders. Import only where diffusers is."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

WIDTH = 32  # of the text encoders
BETAS: dict[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
}  # fmt: skip
SCHEDULERS = {
    "ddim": lambda: DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False),
    "pndm": lambda: PNDMScheduler(**BETAS, skip_prk_steps=True),
    "ancestral": lambda: EulerAncestralDiscreteScheduler(**BETAS),
}


def clip_tokenizer() -> CLIPTokenizer:
    letters = [*string.ascii_lowercase, *string.digits, ",", "."]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)


def t5_tokenizer() -> PreTrainedTokenizerFast:
    letters = ["<pad>", "</s>", "<unk>", *string.ascii_lowercase, " ", ","]
    made = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=77
    )


def clip_text(kind: type[Any] = CLIPTextModel, tokenizer: Any = None) -> Any:
    size = len(tokenizer)
    config = CLIPTextConfig(
        vocab_size=size, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=3, num_attention_heads=4,
        projection_dim=WIDTH, hidden_act="gelu", bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1,
    )  # fmt: skip
    return kind(config)


def t5_text() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=40, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
        )
    )


def vae(channels: int = 4, **config: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16), norm_num_groups=4, latent_channels=channels, sample_size=32,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **config,
    )  # fmt: skip


def unet(**config: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=16, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **{"cross_attention_dim": WIDTH, "attention_head_dim": 4} | config,
    )  # fmt: skip


def stable_diffusion(scheduler: str = "ddim") -> StableDiffusionPipeline:
    words = clip_tokenizer()
    return StableDiffusionPipeline(
        vae=vae(), text_encoder=clip_text(tokenizer=words), tokenizer=words, unet=unet(),
        scheduler=SCHEDULERS[scheduler](), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl() -> StableDiffusionXLPipeline:
    words = clip_tokenizer()
    return StableDiffusionXLPipeline(
        vae=vae(), text_encoder=clip_text(tokenizer=words), tokenizer=words, tokenizer_2=clip_tokenizer(),
        text_encoder_2=clip_text(CLIPTextModelWithProjection, words), scheduler=EulerDiscreteScheduler(**BETAS),
        unet=unet(
            addition_embed_type="text_time", addition_time_embed_dim=8, cross_attention_dim=2 * WIDTH,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH, use_linear_projection=True,
        ),
    )  # fmt: skip


def sd3() -> StableDiffusion3Pipeline:
    words = clip_tokenizer()
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=16, patch_size=2, in_channels=16, out_channels=16, num_layers=1, attention_head_dim=8,
            num_attention_heads=4, joint_attention_dim=WIDTH, caption_projection_dim=32,
            pooled_projection_dim=2 * WIDTH,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae(16, shift_factor=0.0609, scaling_factor=1.5035),
        text_encoder=clip_text(CLIPTextModelWithProjection, words), tokenizer=words,
        text_encoder_2=clip_text(CLIPTextModelWithProjection, words), tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_text(), tokenizer_3=t5_tokenizer(),
    )  # fmt: skip


def flux() -> FluxPipeline:
    words = clip_tokenizer()
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae(4, shift_factor=0.1159, scaling_factor=0.3611),
        text_encoder=clip_text(tokenizer=words), tokenizer=words, text_encoder_2=t5_text(), tokenizer_2=t5_tokenizer(),
    )  # fmt: skip


def pixart() -> PixArtAlphaPipeline:
    return PixArtAlphaPipeline(
        transformer=PixArtTransformer2DModel(
            sample_size=16, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=3,
            caption_channels=WIDTH, in_channels=4, out_channels=8, cross_attention_dim=24, attention_bias=True,
            norm_elementwise_affine=False, norm_eps=1e-6, use_additional_conditions=False,
        ),
        scheduler=DPMSolverMultistepScheduler(), vae=vae(), text_encoder=t5_text(), tokenizer=t5_tokenizer(),
    )  # fmt: skip


PIPELINES = {"sd": stable_diffusion, "sdxl": sdxl, "sd3": sd3, "flux": flux, "pixart": pixart}


def save_pipeline(folder: Path, kind: str, **options: Any) -> Path:
    """A pipeline of the kind with random weights that are the same each time."""
    torch.manual_seed(0)
    PIPELINES[kind](**options).save_pretrained(str(folder), safe_serialization=True)
    return folder
