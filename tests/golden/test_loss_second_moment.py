"""The loss-aware timestep sampler equals guided-diffusion's resample.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lienzo.diffusion.timestep_samplers import LossSecondMomentSampler, importance_weights


@pytest.mark.golden("guided_loss_second_moment*.json")
def test_weights_after_the_same_losses(golden_path: Path) -> None:
    case = json.loads(golden_path.read_text())
    n = case["num_timesteps"]
    sampler = LossSecondMomentSampler(n, history_per_term=case["history_per_term"], uniform_prob=case["uniform_prob"])
    for seen, losses in enumerate(case["losses_in_order"]):
        if seen < case["history_per_term"]:
            assert torch.equal(sampler.weights(), torch.ones(n, dtype=torch.float64))
        sampler.update(torch.arange(n), torch.tensor(losses, dtype=torch.float64))
    expected = torch.tensor(case["weights_after"], dtype=torch.float64)
    torch.testing.assert_close(sampler.weights(), expected, rtol=1e-12, atol=0)
    expected = torch.tensor(case["importance_weights"], dtype=torch.float64)
    torch.testing.assert_close(importance_weights(sampler.weights()), expected, rtol=1e-12, atol=0)
