import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from drawn import write

from lienzo.core.errors import BadInput
from lienzo.data.opening import open_data


def file_of(digit: int, count: int) -> str:
    values = np.zeros((count, 784))
    values[:, 100 + digit] = np.arange(1, count + 1) / 10
    return json.dumps({"data": values.ravel().tolist()})


@pytest.mark.parametrize("inside", ["package/src/digits", "src/digits", "digits", "."])
def test_digits_of_the_npm_package(tmp_path: Path, inside: str) -> None:
    files: dict[str, bytes | str] = {f"{inside}/{digit}.json": file_of(digit, digit % 3 + 1) for digit in range(10)}
    write(tmp_path, files)
    if inside != ".":
        write(tmp_path, {f"{inside.partition('/src')[0]}/package.json": "{}"})
    data = open_data(str(tmp_path), 28)
    assert data.labels.tolist() == [digit for digit in range(10) for _ in range(digit % 3 + 1)]
    assert data.label_names == tuple("0123456789")
    pictures = data.images[np.arange(len(data))]
    assert pictures.shape == (19, 28, 28, 3)
    for row, digit in enumerate(data.labels.tolist()):
        assert pictures[row].sum() == 3 * pictures[row].reshape(784, 3)[100 + digit, 0]
    assert pictures[2].max() == 51  # 0.2 of 255
    with pytest.raises(BadInput, match="not divided"):
        open_data(str(tmp_path), 28, split="test")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"data": 3}', '{"data": [0.5]}', '{"data": ["a"]}', '{"data": [[0]]}',
     json.dumps({"data": [1.5] * 784}), json.dumps({"data": [float("nan")] * 784}), "[" * 100_000],
)  # fmt: skip
def test_broken_files(tmp_path: Path, content: str) -> None:
    write(tmp_path, {"0.json": file_of(0, 1), "1.json": content})
    with pytest.raises(BadInput, match=r"'1\.json' needs the form"):
        open_data(str(tmp_path), 28)
