"""Where a network is trained and in which numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...errors import InputError
from ..settings.training import Precision
from .processes import local_rank

DTYPES: Mapping[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,  # small gradients would become 0, so the loss is scaled
}


FIRST_WITH_BFLOAT16 = (8, 0)  # compute capability: Ampere


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a CPU or GPU that has instructions to multiply it (AVX-512 BF16, AMX; Ampere), else float32."""
    if device.type == "cuda":
        bfloat16 = torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= FIRST_WITH_BFLOAT16
        return torch.bfloat16 if bfloat16 else torch.float32
    has = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return torch.bfloat16 if has.get("avx512_bf16") or has.get("amx_bf16") else torch.float32


def _auto() -> torch.device:
    return torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")


DEVICES: Mapping[str, Callable[[], torch.device]] = {
    "auto": _auto,
    "cpu": lambda: torch.device("cpu"),
    "cuda": lambda: torch.device("cuda", local_rank()),
}


def find_device(name: str) -> torch.device:
    """auto (a GPU if there is one), cpu, cuda or cuda:N. Raises InputError when it is unknown or not there."""
    kind, colon, number = name.partition(":")
    if kind not in DEVICES or (colon and (kind != "cuda" or not number.isdecimal())):
        raise InputError(f"Unknown device '{name}'; choose from auto, cpu, cuda, cuda:N.")
    device = torch.device("cuda", int(number)) if colon else DEVICES[kind]()
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise InputError(
            f"The device '{name}' must be there, but torch sees {torch.cuda.device_count()} GPUs (this process wants "
            f"number {device.index}); use --device auto."
        )
    return device


@cache
def on(device: torch.device, *numbers: int | bool) -> Tensor:
    """A constant where it is needed: made once, because a step must not copy to a GPU."""
    return torch.tensor(numbers, device=device)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On a GPU, cuDNN takes repeatable algorithms and calculates float32 in float32 inside the block; a CPU does so."""
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = True, False, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = before


class Arithmetic:
    """The numbers of the forward pass, and the step that belongs to them; weights are float32 always.

    Networks are evaluated in float32, because that is what is exported.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self.device, self.dtype = device, DTYPES[precision]
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)

    def autocast(self) -> AbstractContextManager[object]:
        """Convolutions and products in the smaller numbers inside the block."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)

    def step(
        self, loss: Tensor, optimizer: Optimizer, parameters: Sequence[nn.Parameter], gradient_clip: float | None = None
    ) -> None:
        """Backward pass for these parameters alone, clipping to a largest norm, and the optimizer's step."""
        optimizer.zero_grad()
        self.backward(loss, parameters)
        self.update(optimizer, parameters, gradient_clip)

    def backward(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Add the gradients of the loss, scaled if need be, to those of the parameters."""
        self.scaler.scale(loss).backward(inputs=list(parameters))  # type: ignore[no-untyped-call]

    def update(
        self, optimizer: Optimizer, parameters: Sequence[nn.Parameter], gradient_clip: float | None = None
    ) -> None:
        """The optimizer's step with the gradients there are, clipped to a largest norm."""
        self.scaler.unscale_(optimizer)
        if gradient_clip is not None:
            nn.utils.clip_grad_norm_(parameters, gradient_clip)
        self.scaler.step(optimizer)
        self.scaler.update()
