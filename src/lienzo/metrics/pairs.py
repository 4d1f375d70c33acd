"""Metrics that compare a picture with the one it should be, each variant under its own name."""

from __future__ import annotations

from lienzo.core.tables import Names

PAIR_METRICS = Names(
    "picture metric",
    {
        "psnr": "lienzo.metrics.psnr:psnr",
        "psnr-pooled": "lienzo.metrics.psnr:pooled_psnr",
        "ssim": "lienzo.metrics.ssim:ssim",
        "ssim-nonnegative": "lienzo.metrics.ssim:ssim_nonnegative",
        "ssim-uniform7": "lienzo.metrics.ssim:ssim_uniform7",
        "ms-ssim": "lienzo.metrics.ssim:ms_ssim",
        "ms-ssim-auto": "lienzo.metrics.ssim:ms_ssim_auto",
    },
)
"""Name -> `metric(x, y, *, data_range=1.0)` for pictures (B, C, H, W); gives (B,), one figure a picture.

Only `psnr-pooled` gives one figure for all, (). Give float64 pictures where the figure is to be reported: float32 is
off by about 1e-6. LPIPS needs weights and so stands apart, in `lpips`.
"""
