"""The loop learns, stops when asked, refuses what it should, and resumes bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from forked import start, status
from lines import BASE, PLAN, Exploding, Line, Remembering, same, train, weights
from torch import nn

from lienzo.core.errors import BadInput
from lienzo.core.events import Checkpoint, Metric, Note, Progress
from lienzo.training.checkpoints import load_checkpoint
from lienzo.training.loop import Diverged, fit
from lienzo.training.plan import Training
from lienzo.training.processes import Processes
from lienzo.training.recompute import recompute_blocks
from lienzo.training.schedule import rate_at
from lienzo.training.state import trained
from lienzo.training.stopping import HASTE, Stop, stop_requests
from lienzo.training.trackers import Log

SCRIPT = str(Path(__file__).parent / "lines.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def newest(folder: Path) -> int:
    """Images seen by the newest checkpoint, 0 before the first."""
    names = sorted(path.stem for path in (folder / "checkpoints").glob("state_*"))
    return int(names[-1].removeprefix("state_")) if names else 0


def command(folder: Path, kind: str, processes: int = 1, **options: dict) -> list[str]:
    launcher = [] if processes == 1 else [
        "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}",
    ]  # fmt: skip
    return [sys.executable, *launcher, SCRIPT, str(folder), kind, json.dumps(options)]


def pair(*folders: Path, recipe: dict | None = None, **changes: object) -> list[BaseProcess]:
    """Two processes that train together; what torchrun sets is set here."""
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    return [
        start(partial(train, **changes), str(folder), "remembering", recipe, RANK=str(rank), **meet)
        for rank, folder in enumerate(folders)
    ]


def kill_at(target: int, folder: Path, processes: list[BaseProcess], sign: int = signal.SIGKILL) -> list[int | None]:
    """Signal all processes once `target` items are saved, and return their exit statuses."""
    while newest(folder) < target and processes[0].is_alive():
        time.sleep(random.uniform(0, 0.01))
    for process in processes:
        assert process.pid is not None
        os.kill(process.pid, sign)
    return [status(process) for process in processes]


def log_of(folder: Path) -> list[dict]:
    """Every line of metrics.jsonl, each valid JSON."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) for line in lines]


def plan(**changes: object) -> Training:
    return Training(**{**BASE, **changes})  # type: ignore[arg-type]


def test_learns_and_reports(tmp_path: Path) -> None:
    events = list(fit(Line(), PLAN, tmp_path))
    assert isinstance(events[0], Progress)
    slope = [e.value for e in events if isinstance(e, Metric) and e.name == "slope"]
    assert abs(slope[-1] - 2) < 0.05
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"images_seen", "mse", "gradient", "images_per_second", "learning_rate"} <= lines[-2].keys()
    assert lines[-1]["slope"] == slope[-1]
    assert len(list((tmp_path / "checkpoints").glob("state_*"))) == 2


@pytest.mark.parametrize("kind", [Line, Remembering])
def test_resumed_equals_uninterrupted(tmp_path: Path, kind: type[Line]) -> None:
    list(fit(kind(), PLAN, tmp_path / "whole"))
    run = fit(kind(), PLAN, tmp_path / "cut")
    seen = 0
    for event in run:
        seen += isinstance(event, Checkpoint)
        if seen == 37:
            run.close()
            break
    list(fit(kind(), PLAN, tmp_path / "cut"))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


