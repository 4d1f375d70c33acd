"""FID's Inception and the ways of resizing for it, against pytorch-fid, torch-fidelity and clean-fid."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from goldens import Golden, assert_same, det_weights
from torch import Tensor

from lienzo.core.tables import Names
from lienzo.metrics.nets.inception import Inception, manifest
from lienzo.metrics.nets.resizing import RESIZES, pil_resize, tf1_bilinear, torch_resize

WAYS = {"pytorch_fid": "pytorch-fid", "torch_fidelity": "tf"}


def salt(golden: Golden) -> str:
    return golden.config.get("salt") or re.search(r"salt '([^']+)'", golden.config["rule"])[1]


@cache
def inception(golden: Golden) -> Inception:
    model = Inception(classes=golden.config["state_dict"]["fc.weight"][1][0]).eval()
    with torch.no_grad():
        det_weights(model, salt(golden))
    return model


def pictures(golden: Golden) -> Tensor:
    return golden.tensors["image_u8"]


@pytest.mark.golden("inception_fid*.safetensors")
def test_manifest(golden_path: Path) -> None:
    golden = Golden(golden_path)
    wanted = {key: tuple(shape) for key, (_, shape) in golden.config["state_dict"].items()}
    found = manifest(wanted["fc.weight"][0])
    assert found == wanted
    counted = sum(int(np.prod(shape)) for shape in found.values())
    assert counted == golden.config["n_params"]


@pytest.mark.golden("inception_fid*.safetensors")
@torch.no_grad()
def test_features(golden_path: Path) -> None:
    golden = Golden(golden_path)
    model, checked = inception(golden), 0
    for original, way in WAYS.items():
        wanted = {key.split(".", 1)[1]: value for key, value in golden.tensors.items() if key.startswith(original)}
        if not wanted:
            continue
        maps = model.taps(RESIZES.load(way)(pictures(golden)), {int(key) for key in wanted if key.isdecimal()} | {2048})
        rows = {width: x.mean((2, 3)) for width, x in maps.items()}
        for key, value in wanted.items():
            if key.isdecimal():
                found = rows[int(key)]
            else:
                found = model.logits(rows[2048], biased=key == "logits")
            assert_same(found, value.flatten(1), 1e-3, f"{original}.{key}")
            mean, std = golden.config["expected"].get(f"{original}.{key}", (None, None))
            if mean is not None:
                assert found.mean().item() == pytest.approx(mean, rel=1e-3, abs=1e-5)
                assert found.std().item() == pytest.approx(std, rel=1e-3)
            checked += 1
        if original == "pytorch_fid" and "fc_logits" in golden.tensors:
            assert_same(model.logits(rows[2048]), golden.tensors["fc_logits"], 1e-3, "fc_logits")
    assert checked


@pytest.mark.golden("inception_fid*.safetensors")
def test_resizing(golden_path: Path) -> None:
    golden = Golden(golden_path)
    checked = 0
    for key, wanted in golden.tensors.items():
        if match := re.fullmatch(r"tf1_bilinear_resize_(\d+)x(\d+)", key):
            found = tf1_bilinear(pictures(golden).float() / 255, (int(match[1]), int(match[2])))
        elif match := re.fullmatch(r"cleanfid\.(\w+)\.(\w+)\.q(\d)\.(\d+)x(\d+)", key):
            found = cleanfid(pictures(golden)[0], *match.groups())
        else:
            continue
        assert_same(found.float(), wanted.float(), 1e-5, key)
        checked += 1
    assert checked


def cleanfid(picture: Tensor, library: str, name: str, quantized: str, first: str, second: str) -> Tensor:
    """clean-fid's resizer, (H, W, 3); its size is (width, height) for Pillow and (height, width) for torch."""
    if library == "PIL":
        size, array = (int(second), int(first)), picture.permute(1, 2, 0).contiguous().numpy()
        return torch.from_numpy(np.array(pil_resize(array, size, name, quantize=quantized == "1")))
    found = torch_resize(picture[None].float(), (int(first), int(second)), name)[0].permute(1, 2, 0)
    return found.byte() if quantized == "1" else found


def test_rows_are_a_table() -> None:
    assert isinstance(RESIZES, Names)
    assert {*WAYS.values(), "clean", "legacy_tensorflow", "legacy_pytorch"} <= set(RESIZES)
