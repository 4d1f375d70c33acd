"""PSNR; the formulas live in `imaging`, where upscaling reaches them too."""

from lienzo.imaging.psnr import pooled_psnr, psnr

__all__ = ["pooled_psnr", "psnr"]
