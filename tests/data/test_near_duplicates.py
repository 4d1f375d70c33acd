import numpy as np

from lienzo.data.near_duplicates import alike_concepts, cosine_basis, signatures


def drawing(seed: int) -> np.ndarray:
    """A picture of a dozen coloured boxes on white."""
    rng = np.random.default_rng(seed)
    image = np.full((64, 64, 3), 255, np.uint8)
    for _ in range(12):
        x, y, w, h = rng.integers(2, 40, 2).tolist() + rng.integers(6, 22, 2).tolist()
        image[y : y + h, x : x + w] = rng.integers(0, 220, 3)
    return image


def test_the_basis_is_orthonormal() -> None:
    basis = cosine_basis(16, 64)
    np.testing.assert_allclose(basis @ basis.T, np.eye(16), atol=1e-6)


def test_a_nearly_equal_picture_is_found_and_others_are_not() -> None:
    images = np.stack([drawing(i) for i in range(40)])
    nearly = images[7].copy()
    nearly[30:34, 30:34] = 128
    noise = np.random.default_rng(0).integers(-6, 7, nearly.shape)
    nearly = np.clip(nearly + noise, 0, 255).astype(np.uint8)
    names = [f"c{i}" for i in range(40)] + ["copy"]
    assert alike_concepts(np.concatenate([images, nearly[None]]), names) == [("c7", "copy")]


def test_the_same_shape_in_another_colour_is_another_picture() -> None:
    red, blue = np.full((2, 64, 64, 3), 255, np.uint8)
    red[16:48, 16:48], blue[16:48, 16:48] = (230, 20, 20), (20, 20, 230)
    assert alike_concepts(np.stack([red, blue]), ["red", "blue"]) == []
    assert alike_concepts(np.stack([red, red]), ["red", "crimson"]) == [("crimson", "red")]


def test_pictures_of_one_concept_are_not_pairs_and_blocks_do_not_matter(monkeypatch) -> None:
    images = np.stack([drawing(i % 5) for i in range(20)])
    names = [f"c{i % 10}" for i in range(20)]
    expected = sorted((f"c{i}", f"c{i + 5}") for i in range(5))
    assert alike_concepts(images, names) == expected
    monkeypatch.setattr("lienzo.data.near_duplicates.BLOCK", 3)
    assert alike_concepts(images, names) == expected


def test_signatures_have_unit_length_and_survive_blank_pictures() -> None:
    waves, ink = signatures(np.stack([drawing(1), np.full((64, 64, 3), 255, np.uint8)]))
    assert waves.shape == (2, 255)
    assert ink.shape == (2, 768)
    np.testing.assert_allclose(np.linalg.norm(waves[0]), 1, rtol=1e-5)
    assert np.isfinite(waves).all()
    assert np.isfinite(ink).all()
