"""Write docs/models.md from the cards inside the bundled models: python docs/make_models.py"""

from __future__ import annotations

from pathlib import Path

from lienzo.weights.models import read_record
from lienzo.weights.store import list_models

HEAD = """# The bundled models

One self-describing safetensors file each, trained by `lienzo train bundled` from the corpus of `lienzo data build art`,
on permissively licensed pictures only. `lienzo models show NAME` prints the card below; `lienzo models verify` checks
that a file is what its card was written for. This page is written by `python docs/make_models.py`. Where a judge
gave a figure, it is the judge that came with Lienzo when the model was trained; the README has the present one's.

"""


def main() -> None:
    models = [model for model in list_models() if model.bundled and model.card]
    lines = ["| name | network | size | what it is |", "|---|---|---|---|"]
    sections = []
    for model in models:
        card, record = model.card, read_record(model.path)
        assert card is not None
        size = f"{model.size / 1e6:.1f} MB"
        lines.append(f"| [{model.name}](#{model.name}) | {record['network']} | {size} | {card.title} |")
        sections += [f"\n## {model.name}\n", f"**{card.title}.** {card.description}\n"]
        sections += [f"*What fails.* {card.limits}\n"]
        sections += [f"Licence of the weights: {card.licence}. Made with {card.made_with}.\n"]
        if card.metrics:
            sections += ["| figure | value | protocol |", "|---|---|---|"]
            sections += [f"| {m.name} | {m.value:g} | {m.protocol} |" for m in card.metrics]
        data = "; ".join(f"{d.name} ({d.licence})" for d in card.training_data)
        sections += ["", f"Learned from: {data}."]
    (Path(__file__).parent / "models.md").write_text(HEAD + "\n".join([*lines, *sections]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
