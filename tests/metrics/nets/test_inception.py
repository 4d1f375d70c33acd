"""FID's Inception from a file of the user's. That its features are right is proven by the golden file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lienzo.core.errors import BadInput, BadWeights
from lienzo.metrics.nets import FEATURE_NETS, inception, open_feature_net
from lienzo.metrics.nets.inception import FILE, Inception, detect, load, manifest, open_inception
from lienzo.weights.models import load_model

PICTURES = np.random.default_rng(0).integers(0, 256, (1, 30, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of the original's kind, of torch.save and with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("inception") / FILE
    state = Inception().state_dict()
    torch.save({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, path)
    yield path
    path.unlink()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIENZO_HOME", str(tmp_path))
    return tmp_path


def test_the_file_is_recognised_and_opened(path: Path, home: Path) -> None:
    model = load_model(path)
    assert isinstance(model, Inception)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    net = open_inception(path, "cpu", resize="clean", tap=192)
    assert net.made == {"net": "inception-v3.192", "sha": net.sha, "resize": "clean"}
    assert len(net.sha) == 8
    assert not net.logits
    features = net(PICTURES)
    assert features.rows.shape == (1, 192)
    assert features.logits is None
    whole = open_inception(path, "cpu")
    found = whole(PICTURES)
    assert found.rows.shape == (1, whole.dim) == (1, 2048)
    assert found.logits is not None
    torch.testing.assert_close(found.logits, found.rows @ model.fc.weight.T, rtol=1e-4, atol=1e-5)


def test_the_file_may_lie_in_the_folder_of_models(path: Path, home: Path) -> None:
    with pytest.raises(BadInput, match=rf"give the path of {FILE}, or put it into"):
        open_feature_net("inception")
    (home / "models").mkdir()
    (home / "models" / FILE).symlink_to(path)
    names = [name for name in FEATURE_NETS if name.startswith("inception")]
    resizes = [open_feature_net(name).resize for name in names]
    assert resizes == ["pytorch-fid", "tf", "clean", "legacy_tensorflow", "legacy_pytorch"]


def test_manifest() -> None:
    shapes = manifest()
    assert len(shapes) == 566
    assert shapes["fc.weight"] == (1008, 2048)
    assert shapes["Mixed_6c.branch7x7dbl_2.conv.weight"] == (160, 160, 7, 1)


def test_what_is_another_network() -> None:
    state = {key: torch.zeros(shape) for key, shape in manifest().items() if "Mixed" not in key}
    with pytest.raises(BadWeights, match=r"not those of FID's Inception: 'Mixed_5b.branch1x1.conv.weight', .* missing"):
        load(state)
    with pytest.raises(BadWeights, match="torchvision's Inception, which gives other figures"):
        load({"AuxLogits.fc.weight": torch.zeros(1), **state})
    assert not detect(nn.Linear(1, 1).state_dict())
    wrong = {key: torch.zeros(shape, device="meta") for key, shape in manifest().items()}
    wrong["Conv2d_1a_3x3.conv.weight"] = torch.zeros(32, 3, 5, 5)
    with pytest.raises(BadWeights, match=r"'Conv2d_1a_3x3.conv.weight' has shape \(32, 3, 5, 5\), not \(32, 3, 3, 3\)"):
        load(wrong)


def test_counters_may_be_missing() -> None:
    model = Inception()
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert torch.equal(load(state).fc.bias, model.fc.bias)


def test_wrong_options(path: Path, home: Path) -> None:
    with pytest.raises(BadInput, match="64, 192, 768 and 2048 numbers, not 512"):
        open_inception(path, "cpu", tap=512)
    with pytest.raises(BadInput, match="no resize protocol 'cleen'; did you mean 'clean'"):
        open_inception(path, "cpu", resize="cleen")
    with pytest.raises(BadInput, match="not \\[5\\]"):
        inception.Inception().taps(torch.zeros(1, 3, 75, 75), {5, 64})
    with pytest.raises(BadWeights, match="another network"):
        open_inception("judge", "cpu")
    with pytest.raises(BadInput, match="does not exist"):
        open_inception("nowhere.pth", "cpu")
