"""Models of a card with chosen figures, for tests of what is done with them."""

from __future__ import annotations

from lienzo.tasks.card_file import Entry, Facts, Figure, Real


def entry(label: str, *, n: int = 100, sha: str = "0" * 64, **values: float) -> Entry:
    """A model with the named figures, each with an interval of a tenth to both sides."""
    figures = tuple(
        Figure(name=name, value=value, interval=(value * 0.9, value * 1.1), protocol=f"{name}[net=judge,n={n}]")
        for name, value in values.items()
    )
    return Entry(
        label=label, network="Net", sha256=sha, files=(f"{label}.safetensors",), settings={"steps": 6},
        prompts="captions:1", command=f"lienzo card {label} --real x", facts=Facts(), figures=figures,
    )  # fmt: skip


def real(**values: float) -> Real:
    """Real pictures, and what as many others score."""
    others = tuple(Figure(name=name, value=value, protocol=f"{name}[n=100]") for name, value in values.items())
    return Real(given="pictures", digest="ab12", pictures=100, classes=("a", "b"), others=others)
