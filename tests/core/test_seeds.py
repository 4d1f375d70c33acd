"""Seeds are the same everywhere and for ever: a change here changes every picture and every resumed run."""

from __future__ import annotations

from lienzo.core.seeds import MAX_SEED, derived_seed, picture_seed


def test_derived_seeds_are_frozen() -> None:
    assert derived_seed(0) == FROZEN[0]
    assert derived_seed(7, "candidate", 3) == FROZEN[1]
    assert derived_seed("niño", 2**63) == FROZEN[2]


def test_parts_do_not_run_together() -> None:
    parts = [(1, 23), (12, 3), ("123",), (1, 2, 3), ("1", "2", "3", ""), (3, 2, 1)]
    assert len({derived_seed(*p) for p in parts}) == len(parts)


def test_seeds_fit_a_generator() -> None:
    assert all(0 <= derived_seed(i) <= MAX_SEED for i in range(2000))
    assert any(derived_seed(i) > MAX_SEED // 2 for i in range(50))


def test_pictures_of_a_run_have_neighbouring_seeds() -> None:
    assert [picture_seed(7, i) for i in range(3)] == [7, 8, 9]
    assert picture_seed(7, 3) == picture_seed(10, 0)
    assert picture_seed(MAX_SEED, 1) == 0


FROZEN = (4761921975702974394, 7389260681214683999, 7391324324559856585)
