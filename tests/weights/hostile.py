"""Pickles that would run code in a careless reader; each would create the marker file."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any


def payload(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


class Runs:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function: Any, *args: Any, state: Any = None):
        self.call = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self.call


class Configured:
    """Pickles as an object whose state is set by BUILD."""

    def __init__(self, state: Any):
        self.state = state

    def __reduce__(self) -> Any:
        return (Configured, (None,), self.state)

    def __setstate__(self, state: Any) -> None:
        exec(state)


def attacks(marker: Path) -> dict[str, bytes]:
    """Complete pickles by name."""
    code = payload(marker)
    text = code.encode()
    found = {
        "os.system": pickle.dumps(Runs(os.system, f"touch {marker}")),
        "eval": pickle.dumps(Runs(eval, code)),
        "exec": pickle.dumps(Runs(exec, code)),
        "setstate": pickle.dumps(Configured(code)),
        "nested": pickle.dumps({"state_dict": [{"a": (1, Runs(exec, code))}]}),
        "nested pickle": pickle.dumps(Runs(pickle.loads, pickle.dumps(Runs(exec, code)))),
        "protocol 0": pickle.dumps(Runs(exec, code), protocol=0),
        "protocol 1": pickle.dumps(Runs(exec, code), protocol=1),
        "instance": b"\x80\x02(S" + repr(code).encode() + b"\ni__builtin__\nexec\n.",
        "object": b"\x80\x02(c__builtin__\nexec\nS" + repr(code).encode() + b"\no.",
        "newobj": b"\x80\x02cbuiltins\nexec\nX" + len(text).to_bytes(4, "little") + text + b"\x85\x81.",
        "copyreg extension": b"\x80\x02\x82\x01X" + len(text).to_bytes(4, "little") + text + b"\x85R.",
        "getattr": b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93\x8c\x08builtins\x8c\x04dict\x93\x8c\x03get\x86R.",
        "setitem on module": b"\x80\x02ccopyreg\n__dict__\nX\x01\x00\x00\x00aK\x01s.",
        "torch.load": b"\x80\x02ctorch\nload\nX\x04\x00\x00\x00/tmp\x85R.",
        "numpy.load": b"\x80\x02cnumpy\nload\nX\x04\x00\x00\x00/tmp\x85R.",
        "reconstructor": b"\x80\x02ccopy_reg\n_reconstructor\nc__builtin__\neval\nc__builtin__\nobject\nN\x87R.",
        "dict rule with a callable": b"\x80\x02ccollections\ndefaultdict\ncposix\nsystem\n\x85R.",
        "odd callee": b"\x80\x02X\x04\x00\x00\x00exec)R.",
    }
    inner = pickle.dumps(Runs(exec, code))
    found["load_from_bytes"] = (
        b"\x80\x03ctorch.storage\n_load_from_bytes\nB" + len(inner).to_bytes(4, "little") + inner + b"\x85R."
    )
    return found


def archive(parts: dict[str, bytes], root: str = "archive") -> bytes:
    """A stored zip as torch lays it out."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in parts.items():
            made.writestr(f"{root}/{name}", data)
    return file.getvalue()
