"""Named tensors in one file, written whole or not at all: safetensors, never pickle."""

import struct
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import InputError
from ..files import replacing
from ..path_kind import WEIGHTS, expected, itself, kind_of

STATE_DICTS = ("state_dict", "model_state_dict", "model", "network", "net")  # where checkpoints keep weights
# what torch raises of a file with more than weights, or of a damaged one
NOT_WEIGHTS = (
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError),
    *(OSError, EOFError, struct.error),
    torch.serialization.pickle.UnpicklingError,  # type: ignore[attr-defined]
)


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


def load_weights(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network that was trained elsewhere: safetensors, or what torch.save wrote, never unpickled.

    Where a checkpoint holds more than weights, those under one of the usual names are meant, and what DataParallel,
    torch.compile or a module around the network put before every name is taken off, so that they are those of `wanted`.
    Raises InputError where the file is missing or damaged or holds no weights.
    """
    if kind_of(expected(path, WEIGHTS, "--weights")) == "safetensors":
        return _renamed(load_tensors(path)[0], wanted)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # it is read, or refused below
            found = torch.load(path, map_location="cpu", weights_only=True)
    except NOT_WEIGHTS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"'{path}' cannot be read as weights alone ({reason}); save them with "
            "safetensors.torch.save_file(network.state_dict(), 'weights.safetensors')."
        ) from error
    for _ in range(3):  # {"model": {"state_dict": {...}}}
        if isinstance(found, Mapping) and not _are_tensors(found):
            found = next((found[name] for name in STATE_DICTS if name in found), found)
    if not isinstance(found, Mapping) or not _are_tensors(found):
        raise InputError(
            f"'{path}' holds no state dict, neither by itself nor as {', '.join(STATE_DICTS)}; save "
            "network.state_dict()."
        )
    return _renamed(dict(found), wanted)


def _are_tensors(found: Mapping[object, object]) -> bool:
    return bool(found) and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in found.items())


def _renamed(tensors: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what stands before every name, if they are those that are wanted then."""
    inner = tensors
    while inner.keys() != wanted.keys():
        if len({name.partition(".")[0] for name in inner}) != 1 or not all("." in name for name in inner):
            return tensors
        inner = {name.partition(".")[2]: tensor for name, tensor in inner.items()}
    return inner


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
