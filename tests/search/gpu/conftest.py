"""Kernels run on a GPU where there is one, else in Triton's interpreter (tests/conftest.py turns it on)."""

import os

import pytest
import torch

from spikeport.search.gpu import blocks


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    if request.param == "cpu" and "TRITON_INTERPRET" not in os.environ:
        if not torch.cuda.is_available():
            pytest.fail("there is a GPU's driver and no GPU, so the kernels run nowhere; set TRITON_INTERPRET=1")
        pytest.skip("a GPU runs the same test here, compiled")
    return torch.device(request.param)


@pytest.fixture
def kernels_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that asks whether a kernel can read a tensor is told so, wherever the tensor is."""
    from spikeport.search.loops import max_pool, window_lif
    from spikeport.search.machine import channels_last
    from spikeport.search.supernet import kernel_space

    for module in (max_pool, window_lif, channels_last, kernel_space):
        monkeypatch.setattr(module, "takes_kernels", lambda tensor: tensor.dtype in blocks.KERNEL_TYPES)
    for module in (max_pool, window_lif, channels_last, kernel_space):
        if hasattr(module, "takes_loops"):
            monkeypatch.setattr(module, "takes_loops", lambda *given: False)
