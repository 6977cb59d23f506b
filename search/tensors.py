"""Named tensors in one file, written whole or not at all: safetensors, never pickle."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import InputError
from ..files import replacing
from ..path_kind import itself


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors, and text beside them, as one safetensors file."""
    copies = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    whole = save(copies, dict(metadata or {}))  # its save_file has temporary files of its own, which a kill would leave
    with replacing(path) as temporary:
        temporary.write_bytes(whole)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The inverse of `save_tensors`. Raises InputError naming the file when it is missing or damaged."""
    if not itself(path).is_file():
        raise InputError(f"There is no file '{path}'; run the stage that writes it.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except SafetensorError as error:
        raise InputError(
            f"'{path}' must be a safetensors file, but is damaged ({error}); copy it again or train again."
        ) from error


def check_tensors(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raises InputError that names the first tensor that is missing, unknown, of another shape or not finite."""
    for name in sorted(wanted.keys() ^ tensors.keys()):
        word = "misses" if name in wanted else "has the unknown"
        raise InputError(f"'{path}' {word} tensor '{name}'; take the file that belongs to this network.")
    for name, tensor in wanted.items():
        if tensor.shape != tensors[name].shape:
            raise InputError(
                f"'{path}': tensor '{name}' must have shape {list(tensor.shape)}, but has "
                f"{list(tensors[name].shape)}; take the file that belongs to this network."
            )
        if not torch.isfinite(tensors[name]).all():
            raise InputError(
                f"'{path}': every weight must be finite, but tensor '{name}' is not; "
                "the training diverged or the file is damaged: train again with a lower learning rate."
            )
