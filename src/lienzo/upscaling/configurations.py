"""The public SwinIR networks by task, size and scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lienzo.core.errors import BadInput

SIZES: dict[str, dict[str, Any]] = {
    "S": {"embed_dim": 60, "depths": [6] * 4, "num_heads": [6] * 4, "resi_connection": "1conv"},
    "M": {"embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6, "resi_connection": "1conv"},
    "L": {"embed_dim": 240, "depths": [6] * 9, "num_heads": [8] * 9, "resi_connection": "3conv"},
}


@dataclass(frozen=True)
class Task:
    """What a task fixes: its scales (first is the default), head, channels, and the pictures it was trained on."""

    scales: tuple[int, ...]
    upsampler: str
    size: str = "M"
    in_chans: int = 3
    img_size: int = 64
    window_size: int = 8
    img_range: float = 1.0


TASKS: dict[str, Task] = {
    "classical_sr": Task((4, 2, 3, 8), "pixelshuffle"),
    "lightweight_sr": Task((4, 2, 3), "pixelshuffledirect", size="S"),
    "real_sr": Task((4, 2), "nearest+conv"),
    "gray_dn": Task((1,), "", in_chans=1, img_size=128),
    "color_dn": Task((1,), "", img_size=128),
    "jpeg_car": Task((1,), "", in_chans=1, img_size=126, window_size=7, img_range=255.0),
    "color_jpeg_car": Task((1,), "", img_size=126, window_size=7, img_range=255.0),
}


def configuration(
    task: str, *, scale: int | None = None, size: str | None = None, img_size: int | None = None
) -> dict[str, Any]:
    """Constructor options of the public SwinIR for a task.

    Args:
        task: one of `TASKS`.
        scale: enlargement; None for 4 where the task enlarges, else 1.
        size: 'S' (0.9 M parameters), 'M' (12 M) or 'L' (28 M); None for the one of the paper.
        img_size: training picture size in input pixels; None for the usual one (48 for networks from DIV2K alone).

    Raises:
        BadInput: unknown task or size, or a scale that the task does not have.
    """
    if task not in TASKS:
        raise BadInput(f"There is no SwinIR task '{task}'; choose one of {', '.join(TASKS)}.")
    row = TASKS[task]
    if (size or row.size) not in SIZES:
        raise BadInput(f"There is no SwinIR size '{size}'; choose S, M or L.")
    if scale is not None and scale not in row.scales:
        raise BadInput(f"SwinIR's {task} has the scales {', '.join(map(str, sorted(row.scales)))}, not {scale}.")
    return {
        "img_size": img_size or row.img_size,
        "in_chans": row.in_chans,
        "window_size": row.window_size,
        "mlp_ratio": 2.0,
        "upscale": scale or row.scales[0],
        "img_range": row.img_range,
        "upsampler": row.upsampler,
        **{k: list(v) if isinstance(v, list) else v for k, v in SIZES[size or row.size].items()},
    }


def task_of(config: dict[str, Any]) -> str:
    """The task that a SwinIR with these options is for: by its upsampler, its window and its channels."""
    for name, row in TASKS.items():
        jpeg = not row.upsampler and row.window_size == 7
        if row.upsampler == config["upsampler"] and (
            row.upsampler or (row.in_chans, jpeg) == (config["in_chans"], config["window_size"] == 7)
        ):
            return name
    raise BadInput(f"No SwinIR task has {config['in_chans']} channels and the upsampler '{config['upsampler']}'.")
