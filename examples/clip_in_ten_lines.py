"""Which of three captions fits a picture, and which of 200 pictures fit a sentence: CLIP in ten lines, offline.

The pictures are drawn on the spot by the painter that comes with Lienzo, so nothing is downloaded.

    python examples/clip_in_ten_lines.py [FOLDER FOR ANSWER.PNG]
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lienzo.clip.embedder import DEFAULT_CLIP, open_embedder
from lienzo.imaging.grids import contact_sheet
from lienzo.imaging.writing import save_picture
from lienzo.tasks.drawing import Artist

COLOURS = "red yellow green blue purple pink brown grey black white".split()
THINGS = (
    "apple,car,cat,fish,house,tree,sailing boat,flower,bird,mushroom,hat,cup,dog,guitar,star,heart,key,bus,cake,owl"
)
CAPTIONS = ["a red apple", "a blue car", "a green tree"]
SENTENCE = "a blue fish"


def main(folder: Path, count: int = 200) -> None:
    prompts = [f"a {colour} {thing}" for thing in THINGS.split(",") for colour in COLOURS][:count]
    pictures = [drawn.image for drawn in Artist("painter", torch.device("cpu")).draw(prompts)]

    clip = open_embedder(DEFAULT_CLIP)
    vectors = clip.pictures(np.stack([clip.prepare(Image.fromarray(picture)) for picture in pictures]))  # (200, D)

    logits = torch.from_numpy(clip.texts(CAPTIONS) @ vectors[0]) * clip.scale  # the first picture and three captions
    for caption, share in zip(CAPTIONS, logits.softmax(dim=0).tolist()):
        print(f"{caption}: {share:.1%}")

    scores = vectors @ clip.texts([SENTENCE])[0]  # all pictures and one sentence
    best = scores.argsort()[::-1][:10]
    print(f"{SENTENCE!r} fits best the picture that was drawn for {prompts[best[0]]!r}.")

    labels = [f"{scores[i]:.2f}, drawn for {prompts[i]}" for i in best]
    save_picture(contact_sheet([pictures[i] for i in best], labels, columns=5), folder / "answer.png", exist_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
