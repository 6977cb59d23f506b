import pytest
import torch
from torch import Tensor, nn

from spikeport.errors import InputError
from spikeport.search.settings.network import attention_name
from spikeport.search.space.attention import ATTENTION, CBAM, ECA, TCS


def gate(sum_of_inputs: Tensor) -> Tensor:
    return 2 * torch.sigmoid(sum_of_inputs)


def learned(attention: nn.Module) -> nn.Module:
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.5)
    return attention


@pytest.mark.parametrize("name", ["none", "eca", "cbam", "tcs"])
def test_shape_and_gates_between_0_and_2(name: str) -> None:
    current = 1 + torch.rand(3, 2, 8, 4, 6)
    gates = learned(ATTENTION[attention_name(name)](8))(current) / current
    assert gates.shape == current.shape
    product = {"none": 1, "eca": 1, "cbam": 2, "tcs": 3}[name]  # of so many gates
    assert (gates == 1).all() if name == "none" else ((gates > 0) & (gates < 2**product) & (gates != 1)).all()
    same = torch.allclose(gates, gates[:1].expand_as(gates), rtol=1e-6, atol=0)
    assert same == (name != "tcs")  # in every time step


@pytest.mark.parametrize("name", ["eca", "cbam", "tcs"])
def test_attention_changes_nothing_before_it_has_learned(name: str) -> None:
    current = torch.randn(3, 2, 8, 4, 6)
    attention = ATTENTION[attention_name(name)](8)
    out = attention(current)
    assert torch.equal(out, current)
    out.square().sum().backward()
    last = [parameter for parameter in attention.parameters() if not parameter.any()]
    assert len(last) == {"eca": 1, "cbam": 2, "tcs": 3}[name]
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in last)  # and then it learns


def test_eca_takes_the_mean_over_time_and_positions_then_neighbouring_channels() -> None:
    eca = ECA(8)  # log2(8) / 2 + 1 / 2 = 2, the next odd number is 3
    with torch.no_grad():
        eca.conv.weight[:] = torch.tensor([[[0.5, 1.0, -2.0]]])
    current = torch.zeros(2, 1, 8, 1, 2)
    current[0, 0, 3] = torch.tensor([[4.0, 0.0]])  # mean over 2 steps and 2 positions: 1
    current[1, 0, 4] = torch.tensor([[8.0, 4.0]])  # mean 3
    logits = torch.zeros(8)
    logits[2] = -2.0 * 1
    logits[3] = 1.0 * 1 - 2.0 * 3
    logits[4] = 0.5 * 1 + 1.0 * 3
    logits[5] = 0.5 * 3
    torch.testing.assert_close(eca.gate(current)[0, 0, :, 0, 0], gate(logits), rtol=1e-6, atol=0)
    torch.testing.assert_close(eca(current)[1, 0, 4, 0], gate(torch.tensor(3.5)) * torch.tensor([8.0, 4.0]))


@pytest.mark.parametrize(("channels", "size"), [(2, 1), (8, 3), (64, 3), (128, 5)])
def test_eca_kernel_grows_with_the_channels(channels: int, size: int) -> None:
    assert ECA(channels).conv.kernel_size == (size,)


def test_cbam_channel_gate_adds_what_mean_and_maximum_say() -> None:
    cbam = CBAM(2)
    first, last = cbam.mlp[0], cbam.mlp[2]
    nn.init.constant_(first.weight, 0.0)
    nn.init.constant_(last.weight, 0.0)
    with torch.no_grad():
        first.weight[0] = torch.tensor([1.0, 0.0])  # hidden unit 0 = relu(channel 0)
        last.weight[1, 0] = 0.5  # channel 1 listens to it
    current = torch.zeros(2, 1, 2, 1, 2)
    current[1, 0, 0, 0, 1] = 6.0  # mean over 2 steps and 2 positions 1.5, maximum 6
    found = cbam.channel_gate(current)[0, 0, :, 0, 0]
    torch.testing.assert_close(found, gate(torch.tensor([0.0, 0.5 * 1.5 + 0.5 * 6.0])))


def test_cbam_position_gate_sees_mean_and_maximum_over_time_and_channels() -> None:
    cbam = CBAM(2)
    nn.init.constant_(cbam.conv.weight, 0.0)
    with torch.no_grad():
        cbam.conv.weight[0, :, 3, 3] = torch.tensor([2.0, -1.0])
    current = torch.zeros(2, 1, 2, 1, 3)
    current[0, 0, 1, 0, 2] = 4.0  # mean over 2 steps and 2 channels 1, maximum 4
    found = cbam.position_gate(current)[0, 0, 0, 0]
    torch.testing.assert_close(found, gate(torch.tensor([0.0, 0.0, 2.0 * 1 - 4.0])))


def test_cbam_gates_positions_after_channels() -> None:
    cbam = learned(CBAM(4))
    current = torch.randn(2, 3, 4, 5, 5)
    gated = current * cbam.channel_gate(current)
    torch.testing.assert_close(cbam(current), gated * cbam.position_gate(gated))


def test_tcs_step_gate_reads_mean_and_maximum_of_three_steps() -> None:
    tcs = TCS(2)
    with torch.no_grad():
        tcs.steps.weight[0] = torch.tensor([[0.0, 2.0, 0.0], [-1.0, 0.0, 0.5]])  # mean now; maximum before and after
    current = torch.zeros(3, 1, 2, 1, 2)
    current[1, 0, 0, 0, 0] = 4.0  # mean 1, maximum 4
    current[2, 0, 1, 0, 1] = 8.0  # mean 2, maximum 8
    found = tcs.step_gate(current)
    assert found.shape == (3, 1, 1, 1, 1)
    logits = torch.tensor([0.5 * 4, 2.0 * 1 + 0.5 * 8, 2.0 * 2 - 1.0 * 4])
    torch.testing.assert_close(found.flatten(), gate(logits))


def test_tcs_gates_steps_before_channels_and_positions() -> None:
    tcs = learned(TCS(4))
    current = torch.randn(2, 3, 4, 5, 5)
    now = current * tcs.step_gate(current)
    of_channels = now * tcs.channel_gate(now)
    torch.testing.assert_close(tcs(current), of_channels * tcs.position_gate(of_channels), rtol=0, atol=0)


def test_unknown_attention() -> None:
    with pytest.raises(InputError, match=r"^Unknown attention 'se'; choose from none, eca, cbam, tcs, sma, spike\.$"):
        attention_name("se")
