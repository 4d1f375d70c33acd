"""Running a picture tower on batches of bytes, as fast as the machine allows without another answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lienzo.clip.compact import CompactClip
from lienzo.core.errors import BadInput, BadWeights
from lienzo.weights.models import load_model

BATCH = 256
LEAST = 8  # pictures a thread; fewer are computed by all threads together
CPU_PIXELS = 32 * 256**2  # of a batch; with more a ViT-B/32 leaves the caches, which costs it 7 %


class PictureTower:
    """uint8 pictures (B, size, size, 3) to float32 unit vectors (B, D).

    In bfloat16 where the processor multiplies it natively (half the time, cosines within 1e-3 of float32), and with
    channels last.

    Args:
        encode: prepared pictures to vectors.
        network: whose parameters `encode` uses.
        size: side of the pictures.
        mean: of each channel, subtracted from values in [0, 1].
        std: of each channel, which then divides.
        device: of torch; the CPU when None.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        network: nn.Module,
        size: int,
        mean: tuple[float, ...] = (0.0,) * 3,
        std: tuple[float, ...] = (1.0,) * 3,
        device: str | torch.device | None = None,
    ):
        self.device = torch.device("cpu" if device is None else device)
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.encode, self.size = encode, size
        self.factor = 1 / (255 * torch.tensor(std, device=self.device).view(3, 1, 1))
        self.offset = (torch.tensor(mean) / torch.tensor(std)).to(self.device).view(3, 1, 1)
        self.batch = min(BATCH, max(8, CPU_PIXELS // size**2)) if self.device.type == "cpu" else BATCH
        self.pool: ThreadPoolExecutor | None = None
        self.half = native_bfloat16(self.device)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        if batch.dtype != np.uint8 or batch.shape[1:] != (self.size, self.size, 3):
            raise BadInput(f"This CLIP reads uint8 pictures of {self.size} x {self.size} pixels, (B, size, size, 3).")
        threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        if threads > 1 and len(batch) >= LEAST * threads:
            return self._side_by_side(batch, threads)
        return np.concatenate([self._vectors(part) for part in _parts(batch, self.batch)])

    def _side_by_side(self, batch: np.ndarray, threads: int) -> np.ndarray:
        """Each thread takes pictures of its own. Threads that share every product wait for each other, spinning, and
        lose up to half of the time where decoding or another program wants the same processors.
        """
        size = min(self.batch, -(-len(batch) // threads))
        if self.pool is None:
            self.pool = ThreadPoolExecutor(threads, "embed", torch.set_num_threads, (1,))
        try:
            return np.concatenate(list(self.pool.map(self._vectors, _parts(batch, size))))
        finally:
            torch.set_num_threads(threads)  # each thread has its own number, but new ones take the last that was set

    def _vectors(self, batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), self._precision():
            x = torch.from_numpy(np.ascontiguousarray(batch)).to(self.device).permute(0, 3, 1, 2)
            x = x.float().mul_(self.factor).sub_(self.offset)
            vectors = self.encode(x.contiguous(memory_format=torch.channels_last)).float()
            return F.normalize(vectors, dim=-1).cpu().numpy()

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()


def _parts(batch: np.ndarray, size: int) -> list[np.ndarray]:
    return [batch[i : i + size] for i in range(0, max(len(batch), 1), size)]


def native_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster there than in float32; emulated ones are slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def load_compact_tower(path: Path, device: str | torch.device | None) -> PictureTower:
    """The picture tower of a compact CLIP.

    Raises:
        BadWeights: the file is broken or of another network.
    """
    model = load_model(path)
    if not isinstance(model, CompactClip):
        raise BadWeights(f"'{path.name}' is no compact CLIP.")
    return PictureTower(model.encode_image, model, model.size, device=device)
