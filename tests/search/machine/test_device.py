import pytest
import torch

from spikeport.errors import InputError
from spikeport.search.machine.device import Arithmetic, fast_dtype, find_device
from spikeport.search.settings.training import TrainingSettings


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match=r"The device 'cuda' must be there, but torch sees 0 GPUs"):
        find_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda:0")
    assert find_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(
        InputError, match=r"'cuda:2' must be there, but torch sees 2 GPUs \(this process wants number 2"
    ):
        find_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:0", "auto:1", ""])
def test_unknown_device(name: str) -> None:
    with pytest.raises(InputError, match=f"^Unknown device '{name}'; choose from auto, cpu, cuda, cuda:N.$"):
        find_device(name)


def test_unknown_precision() -> None:
    with pytest.raises(InputError, match="Unknown precision 'half'; choose from float32, bfloat16, float16"):
        TrainingSettings(precision="half")


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda:3")


def test_a_step_by_hand() -> None:
    """loss = 3 w0 + 4 w1: the gradient (3, 4) has norm 5 and is clipped to 1; others get none."""
    weights, other = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.ones(1))
    arithmetic = Arithmetic("float32", torch.device("cpu"))
    loss = (torch.tensor([3.0, 4.0]) * weights).sum() * other.sum()
    arithmetic.step(loss, torch.optim.SGD([weights], lr=0.5), [weights], 1.0)
    torch.testing.assert_close(weights.detach(), torch.tensor([-0.3, -0.4]), rtol=1e-5, atol=0)
    assert other.grad is None


def test_a_scaled_step_that_overflows_is_left_out() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    arithmetic = Arithmetic("float16", torch.device("cpu"))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    before = arithmetic.scaler.get_scale()
    arithmetic.step((weight * 1e38).sum(), optimizer, [weight])
    assert weight.item() == 1 and arithmetic.scaler.get_scale() == before / 2
    arithmetic.step((weight * 0.5).sum(), optimizer, [weight])
    assert weight.item() == 0.75


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16", "avx2"])
def test_bfloat16_where_the_processor_multiplies_it(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: True})
    fast = torch.float32 if instructions == "avx2" else torch.bfloat16
    assert fast_dtype(torch.device("cpu")) == fast
    assert fast_dtype(torch.device("cuda")) == torch.float32
