"""Feature nets: what turns pictures into the numbers that FID, KID, CMMD and their kin compare."""

from __future__ import annotations

from pathlib import Path

import torch

from lienzo.core.tables import Names
from lienzo.metrics.nets.feature_net import FeatureNet, Features

__all__ = ["FEATURE_NETS", "FeatureNet", "Features", "open_feature_net"]

FEATURE_NETS = Names(
    "feature net",
    {
        "judge": "lienzo.metrics.nets.clip_features:open_judge",
        "guide": "lienzo.metrics.nets.clip_features:open_guide",
        "judge-embedding": "lienzo.metrics.nets.clip_features:open_judge_embedding",
        "guide-embedding": "lienzo.metrics.nets.clip_features:open_guide_embedding",
        "clip": "lienzo.metrics.nets.clip_features:open_clip",
        "clip-cmmd": "lienzo.metrics.nets.clip_features:open_cmmd",
        "efficientnet-lite0": "lienzo.metrics.nets.efficientnet_lite0:open_efficientnet",
        "inception": "lienzo.metrics.nets.inception:open_inception",
        "inception-tf": "lienzo.metrics.nets.inception:open_tf",
        "inception-clean": "lienzo.metrics.nets.inception:open_clean",
        "inception-legacy-tensorflow": "lienzo.metrics.nets.inception:open_legacy_tensorflow",
        "inception-legacy-pytorch": "lienzo.metrics.nets.inception:open_legacy_pytorch",
    },
)
"""Name -> `open(source: str | Path | None, device) -> FeatureNet`; `source` is a model's name or file."""


def open_feature_net(name: str, source: str | Path | None = None, device: str | torch.device = "cpu") -> FeatureNet:
    """A feature net by its name.

    Args:
        name: a name of `FEATURE_NETS`.
        source: its weight file, by name or path; None for the one that the net's opener knows.
        device: where it runs.

    Raises:
        BadInput: there is no such net, or no such file.
        BadWeights: the file holds another network.
    """
    return FEATURE_NETS.load(name)(source, device)
