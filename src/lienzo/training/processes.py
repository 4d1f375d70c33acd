"""Several processes on one machine or many, started by torchrun: who does what, and how they agree."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from lienzo.core.errors import BadInput

LOST = ("by peer", "remote process exited")
"""What gloo and NCCL say of a process that went away; they have no class of their own for it."""


class Processes:
    """This process among its peers. With one process every method is local and free.

    Attributes:
        accelerator: places tensors, wraps the network, sums gradients.
        rank, count: this process's number and how many there are.
        main: whether this one writes files and yields events.
    """

    def __init__(self) -> None:
        if torch.distributed.is_available():
            # Its functions keep the group there is when they are defined as a default argument, for ever, and wrapping
            # a network imports it: defined before there is a group, they keep none, and `_leave` can end its threads.
            import_module("torch.distributed.nn")
        there = torch.cuda.is_available() or torch.backends.mps.is_available()
        self.accelerator = Accelerator(cpu=not there)
        self.rank, self.count = self.accelerator.process_index, self.accelerator.num_processes
        self.main = self.accelerator.is_main_process
        if self.count > 1:
            atexit.register(self._leave)
        self._wrapped: nn.Module | None = None

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network on this process's device; with several processes, one that sums its gradients over them."""
        wrapped = self.accelerator.prepare_model(network)
        self._wrapped = wrapped if wrapped is not network else None
        return wrapped

    def _leave(self) -> None:
        """End the group and its threads while Python is still whole.

        A thread of gloo that lets go of the last tensors of a sum needs Python's lock. Once the interpreter ends it is
        not given the lock any more but unwound, in a destructor, which aborts the process. The threads end with the
        group's last owner; one that wraps the network may live on in a traceback.
        """
        if self._wrapped is not None:
            vars(self._wrapped).update(dict.fromkeys(("logger", "reducer", "process_group")))
        gc.collect()
        PartialState().destroy_process_group()

    def part(self) -> None:
        """Wait for the others at the end of a run: one that leaves early would take its open connections along."""
        self.accelerator.wait_for_everyone()

    @contextmanager
    def together(self) -> Iterator[None]:
        """While inside, the end of another process ends this one with a sentence.

        Raises:
            BadInput: another process can no longer be reached.
        """
        try:
            yield
        except RuntimeError as error:
            if self.count == 1 or not any(words in str(error) for words in LOST):
                raise
            raise BadInput(
                "Another process of this training has ended, so this one stopped too; what it said is above, and the "
                "same command goes on from the last checkpoint."
            ) from error

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def agree(self, *wishes: bool) -> list[bool]:
        """For each wish, whether any process has it."""
        if self.count == 1:
            return list(wishes)
        wanted = torch.tensor(wishes, dtype=torch.int32, device=self.device)
        return [bool(n) for n in self.accelerator.reduce(wanted, "sum").tolist()]

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes in order of rank."""
        return rows if self.count == 1 else self.accelerator.gather(rows.to(self.device)).to(rows.device)

    def share(self, make: Callable[[], Any]) -> Any:
        """What the main process makes, on every process; an error there is raised everywhere."""
        if self.count == 1:
            return make()
        box: list[Any] = [None, None]
        if self.main:
            try:
                box[0] = make()
            except Exception as error:
                box[1] = error
        made, failed = broadcast_object_list(box)
        if failed is not None:
            raise failed
        return made
