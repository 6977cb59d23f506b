from pathlib import Path

import pytest
import torch
from torch import nn

from spikeport.errors import InputError
from spikeport.search.training.checkpoint import load_checkpoint, save_checkpoint


def test_checkpoint_holds_everything(tmp_path: Path) -> None:
    def problem() -> tuple[nn.Module, dict[str, torch.optim.Optimizer]]:
        torch.manual_seed(2)
        module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        return module, {
            "weights": torch.optim.SGD(module[0].parameters(), lr=0.1, momentum=0.9),
            "alphas": torch.optim.Adam(module[1].parameters(), lr=0.1),
        }

    def step(module: nn.Module, optimizers: dict[str, torch.optim.Optimizer], x: torch.Tensor) -> None:
        module.zero_grad()
        module(x).pow(3).sum().backward()
        for optimizer in optimizers.values():
            optimizer.step()

    inputs = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(0))
    module, optimizers = problem()
    for x in inputs[:3]:
        step(module, optimizers, x)
    save_checkpoint(tmp_path / "c.safetensors", module, optimizers, [{"epoch": 1}])
    resumed, resumed_optimizers = problem()
    assert load_checkpoint(tmp_path / "c.safetensors", resumed, resumed_optimizers) == [{"epoch": 1}]
    for x in inputs[3:]:
        step(module, optimizers, x)
        step(resumed, resumed_optimizers, x)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_checkpoint_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    assert load_checkpoint(path, nn.Linear(2, 2), {}) == []
    save_checkpoint(path, nn.Linear(2, 2, bias=False), {}, [])
    with pytest.raises(InputError, match="misses tensor 'bias'"):
        load_checkpoint(path, nn.Linear(2, 2), {})
    save_checkpoint(path, nn.Linear(2, 3), {}, [])
    with pytest.raises(InputError, match=r"tensor 'weight' must have shape \[2, 2\], but has \[3, 2\]"):
        load_checkpoint(path, nn.Linear(2, 2), {})


def test_the_loss_scale_is_kept(tmp_path: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
    scaler.scale(torch.ones(1))
    scaler.update(4.0)
    save_checkpoint(tmp_path / "c.safetensors", nn.Linear(1, 1), {}, [], scaler)
    resumed = torch.amp.GradScaler("cpu")
    load_checkpoint(tmp_path / "c.safetensors", nn.Linear(1, 1), {}, resumed)
    assert resumed.state_dict() == scaler.state_dict()
    assert resumed.get_scale() == 4.0