@pytest.mark.parametrize(("kind", "processes"), [("line", 1), ("remembering", 1), ("remembering", 2)])
def test_killed_run_resumes_equal(tmp_path: Path, kind: str, processes: int) -> None:
    """SIGKILL at arbitrary moments, also while a checkpoint is being written, then the same command again."""

    def run(name: str, wait: float = 0.0) -> list[BaseProcess]:
        folder, recipe = tmp_path / name, {"wait": wait}
        return [start(train, str(folder), kind, recipe)] if processes == 1 else pair(folder, folder, recipe=recipe)

    assert [status(process) for process in run("whole")] == [0] * processes
    for target in (300, 1000) if processes == 1 else (500,):
        assert kill_at(target, tmp_path / "killed", run("killed", wait=0.01)) == [-signal.SIGKILL] * processes
        assert target <= newest(tmp_path / "killed") < PLAN.images
    assert [status(process) for process in run("killed")] == [0] * processes
    seen = [line["images_seen"] for line in log_of(tmp_path / "killed")]
    assert seen == sorted(seen)
    assert seen[-1] == PLAN.images
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_two_processes_equal_two_accumulated_passes(tmp_path: Path) -> None:
    """The same items in the same order, so the same weights but for the order of sums."""
    two = command(tmp_path / "two", "remembering", 2)
    out = subprocess.run(two, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout
    assert out.count("Progress") == PLAN.images // 40  # one process speaks

    class Both(Remembering):
        """Remembers all accumulated passes, as two processes do."""

        def step(self, model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            before = self.seen if len(self.seen) == self.batch_size else torch.zeros(0)
            losses = super().step(model, batch)
            self.seen = torch.cat([before, self.seen])
            return losses

    list(fit(Both(), plan(accumulate=2), tmp_path / "one"))
    one, both = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[key], both[key], rtol=1e-4, atol=1e-6) for key in one)


def test_two_machines_without_a_shared_disk(tmp_path: Path) -> None:
    """Two processes that meet over the network as on two machines, each with a folder of its own; only the first one's
    holds the run, and resuming sends its checkpoint to the other."""
    machines, whole = (tmp_path / "machine0", tmp_path / "machine1"), tmp_path / "whole"
    assert [status(machine) for machine in pair(*machines, images=1000)] == [0, 0]
    assert newest(machines[0]) == 1000
    assert [status(machine) for machine in pair(*machines)] == [0, 0]
    assert not (machines[1] / "checkpoints").exists()
    for changes in ({"images": 1000}, {}):
        assert [status(process) for process in pair(whole, whole, **changes)] == [0, 0]
    assert same(weights(whole), weights(machines[0]))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed there")
