"""Seeds without torch: which seed a picture has, and which one a training step has."""

import hashlib

MAX_SEED = 2**63 - 1


def picture_seed(seed: int, index: int) -> int:
    """The seed of picture `index` of a batch: `seed + index`, so picture 3 of seed 7 is picture 0 of seed 10."""
    return (seed + index) % (MAX_SEED + 1)


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed from any parts, e.g. (seed, rank, images_seen): the same parts give the same seed anywhere.

    A training step that seeds itself from `derived_seed(seed, rank, images_seen)` needs no saved random state:
    a run that was killed and one that was not draw the same noise (the idea of NVIDIA's EDM2 loop).
    """
    text = "\x1f".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
