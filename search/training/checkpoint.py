"""The state of a search or a training after an epoch, in one file: what a resumed run needs to end as it would have.

Random numbers need no state: the order of the samples is a function of (seed, stage, epoch).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..tensors import check_tensors, load_tensors, save_tensors

Row = dict[str, Any]  # one line of history.jsonl


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimizers: Mapping[str, Optimizer],
    rows: list[Row],
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Weights, buffers, optimizer states, the loss scale and the history, one row per finished epoch."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for word, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{word}.{index}.{key}": value for key, value in state.items() if isinstance(value, Tensor)}
    state = {"rows": rows, "scale": {} if scaler is None else scaler.state_dict()}
    save_tensors(path, tensors, {"state": json.dumps(state)})  # one entry: safetensors keeps several in no fixed order


def load_checkpoint(
    path: Path, network: nn.Module, optimizers: Mapping[str, Optimizer], scaler: torch.amp.GradScaler | None = None
) -> list[Row]:
    """Fill network and optimizers in place and return the rows of the finished epochs; [] where there is no file.

    Raises InputError when the file is damaged or belongs to another network.
    """
    if not path.exists():
        return []
    tensors, metadata = load_tensors(path)
    weights = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
    check_tensors(path, weights, network.state_dict())
    network.load_state_dict(weights)
    for word, optimizer in optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(f"{word}."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    found = json.loads(metadata["state"])
    if scaler is not None and found["scale"]:
        scaler.load_state_dict(found["scale"])
    rows: list[Row] = found["rows"]
    return rows
