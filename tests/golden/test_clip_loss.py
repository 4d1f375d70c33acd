"""The losses of OpenCLIP and CyCLIP, with gradients, on one process and on several."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import Golden, assert_same
from torch import Tensor
from torch.nn import functional as F

from lienzo.clip.caching import in_chunks
from lienzo.clip.losses import contrastive_loss, cyclic_losses, distillation_loss, sigmoid_loss

LOSSES = pytest.mark.golden("clip_loss*.safetensors")
TOLERANCE = 1e-5
LN10 = math.log(10)


@pytest.fixture
def golden(golden_path: Path) -> Golden:
    return Golden(golden_path)


def close(value: Tensor | float, expected: float) -> None:
    value = value.item() if isinstance(value, Tensor) else value
    assert value == pytest.approx(expected, rel=TOLERANCE, abs=1e-6)


def leaves(golden: Golden, *scalars: float) -> list[Tensor]:
    """The embeddings of the file, and scalars, all to be differentiated."""
    numbers = [torch.tensor(float(value)) for value in scalars]
    return [tensor.clone().requires_grad_() for tensor in (golden.tensors["image_raw"], golden.tensors["text_raw"])] + [
        number.requires_grad_() for number in numbers
    ]


def gradients_are(golden: Golden, name: str, image: Tensor, text: Tensor) -> None:
    """Those that the file has, at least one."""
    found = [
        (kind, leaf) for kind, leaf in (("image", image), ("text", text)) if f"{name}.grad_{kind}_raw" in golden.tensors
    ]
    assert found
    for kind, leaf in found:
        assert leaf.grad is not None
        assert_same(leaf.grad, golden.tensors[f"{name}.grad_{kind}_raw"], TOLERANCE, f"{name} {kind}")


def unit(golden: Golden, *names: str) -> list[Tensor]:
    return [F.normalize(golden.tensors[name], dim=1) for name in names]


@LOSSES
def test_contrast_at_every_temperature(golden: Golden) -> None:
    parts = {name: values for name, values in golden.config["expected"].items() if isinstance(values, dict)}
    found = {name: values for name, values in parts.items() if "logit_scale_log" in values}
    assert found
    for name, expected in found.items():
        image, text, scale = leaves(golden, expected["logit_scale_log"])
        loss = contrastive_loss(image, text, scale)
        loss.backward()
        close(loss, expected["loss"])
        gradients_are(golden, name, image, text)
        assert scale.grad is not None
        close(scale.grad, expected["grad_logit_scale"])
        close(contrastive_loss(image, text, scale, 1.0), expected["loss_i2t"])
        close(contrastive_loss(image, text, scale, 0.0), expected["loss_t2i"])
        for weight, value in expected["lambda_weighted"].items():
            close(contrastive_loss(image, text, scale, float(weight)), value)
        a, b = unit(golden, "image_raw", "text_raw")
        assert_same(scale.exp() * a @ b.T, golden.tensors[f"{name}.logits_per_image"], TOLERANCE, name)


@LOSSES
def test_weighted_directions_have_their_gradients(golden: Golden) -> None:
    expected = golden.config["expected"]
    names = [found for key in expected if (found := re.fullmatch(r"lambda(\d)(\d+)_grad_logit_scale", key))]
    assert names
    for name in names:
        image, text, scale = leaves(golden, expected["init"]["logit_scale_log"])
        contrastive_loss(image, text, scale, float(f"{name[1]}.{name[2]}")).backward()
        gradients_are(golden, name[0].removesuffix("_grad_logit_scale"), image, text)
        assert scale.grad is not None
        close(scale.grad, expected[name[0]])


@LOSSES
def test_bias_and_distillation(golden: Golden) -> None:
    expected = golden.config["expected"]
    distill = expected["distill"]
    a, b, c, d = unit(golden, "image_raw", "text_raw", "teacher_image", "teacher_text")
    scale = torch.tensor(math.log(distill["student_scale"]))
    biased = [key for key in expected if key.startswith("cliploss_bias_")]
    assert biased
    for key in biased:
        close(contrastive_loss(a, b, scale, 0.5, float(key.rpartition("_")[2])), expected[key])
    close(contrastive_loss(a, b, scale), distill["contrastive"])
    mine, teacher = distill["student_scale"] * a @ b.T, distill["teacher_scale"] * c @ d.T
    close(distillation_loss(mine, teacher), distill["distill"])


@LOSSES
def test_sigmoid_loss_whole_and_in_chunks(golden: Golden) -> None:
    names = [key for key in golden.config["expected"] if key.startswith("siglip_chunk")]
    assert len(names) > 1
    for name in names:
        expected = golden.config["expected"][name]
        image, text, scale, bias = leaves(golden, LN10, -10)
        loss = sigmoid_loss(image, text, scale, bias, chunk=int(name.removeprefix("siglip_chunk")))
        loss.backward()
        close(loss, expected["loss"])
        gradients_are(golden, name, image, text)
        assert scale.grad is not None
        assert bias.grad is not None
        close(scale.grad, expected["grad_log_scale"])
        close(bias.grad, expected["grad_bias"])


@LOSSES
def test_cyclic_terms_with_and_without_altered_copies(golden: Golden) -> None:
    expected = golden.config["expected"]
    weights, scale = expected["cyclip"], torch.tensor(expected["init"]["logit_scale_log"])
    a, b, c, d = unit(golden, "image_raw", "text_raw", "aug_image_norm", "aug_text_norm")
    in_modal, cross_modal = cyclic_losses(a, b)
    cyclic = weights["lambda1"] * in_modal + weights["lambda2"] * cross_modal
    across = contrastive_loss(a, b, scale)
    close(cyclic, weights["cyclic"])
    close(across, weights["contrastive"])
    close(across + cyclic, weights["loss"])
    # Each embedding among the altered copies of its own kind, one way.
    within = (contrastive_loss(a, c, scale, 1.0) + contrastive_loss(b, d, scale, 1.0)) / 2
    copies = expected["cyclip_inmodal"]
    close((across + within) / 2, copies["contrastive"])
    close(cyclic, copies["cyclic"])
    close((across + within) / 2 + cyclic, copies["loss"])


@LOSSES
def test_cached_gradients_are_those_of_the_batch_and_openclip_counts_the_scale_again(golden: Golden) -> None:
    expected = golden.config["expected"]
    accum = expected["accum"]
    counted = next(key for key in accum if key.startswith("grad_logit_scale_accum"))
    chunks = int(re.findall(r"\d+", counted)[0])
    raw = [golden.tensors["image_raw"], golden.tensors["text_raw"]]
    size = len(raw[0]) // chunks
    towers = [torch.nn.Linear(1, 1) for _ in raw]  # stand for what holds the matrices
    weights = [golden.tensors[f"accum.{name}"].clone().requires_grad_() for name in ("Wi", "Wt")]
    passes = []

    def encoder(weight: Tensor) -> Callable[[Tensor], Tensor]:
        def encode(rows: Tensor) -> Tensor:
            passes.append(len(rows))
            return F.normalize(rows @ weight, dim=1)

        return encode

    encoders = [encoder(weight) for weight in weights]
    scale = torch.tensor(expected["init"]["logit_scale_log"], requires_grad=True)
    image, text = (in_chunks(*each) for each in zip(encoders, raw, [size] * 2, towers))
    loss = contrastive_loss(image, text, scale)
    loss.backward()
    assert passes == [size] * chunks * 4, "each chunk of each tower forwards, and once more for its gradient"
    close(loss, accum["loss"])
    for weight, name in zip(weights, ("Wi", "Wt")):
        assert weight.grad is not None
        assert_same(weight.grad, golden.tensors[f"accum.grad_{name}"], TOLERANCE, name)
    assert scale.grad is not None
    ours = scale.grad.clone()
    close(ours, accum["grad_logit_scale_full"])

    # OpenCLIP: once a chunk, the whole loss on cached embeddings with that chunk's put in anew.
    scale.grad = None
    for start in range(0, chunks * size, size):
        both = []
        for encode, rows in zip(encoders, raw):
            cached = encode(rows).detach()
            new = encode(rows[start : start + size])
            both.append(torch.cat([cached[:start], new, cached[start + size :]]))
        contrastive_loss(*both, scale).backward()
    assert scale.grad is not None
    close(scale.grad, accum[counted])
    close(scale.grad, chunks * ours.item())


WORK = """
import math, sys
from datetime import timedelta
import torch
from safetensors.torch import load_file
from torch import distributed as dist
from torch.nn import functional as F
from lienzo.clip.losses import sigmoid_loss, soft_cross_entropy
from lienzo.clip.negatives import sides

