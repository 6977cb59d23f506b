"""Weights that other code saved: found in its checkpoint, under its names, and never unpickled."""

import io
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spikeport.errors import InputError
from spikeport.search.tensors import check_tensors, load_weights


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def same(found: dict[str, torch.Tensor], wanted: nn.Module) -> bool:
    state = wanted.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("wrapped", ["", "module.", "_orig_mod.", "model.net."])
def test_what_stands_before_every_name_is_taken_off(wrapped: str, tmp_path: Path) -> None:
    theirs = network()
    save_file({wrapped + name: tensor for name, tensor in theirs.state_dict().items()}, tmp_path / "w.safetensors")
    assert same(load_weights(tmp_path / "w.safetensors", network().state_dict()), theirs)


@pytest.mark.parametrize("around", [(), ("state_dict",), ("model", "state_dict"), ("net",)])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_of_torch(around: tuple[str, ...], zipped: bool, tmp_path: Path) -> None:
    theirs = network()
    saved: object = theirs.state_dict()
    for name in reversed(around):
        saved = {name: saved, "epoch": 3}
    torch.save(saved, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    assert same(load_weights(tmp_path / "w.pt", network().state_dict()), theirs)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code of the file was run')",)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_code_in_a_checkpoint_is_not_run(how: str, tmp_path: Path) -> None:
    file = io.BytesIO()
    if how == "torch":
        torch.save({"w": Evil()}, file)
    else:
        pickle.dump({"w": Evil()}, file)
    (tmp_path / "w.pt").write_bytes(file.getvalue())
    with pytest.raises(InputError, match=r"cannot be read as weights alone .*; save them with safetensors"):
        load_weights(tmp_path / "w.pt", network().state_dict())


def test_a_whole_module_is_no_state_dict(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "weights": [1.0]}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="holds no state dict, neither by itself nor as state_dict, model_state_dict"):
        load_weights(tmp_path / "w.pt", network().state_dict())


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    save_file(nn.Sequential(nn.Linear(2, 3)).state_dict(), tmp_path / "w.safetensors")
    wanted = network().state_dict()
    with pytest.raises(InputError, match=r"misses tensor '1\.bias'"):
        check_tensors(tmp_path / "w.safetensors", load_weights(tmp_path / "w.safetensors", wanted), wanted)


def test_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_text("weights")
    with pytest.raises(
        InputError, match=r"is a text file, but --weights reads weights \(safetensors or a checkpoint\)"
    ):
        load_weights(tmp_path / "w.pt", network().state_dict())
