"""Quantisers of VQGAN: to the nearest vector of a codebook, straight-through, with an optional subset of codes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lienzo.core.errors import BadInput

MAX_DISTANCES = 1 << 24
"""Distances held at once, 64 MB: vectors are compared to the codebook in pieces of that size."""


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index (M,) of the codebook row (N, D) nearest to each of the vectors (M, D); the first of equals."""
    lengths = codebook.square().sum(dim=1)
    pieces = vectors.split(max(1, MAX_DISTANCES // len(codebook)))
    return torch.cat(
        [(p.square().sum(dim=1, keepdim=True) + lengths - 2 * p @ codebook.T).argmin(dim=1) for p in pieces]
    )


@torch.no_grad()
def nearest_codes(latents: Tensor, codebook: Tensor) -> Tensor:
    """Indices (B, h, w) of the codes (N, D) nearest to latents (B, D, h, w)."""
    b, d, height, width = latents.shape
    return nearest(latents.permute(0, 2, 3, 1).reshape(-1, d), codebook).reshape(b, height, width)


def vectors_of(codes: Tensor, codebook: Tensor) -> Tensor:
    """Latents (B, D, h, w) of indices (B, h, w).

    Raises:
        BadInput: an index outside the codebook, or no whole numbers of three axes.
    """
    if codes.ndim != 3 or codes.is_floating_point() or codes.dtype == torch.bool:
        raise BadInput(f"Codes are whole numbers of shape (batch, height, width), not {tuple(codes.shape)}.")
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < len(codebook):
        raise BadInput(f"Codes lie from 0 to {len(codebook) - 1}; {int(codes.min())} to {int(codes.max())} were given.")
    return codebook[codes].permute(0, 3, 1, 2)


def straight_through(latents: Tensor, codebook: Tensor) -> Tensor:
    """Latents (B, D, h, w) moved to their nearest codes (N, D); gradients pass as if they had not moved."""
    moved = vectors_of(nearest_codes(latents, codebook), codebook).to(latents.dtype)
    return latents + (moved - latents).detach() if latents.requires_grad else moved


class Quantizer(nn.Module):
    """A codebook and, where a data set uses only some of its codes, a numbering of those for smaller vocabularies.

    Args:
        n_embed: number of codes.
        remap: indices of the used codes, in their new order.
        unknown_index: what stands for a code that is not used: "random" for any of the used, "extra" for one index
            more, or a number.

    Raises:
        BadInput: the numbering does not fit the codebook.
    """

    used: Tensor

    def __init__(self, n_embed: int, remap: Sequence[int] | None = None, unknown_index: str | int = "random"):
        super().__init__()
        if unknown_index not in ("random", "extra") and type(unknown_index) is not int:
            raise BadInput(f"The index of unknown codes is random, extra or a number, not '{unknown_index}'.")
        self.n_embed, self.remaps, self.unknown_index = n_embed, remap is not None, unknown_index
        self.vocabulary = n_embed
        if remap is not None:
            if not len(remap) or not 0 <= min(remap) <= max(remap) < n_embed:
                raise BadInput(f"A numbering of codes needs at least one code, and codes from 0 to {n_embed - 1}.")
            self.register_buffer("used", torch.tensor(list(remap)))
            self.vocabulary = len(remap) + (unknown_index == "extra")

    def renumbered(self, codes: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Indices of the codebook, of any shape, to indices of the numbering; as they are where there is none."""
        if not self.remaps:
            return codes
        match = codes[..., None] == self.used  # (..., used)
        if self.unknown_index == "random":
            unknown = torch.randint(0, self.vocabulary, codes.shape, generator=generator).to(codes.device)
        else:
            index = len(self.used) if self.unknown_index == "extra" else int(self.unknown_index)
            unknown = torch.full_like(codes, index)
        return torch.where(match.any(dim=-1), match.long().argmax(dim=-1), unknown)

    def original(self, codes: Tensor) -> Tensor:
        """Indices of the numbering to indices of the codebook; the extra index becomes the first used code."""
        return self.used[codes.where(codes < len(self.used), 0)] if self.remaps else codes


class VectorQuantizer(Quantizer):
    """The quantiser of VQGAN (`VectorQuantizer2` of taming-transformers).

    Args:
        n_embed: number of codes.
        embed_dim: width of a code.
        beta: weight of one of the two halves of the loss.
        legacy: put `beta` on the half that moves the codes, as the public files were trained; otherwise on the half
            that moves the encoder, as in the paper of VQ-VAE (van den Oord et al. 2017).
        remap, unknown_index: see `Quantizer`.
        sane_index_shape: `forward` gives indices as (B, h, w); otherwise in one row, as in the original.
    """

    def __init__(
        self,
        n_embed: int,
        embed_dim: int,
        beta: float = 0.25,
        legacy: bool = True,
        remap: Sequence[int] | None = None,
        unknown_index: str | int = "random",
        sane_index_shape: bool = False,
    ):
        super().__init__(n_embed, remap, unknown_index)
        self.beta, self.legacy, self.sane_index_shape = beta, legacy, sane_index_shape
        self.embedding = nn.Embedding(n_embed, embed_dim)
        nn.init.uniform_(self.embedding.weight, -1 / n_embed, 1 / n_embed)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, embed_dim, h, w) to their codes (straight-through), the loss, and the indices.

        The indices are (B h w,), of a numbering (B h w, 1), or (B, h, w) by `sane_index_shape`.
        """
        codes = nearest_codes(z, self.embedding.weight)
        quantized = vectors_of(codes, self.embedding.weight)
        to_codes = (quantized.detach() - z).square().mean()  # moves the encoder
        to_encoder = (quantized - z.detach()).square().mean()  # moves the codes
        loss = to_codes + self.beta * to_encoder if self.legacy else self.beta * to_codes + to_encoder
        indices = self.renumbered(codes)
        if not self.sane_index_shape:
            indices = indices.reshape(-1, 1) if self.remaps else indices.flatten()
        return z + (quantized - z).detach(), loss, indices

    def look_up(self, indices: Tensor, shape: Sequence[int] | None = None) -> Tensor:
        """Codes of indices: (B, embed_dim, h, w) for a `shape` of (B, h, w, embed_dim), else (..., embed_dim)."""
        codes = self.original(indices)
        if shape is None:
            return self.embedding(codes.flatten())
        return vectors_of(codes.reshape(tuple(shape[:3])), self.embedding.weight)
