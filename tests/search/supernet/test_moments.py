import pytest
import torch
from torch.nn import functional

from spikeport.search.loops.max_pool import max_pool
from spikeport.search.supernet import moments as module
from spikeport.search.supernet.moments import SAMPLED, moments_of


@pytest.fixture(params=[True, False], ids=["loops", "torch"], autouse=True)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on the compiled loops and on what other devices take."""
    monkeypatch.setattr(module, "takes_loops", lambda *given: request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(4, 4), (6, 2), (16, 16)])
def test_means_and_squares(size: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    steps, images, channels = 2, 8, 3
    states = [(torch.rand(*size, steps, images, channels) < rate).to(dtype) for rate in (0.2, 0.5)]
    pooled = [max_pool(states[0].flatten(2), 2).view(size[0] // 2, size[1] // 2, steps, images, channels)]
    pooled.append(max_pool(states[1].flatten(2), 1).view(states[1].shape))
    means, squares = moments_of(states, pooled, images)
    assert means.shape == squares.shape == (3, 2, channels)

    def taken(maps: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W]."""
        every = max(1, maps.shape[0] * maps.shape[1] * steps * images // SAMPLED)
        return maps.flatten(2, 3)[:, :, ::every].permute(2, 3, 0, 1).double()

    for number in range(2):
        spikes = taken(states[number])
        kinds = (spikes, taken(pooled[number]), functional.avg_pool2d(spikes, 3, 1, padding=1))
        for row, maps in enumerate(kinds):
            torch.testing.assert_close(means[row, number], maps.mean((0, 2, 3)), rtol=1e-6, atol=1e-9)
            torch.testing.assert_close(squares[row, number], maps.square().mean((0, 2, 3)), rtol=1e-6, atol=1e-9)
    assert not torch.allclose(means[0, 0], means[0, 1], rtol=0.1)