@pytest.mark.parametrize("fails", [False, True])
def test_no_thread_of_the_group_outlives_it(tmp_path: Path, fails: bool) -> None:
    """One that still had tensors to let go of when the interpreter ended would abort the process; even after an error,
    whose traceback holds the network."""
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    options = {"recipe": {"folder": str(tmp_path), "fails": fails}, "plan": {"images": 80}}
    both = [
        subprocess.Popen(
            command(tmp_path / f"machine{rank}", "leaving", **options),
            env={**ENVIRONMENT, **meet, "RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in (0, 1)
    ]
    assert [process.wait(timeout=240) for process in both] == [int(fails)] * 2
    for rank in (0, 1):
        during, left = json.loads((tmp_path / f"threads{rank}.json").read_text())
        assert during, "gloo works in threads of its own"
        assert left == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_batches_prepared_ahead_change_nothing(tmp_path: Path) -> None:
    list(fit(Line(), plan(ahead=0), tmp_path / "none"))
    list(fit(Line(), plan(ahead=3), tmp_path / "three"))
    assert same(weights(tmp_path / "none"), weights(tmp_path / "three"))


def test_averages_differ_in_memory(tmp_path: Path) -> None:
    list(fit(Line(), plan(fall=0), tmp_path))
    slow, fast = trained(Line(), tmp_path, 0), trained(Line(), tmp_path, 1)
    raw = weights(tmp_path)["model.weight"]
    assert (fast.weight - raw).abs() < (slow.weight - raw).abs()


def test_sigterm_saves_and_stops(tmp_path: Path) -> None:
    slow = start(partial(train, save_seconds=0.5), str(tmp_path), "line", {"wait": 0.01})
    assert kill_at(20, tmp_path, [slow], signal.SIGTERM) == [0]
    seen = newest(tmp_path)
    assert 20 <= seen < PLAN.images
    events = list(fit(Line(), plan(save_seconds=0.5), tmp_path))
    assert Note(f"Resuming after {seen} items.") in events


def test_ctrl_c_saves_and_interrupts(tmp_path: Path) -> None:
    slow = subprocess.Popen(
        command(tmp_path, "line", recipe={"wait": 0.01}, plan={"save_seconds": 0.5}),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job's children ignore it
    )
    while newest(tmp_path) < 20 and slow.poll() is None:
        time.sleep(0.01)
    slow.send_signal(signal.SIGINT)
    assert slow.wait() == -signal.SIGINT
    seen = newest(tmp_path)
    assert 20 < seen < PLAN.images
    assert Note(f"Resuming after {seen} items.") in list(fit(Line(), plan(save_seconds=0.5), tmp_path))


def test_a_second_ctrl_c_does_not_wait() -> None:
    stop = Stop()
    stop.interrupt(signal.SIGINT, None)
    stop.interrupt(signal.SIGINT, None)  # at once: the launcher's copy of the first
    assert stop.asked
    assert stop.interrupted is not None
    stop.interrupted -= HASTE + 1
    with pytest.raises(KeyboardInterrupt):
        stop.interrupt(signal.SIGINT, None)


def test_signals_that_are_ignored_stay_ignored() -> None:
    """As in a shell's background job, or under nohup."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_requests():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_end_of_another_process_ends_this_one(tmp_path: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(command(tmp_path, "dying", 2), env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert time.monotonic() - began < 240, "waiting in vain takes half an hour"
    assert "Another process of this training has ended, so this one stopped too" in done.stderr
    assert newest(tmp_path) > 0


def test_other_faults_are_not_taken_for_a_lost_process() -> None:
    with pytest.raises(RuntimeError, match="shapes"), Processes().together():
        raise RuntimeError("shapes differ")
    with pytest.raises(RuntimeError, match="closed by peer"), Processes().together():
        raise RuntimeError("closed by peer")  # alone there are no others


def test_minutes_stop_and_go_on(tmp_path: Path) -> None:
    events = list(fit(Line(wait=0.01), plan(minutes=0.005), tmp_path))
    assert isinstance(events[-1], Note)
    assert "the same command goes on" in events[-1].text
    assert 0 < newest(tmp_path) < PLAN.images


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    run = fit(Line(), PLAN, tmp_path)
    next(e for e in run if isinstance(e, Checkpoint))
    run.close()
    with pytest.raises(BadInput, match=r"begun with learning_rate=0\.05, not 0\.01; seed=3, not 4\. Give the same"):
        next(fit(Line(), plan(learning_rate=0.01, seed=4), tmp_path))
    with pytest.raises(BadInput, match=r"items_a_step=20, not 40"):
        next(fit(Line(batch_size=40), PLAN, tmp_path))
    assert next(fit(Line(batch_size=20), plan(images=3000, save_seconds=9), tmp_path))


def test_a_loss_that_is_no_number_stops(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"mse became nan after 1000 items.*is kept in .*Lower --learning-rate"):
        list(fit(Exploding(), PLAN, tmp_path))
    assert newest(tmp_path) == 1000
    with pytest.raises(Diverged, match=r"after 1000 items, so training stopped; there is no checkpoint from before"):
        list(fit(Exploding(), plan(save_seconds=99), tmp_path / "unsaved"))
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


class Wide(Line):
    """Its facts hold its network's arguments."""

    width = 3

    def facts(self) -> dict:
        return super().facts() | {"config": {"depth": 2, "width": self.width}}


def test_of_a_changed_network_only_the_change_is_told(tmp_path: Path) -> None:
    list(fit(Wide(), plan(images=40), tmp_path))
    other = Wide()
    other.width = 4
    with pytest.raises(BadInput, match=r"was begun with config\.width=3, not 4\. Give"):
        next(fit(other, PLAN, tmp_path))


def test_one_training_at_a_time_in_a_folder(tmp_path: Path) -> None:
    """The lock ends with the training, however it ends."""
    run = fit(Line(), PLAN, tmp_path)
    next(run)
    with pytest.raises(BadInput, match="Another training is at work in"):
        next(fit(Line(), PLAN, tmp_path))
    run.close()
    with pytest.raises(Diverged):
        list(fit(Exploding(), PLAN, tmp_path / "other"))
    next(fit(Exploding(), PLAN, tmp_path / "other"))
    assert next(fit(Line(), PLAN, tmp_path))


@pytest.mark.parametrize("changes", [{"precision": "fp16"}, {"learning_rate": 1e30, "clip": 1e30, "warmup": 0}])
def test_a_training_that_comes_to_nothing_leaves_nothing(tmp_path: Path, changes: dict) -> None:
    if torch.cuda.is_available():
        pytest.skip("fp16 works here")
    with pytest.raises(BadInput):
        list(fit(Line(), plan(**changes, save_seconds=99), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_folder_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(BadInput, match="cannot be the folder of a run: a file has this name"):
            next(fit(Line(), PLAN, folder))


class Hungry(Line):
    """A step raises what its maker wishes."""

    def __init__(self, error: Exception):
        super().__init__()
        self.error = error

    def step(self, model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_too_little_memory_is_a_sentence(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(BadInput, match=r"does not suffice for 20 items at once; lower --batch"):
        next(fit(Hungry(error), PLAN, tmp_path))
    with pytest.raises(RuntimeError, match="shapes"):
        next(fit(Hungry(RuntimeError("shapes differ")), PLAN, tmp_path))


def test_log_lines_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    list(fit(Line(), plan(images=1000), tmp_path))
    with open(tmp_path / "metrics.jsonl", "a") as log:
        log.write('{"images_seen": 99999, "mse": 0}\n{"images_se')
    list(fit(Line(), plan(images=2000), tmp_path))
    seen = [json.loads(line)["images_seen"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert seen == sorted(seen)
    assert max(seen) == 2000


def test_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    list(fit(Line(), PLAN, tmp_path))
    last = sorted((tmp_path / "checkpoints").glob("state_*"))[-1]
    last.write_bytes(last.read_bytes()[:100])
    assert load_checkpoint(tmp_path / "checkpoints") is not None


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    """A real limit on file size: the system refuses the write half-way."""
    list(fit(Line(), plan(images=1000), tmp_path))
    limit = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600)); sys.argv = sys.argv[1:]; "
    limit += "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = [sys.executable, "-c", limit, *command(tmp_path, "line")[1:]]
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be written: File too large" in done.stderr
    assert newest(tmp_path) == 1000
    assert not list((tmp_path / "checkpoints").glob(".*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(BadInput, match=r"metrics\.jsonl' cannot be written: No space left on device"):
        list(fit(Line(), PLAN, tmp_path))


def test_what_is_no_number_is_null_in_the_log(tmp_path: Path) -> None:
    log = Log(tmp_path, (), {}, 0)
    log.figures(4, {"gradient": float("inf"), "mse": 1.0})
    assert log_of(tmp_path) == [{"images_seen": 4, "gradient": None, "mse": 1.0}]


def test_half_precision_needs_a_gpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(BadInput, match="fp16 needs a GPU"):
            next(fit(Line(), plan(precision="fp16"), tmp_path))
    list(fit(Line(), plan(precision="bf16"), tmp_path / "bf16"))
    assert abs(trained(Line(), tmp_path / "bf16").weight.item() - 2) < 0.1


def test_rate_rises_and_falls() -> None:
    linear = Training(images=1000, warmup=100, fall=0.5, learning_rate=1.0)
    assert rate_at(0, linear) < 0.02
    assert rate_at(300, linear) == 1.0
    assert abs(rate_at(750, linear) - 0.5) < 1e-9
    cosine = linear.model_copy(update={"schedule": "cosine"})
    assert abs(rate_at(750, cosine) - 0.5) < 1e-9
    assert rate_at(600, cosine) > rate_at(600, linear)
    assert rate_at(999, linear.model_copy(update={"schedule": "constant"})) == 1.0


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.drop = nn.Linear(8, 8), nn.Linear(8, 8), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        return x + scale * self.two(self.drop(self.one(x)).tanh())


def test_recomputed_blocks_give_the_same_gradients() -> None:
    nets = []
    for recompute in (False, True):
        torch.manual_seed(0)
        net = nn.ModuleList([nn.Linear(8, 8), Block(), Block()])
        if recompute:
            assert recompute_blocks(net) == 2
        x, kept = torch.randn(4, 8), list[int]()

        def note(tensor: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept.append(tensor.numel())
            return tensor

        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            for layer in net:
                x = layer(x, scale=0.5) if isinstance(layer, Block) else layer(x)
            x.square().sum().backward()
        nets.append((net, sum(kept)))
    (plain, much), (forgetful, little) = nets
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(plain.parameters(), forgetful.parameters()))
    assert little < much
