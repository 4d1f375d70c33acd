"""Filling a network from a state dict that must fit exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

from lienzo.core.errors import BadWeights

Network = TypeVar("Network", bound=nn.Module)


def fill_exactly(network: Network, state: Mapping[str, Tensor], what: str) -> Network:
    """Give `network` (built on the meta device, or anywhere) the tensors of `state`, key by key.

    The tensors are taken over, not copied, where their dtype is the parameter's; nothing is filled on error.

    Args:
        network: its own dtypes decide the dtypes of the result.
        state: key to tensor, with exactly the keys and shapes of the network.
        what: how the sentence of an error names the network, such as "an ADM U-Net".

    Raises:
        BadWeights: one sentence naming up to three missing and three unexpected keys, or a tensor of wrong shape.
    """
    wanted = network.state_dict()
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    if missing or unexpected:
        parts = [_listed(missing, "missing"), _listed(unexpected, "unexpected")]
        raise BadWeights(f"The weights are not those of {what}: {' and '.join(p for p in parts if p)}.")
    for key, value in wanted.items():
        if state[key].shape != value.shape:
            raise BadWeights(
                f"The weights are not those of {what}: '{key}' has shape {tuple(state[key].shape)}, "
                f"not {tuple(value.shape)}."
            )
    network.load_state_dict({key: state[key].to(value.dtype) for key, value in wanted.items()}, assign=True)
    return network


def _listed(keys: list[str], word: str) -> str:
    if not keys:
        return ""
    named = ", ".join(f"'{key}'" for key in keys[:3])
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{named}{more} {'is' if len(keys) == 1 else 'are'} {word}"