path, folder, rank, count, log_scale = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5]), float(sys.argv[5])
torch.set_num_threads(1)
dist.init_process_group(
    "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count, timeout=timedelta(seconds=100)
)
tensors = load_file(path)
results = {}
for local in (0, 1):
    for with_grad in (0, 1):
        raw = [tensors[name].chunk(count)[rank].clone().requires_grad_() for name in ("image_raw", "text_raw")]
        scale = torch.tensor(log_scale, requires_grad=True)
        image, text = (sides(F.normalize(rows, dim=1), bool(local), bool(with_grad)) for rows in raw)
        numbers = sides(torch.arange(len(raw[0])) + rank * len(raw[0]), bool(local))
        right = numbers.own[:, None] == numbers.all[None]
        i2t = soft_cross_entropy(scale.exp() * image.own @ text.all.T, right)
        t2i = soft_cross_entropy(scale.exp() * text.own @ image.all.T, right)
        loss = (i2t + t2i) / 2
        loss.backward()
        results[f"local{local}_gwg{with_grad}"] = {
            "loss": loss.detach(), "grad_logit_scale": scale.grad, "image": raw[0].grad, "text": raw[1].grad
        }
image, text = (sides(tensors[name].chunk(count)[rank]) for name in ("image_raw", "text_raw"))
numbers = sides(torch.arange(len(image.own)) + rank * len(image.own))
right = numbers.own[:, None] == numbers.all[None]
results["siglip"] = sigmoid_loss(image.own, text.all, torch.tensor(math.log(10)), torch.tensor(-10.0), right)
torch.save(results, f"{folder}/{rank}.pt")
dist.destroy_process_group()
"""


def of_each_rank(path: Path, folder: Path, count: int, log_scale: float) -> list[dict[str, Any]]:
    """What each of `count` processes finds with its share of the pairs."""
    program = folder / "work.py"
    program.write_text(WORK)
    given = [sys.executable, str(program), str(path.resolve()), str(folder)]
    commands = [[*given, str(rank), str(count), str(log_scale)] for rank in range(count)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    problems = [process.communicate(timeout=180)[1] for process in running]
    assert [process.returncode for process in running] == [0] * count, problems
    return [torch.load(folder / f"{rank}.pt") for rank in range(count)]


@LOSSES
def test_every_process_has_openclips_loss_and_gradients(golden: Golden, golden_path: Path, tmp_path: Path) -> None:
    expected = golden.config["expected"]["two_ranks_log_scale_init"]
    ranks = sorted({int(re.findall(r"rank(\d+)", key)[0]) for key in expected})
    found = of_each_rank(golden_path, tmp_path, len(ranks), golden.config["expected"]["init"]["logit_scale_log"])
    for key, value in expected.items():
        rank, name = re.fullmatch(r"rank(\d+)\.(.+)", key).groups()  # type: ignore[union-attr]
        if name.startswith("siglip"):
            close(found[int(rank)]["siglip"], value)
            continue
        mine = found[int(rank)][name]
        close(mine["loss"], value["loss"])
        close(mine["grad_logit_scale"], value["grad_logit_scale"])
        for kind in ("image", "text"):
            assert_same(mine[kind], golden.tensors[f"ddp.{key}.grad_{kind}_raw"], TOLERANCE, f"{key} {kind}")
