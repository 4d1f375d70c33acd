"""Foreign text made safe to show."""

from hypothesis import given
from hypothesis import strategies as st

from lienzo.core.text import printable


def test_escapes_lose_their_meaning() -> None:
    assert printable("\x1b[2Jevil\x07\x9b31m\0") == "[2Jevil31m"
    assert printable("safe\u202etxt.exe") == "safetxt.exe"
    assert printable("\ud800a") == "a"


def test_text_of_any_script_stays() -> None:
    assert printable("niño рыжая 🦊👩‍🎨") == "niño рыжая 🦊👩‍🎨"


def test_one_line_of_limited_length() -> None:
    assert printable("a\nb\tc\r") == "a b c "
    assert printable("x" * 10, limit=10) == "x" * 10
    assert printable("x" * 11, limit=10) == "xxxxxxxxx…"


@given(st.text())
def test_nothing_of_control_is_left(text: str) -> None:
    shown = printable(text)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    assert shown.encode("utf-8").decode() == shown
