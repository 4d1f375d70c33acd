"""Speed and memory of one model, measured in a fresh process that only loads it and draws.

`time_model` starts `python -m lienzo.tasks.card_speed JOB` and reads its lines; `main` is that process. Nothing else
has run in it, so that its peak memory is that of drawing: on a CPU its peak resident memory, Python and torch
included; on CUDA the most that torch had allocated there.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lienzo.core.errors import BadInput, LienzoError
from lienzo.core.events import Event, Progress
from lienzo.core.text import printable

if TYPE_CHECKING:
    import torch

    from lienzo.metrics.protocol import Score

BATCHES = (1, 16)


@dataclass(frozen=True)
class Job:
    """What the process does: one picture for warming up, then `repeats` timed draws, for each size of batch."""

    model: str
    device: str
    threads: int
    prompt: str
    seed: int
    repeats: int
    steps: int | None = None
    sampler: str | None = None
    guidance: float | None = None
    batches: tuple[int, ...] = BATCHES


@dataclass
class Timing:
    """What it found.

    Attributes:
        seconds: by batch, seconds a picture of each repeat.
        peak: by batch, peak memory in bytes; without an entry where the system does not tell.
        evaluations: how often the network ran for a picture.
        parameters: numbers in the network.
    """

    seconds: dict[int, list[float]] = field(default_factory=dict)
    peak: dict[int, int] = field(default_factory=dict)
    evaluations: float = 0.0
    parameters: int = 0


def place_of(device: torch.device) -> dict[str, str | int]:
    """Where times are taken, for their protocol: two machines' times are not compared."""
    import torch

    if device.type == "cuda":
        machine = torch.cuda.get_device_name(device)
    else:
        machine = _processor()
    return {"device": device.type, "machine": machine, "threads": torch.get_num_threads(), "torch": torch.__version__}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        named = []
    return " ".join((named or [platform.processor() or platform.machine()])[0].split())


def time_model(job: Job, label: str) -> Generator[Event, None, Timing]:
    """Run the process and collect what it says; closing the generator ends it.

    Raises:
        BadInput: the model cannot draw what the job asks for.
        LienzoError: the process ended before it was done.
    """
    found, began, total = Timing(), time.monotonic(), len(job.batches) * (job.repeats + 1)
    # -P: a file of the user's folder must not stand in for a module
    command = [sys.executable, "-P", "-m", "lienzo.tasks.card_speed", json.dumps(asdict(job))]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True, encoding="utf-8")
        try:
            assert child.stdout is not None
            done = 0
            for message in _messages(child.stdout):
                if "error" in message:
                    raise BadInput(message["error"])
                done += message.get("kind") in ("warm", "timed")
                _collect(found, message)
                yield Progress(f"time {label}", done, total, time.monotonic() - began, "draw")
            status = child.wait()
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        if status != 0 or not found.parameters:
            raise LienzoError(_why(label, status, complaints))
    return found


def _messages(stream: IO[str]) -> Generator[dict[str, Any], None, None]:
    """The process's own lines; what libraries print in between is passed over."""
    for line in stream:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict) and ("kind" in message or "error" in message):
            yield message


def _collect(found: Timing, message: Mapping[str, Any]) -> None:
    if message["kind"] == "timed":
        found.seconds.setdefault(message["batch"], []).append(message["seconds"])
    elif message["kind"] == "peak":
        found.peak[message["batch"]] = message["bytes"]
    elif message["kind"] == "done":
        found.evaluations, found.parameters = message["evaluations"], message["parameters"]


def _why(label: str, status: int, complaints: IO[str]) -> str:
    if status < 0:
        return f"The process that timed '{label}' was stopped by signal {-status}; often memory is too small."
    complaints.seek(0)
    lines = [line.strip() for line in complaints.read().splitlines() if line.strip()]
    return f"The process that timed '{label}' failed: {printable(lines[-1] if lines else f'status {status}', 200)}"


def scores_of(timing: Timing, job: Job, place: Mapping[str, str | int], bytes_on_disk: int) -> list[Score]:
    """The figures of speed and size, each with its protocol; of times, the median with the lowest and highest."""
    from lienzo.metrics.protocol import Protocol, Score

    scores = []
    for batch, seconds in timing.seconds.items():
        protocol = seconds_protocol(job, place, batch)
        scores.append(Score(protocol.name, statistics.median(seconds), protocol, (min(seconds), max(seconds))))
    scores += [
        Score("evaluations", timing.evaluations, Protocol.of("evaluations", {"of": "picture"})),
        Score("parameters", timing.parameters, Protocol.of("parameters", {"of": "network"})),
        Score("file_mb", bytes_on_disk / 1e6, Protocol.of("file_mb", {"of": "all-files"})),
    ]
    what = "cuda-allocated" if job.device == "cuda" else "resident-of-fresh-process"
    for batch, peak in timing.peak.items():
        protocol = Protocol.of(f"peak_mb_{batch}", {"of": what, "batch": batch}, place)
        scores.append(Score(protocol.name, peak / 1e6, protocol))
    return scores


def seconds_protocol(job: Job, place: Mapping[str, str | int], batch: int) -> Any:
    """How seconds a picture are measured."""
    from lienzo.metrics.protocol import Protocol

    return Protocol.of(f"seconds_{batch}", {"batch": batch, "median_of": job.repeats}, place)


def main(text: str) -> int:
    """The process: draw, time, tell."""
    try:
        given = json.loads(text)
        measure(Job(**given | {"batches": tuple(given["batches"])}), _tell)
    except BadInput as error:
        _tell({"error": str(error)})
        return 2
    return 0


def _tell(message: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def measure(job: Job, tell: Callable[[Mapping[str, object]], None]) -> None:
    """Load the model and time it."""
    import torch

    from lienzo.tasks.drawing import Artist

    torch.set_num_threads(job.threads)
    device = torch.device(job.device)
    artist = Artist(job.model, device, steps=job.steps, sampler=job.sampler, guidance=job.guidance)
    for batch in job.batches:
        seeds = list(range(job.seed, job.seed + batch))
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        for repeat in range(job.repeats + 1):
            began = time.perf_counter()
            artist.batch(job.prompt, seeds)  # its pictures come back as arrays, so the device has finished
            seconds = (time.perf_counter() - began) / batch
            tell({"kind": "timed" if repeat else "warm", "batch": batch, "seconds": seconds})
        if (peak := _peak(device)) is not None:
            tell({"kind": "peak", "batch": batch, "bytes": peak})
    tell({"kind": "done", "evaluations": artist.evaluations, "parameters": artist.parameters})


def _peak(device: torch.device) -> int | None:
    """Peak memory of this process in bytes, where it can be told."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    return resident_peak() if device.type == "cpu" else None


def resident_peak() -> int | None:
    """The most memory that this process ever held, in bytes; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux; its getrusage would count the parent's memory before the program started
        found = [line.split()[1] for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM:")]
        return int(found[0]) * 1024 if found else None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
