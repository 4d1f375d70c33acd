"""Two processes with half a batch each learn what one process learns from the whole batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from lienzo.clip.negatives import gather_rows, several_processes, sides

WORK = """
import sys
from datetime import timedelta
import numpy as np
import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from lienzo.clip.clip_recipe import ClipRecipe
from lienzo.clip.objective import Objective
from lienzo.data.sets import DataSet

folder, rank = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
captions = (("a fox",), ("a cat",), ("a dog",), ("a cat",), ("a red car",), ("a house",))
data = DataSet(images, tuple("abcdef"), captions)
config = dict(embed_dim=8, image_resolution=16, vision_layers=1, vision_width=16, vision_patch_size=8,
              context_length=8, transformer_width=8, transformer_layers=1)


OBJECTIVES = {
    "clip": (Objective(i2t_weight=0.3), None),
    "whole": (Objective(i2t_weight=0.3, local_loss=False), None),
    "siglip": (Objective(loss="siglip"), None),
    "siglip whole": (Objective(loss="siglip", local_loss=False), None),
    "cached": (Objective(cyclip_in_modal=0.5, cyclip_cross_modal=0.7), 1),
    "siglip cached": (Objective(loss="siglip", cyclip_in_modal=0.5), 1),
    "apart": (Objective(i2t_weight=0.3, all_negatives=False), None),
    "approximate": (Objective(i2t_weight=0.3, local_loss=False, gather_with_grad=False), None),
}


def teacher(captions):
    return torch.tensor([[caption.count(x) + 0.1 for x in "aeiorx"] for caption in captions])


def work(count, name):
    objective, chunk = OBJECTIVES[name]
    recipe = ClipRecipe(data, data, config, batch_size=4 // count, crop=1, objective=objective, chunk=chunk, seed=2,
                        teacher=teacher if chunk else None)
    torch.manual_seed(0)
    model = recipe.build()
    wrapped = DistributedDataParallel(model) if count > 1 else model
    batch = recipe.batch(rank * recipe.batch_size, torch.Generator().manual_seed(0))
    losses = recipe.step(wrapped, batch)
    sum(losses.values()).backward()
    loss = torch.stack(list(losses.values())).detach()
    if count > 1:
        dist.all_reduce(loss)
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return {"loss": loss / count, "gradients": gradients, "captions": batch["caption"].tolist()}


results = {"one": {name: work(1, name) for name in OBJECTIVES}} if rank == 0 else {}
dist.init_process_group(
    "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=100)
)
results["two"] = {name: work(2, name) for name in OBJECTIVES}
torch.save(results, f"{folder}/{rank}.pt")
dist.destroy_process_group()
"""


def test_two_processes_equal_one_on_the_joined_batch(tmp_path: Path) -> None:
    program = tmp_path / "work.py"
    program.write_text(WORK)
    commands = [[sys.executable, str(program), str(tmp_path), str(rank)] for rank in range(2)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    problems = [process.communicate(timeout=180)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], problems
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert set(first["two"]["clip"]["captions"]) & set(second["two"]["clip"]["captions"]), "a caption that both have"
    for what, one in first["one"].items():
        two = first["two"][what]
        assert one["captions"] == [*two["captions"], *second["two"][what]["captions"]]
        if what == "apart":
            assert two["loss"].sum() < one["loss"].sum() - 0.2, "fewer wrong answers to choose from"
            continue
        torch.testing.assert_close(two["loss"], one["loss"], rtol=1e-4, atol=1e-6, msg=what)
        for name, gradient in one["gradients"].items():
            # Without gradients between processes each has its share; the average of two shares is half.
            expected = gradient / 2 if what == "approximate" and name != "logit_scale" else gradient
            # Sums taken in another order differ by a share of what is summed, not of the number that is left of it.
            most = 1e-6 + 2e-4 * expected.abs().max().item()
            torch.testing.assert_close(two["gradients"][name], expected, rtol=0, atol=most, msg=f"{what}: {name}")


def test_alone_nothing_is_gathered() -> None:
    rows = torch.ones(2, 3)
    assert not several_processes()
    assert gather_rows(rows) is rows
    assert all(side is rows for side in sides(rows, local_loss=False, gather_with_grad=False))
