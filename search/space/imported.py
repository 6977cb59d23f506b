"""A network of somebody's own code, brought in with its weights: in a run folder it stands where a searched one would.

Code stays where it is. A run remembers which builder makes the network (`package.module:build` or `file.py:build`), the
hash of its file and of the modules it made, and refuses to go on with another. The weights are kept in the run.
"""

import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Literal, cast

import torch
from spikingjelly.activation_based import base, functional, neuron
from torch import Tensor, nn

from ...errors import InputError
from ..settings.network import Reads

# of a network: [N, C, H, W], or with time before, [T, N, C, H, W]; steps: [N, C, H, W], and it computes one step of it
Takes = Literal["images", "sequences", "steps"]

WHAT = "a module and what makes the network in it, as package.module:build or folder/file.py:build"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedConfig:
    """What a run remembers of a network that was imported; the weights lie beside it.

    mean, std: of each channel, by which images are normalised before they enter the network; () for none.
    """

    builder: str
    file_sha256: str  # of the file that holds the builder
    modules_sha256: str  # of the network as it prints itself
    time_steps: int
    classes: int
    input_shape: tuple[int, ...]  # of an image or a frame: channels, rows, columns
    takes: Takes
    gives_steps: bool  # answers [T, N, classes], of which the mean is meant, instead of [N, classes]
    reads: Reads = "images"
    dataset: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: None = None  # which only a network of cells has

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Of what the network reads at once: (C, H, W), or (T, C, H, W) of frames."""
        return self.input_shape if self.reads == "images" else (self.time_steps, *self.input_shape)


class ImportedNetwork(nn.Module):
    """Images [N, C, H, W] or frames of spikes [N, T, C, H, W] -> logits [N, classes], whatever the network inside takes
    and gives. Its populations have the names that they have inside."""

    def __init__(self, network: nn.Module, config: ImportedConfig) -> None:
        super().__init__()
        self.config = config
        self.normalise = _normalising(config.mean, config.std) if config.mean else nn.Identity()
        self.imported = network

    def forward(self, inputs: Tensor) -> Tensor:
        if self.config.reads == "spikes":
            x = inputs.transpose(0, 1)
        else:
            x = self.normalise(inputs)
            if self.config.takes == "sequences":
                x = x.unsqueeze(0).repeat(self.config.time_steps, 1, *[1] * len(self.config.input_shape))
        if self.config.takes == "steps":
            return self._over_time(x)
        answer = self.imported(x)
        return cast(Tensor, answer.mean(0) if self.config.gives_steps else answer)

    def _over_time(self, x: Tensor) -> Tensor:
        """The mean of what a network in single-step mode answers in each step, to an image or to its frame."""
        total: Any = 0.0
        for t in range(self.config.time_steps):
            total = total + self.imported(x[t] if self.config.reads == "spikes" else x)
        return cast(Tensor, total / self.config.time_steps)


def _normalising(mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    """(x - mean) / std as a convolution of one pixel, which every form can carry."""
    many = len(mean)
    conv = nn.Conv2d(many, many, 1, groups=many)
    with torch.no_grad():
        conv.weight.copy_((1.0 / torch.tensor(std)).reshape(many, 1, 1, 1))
        conv.bias.copy_(-torch.tensor(mean) / torch.tensor(std))  # type: ignore[union-attr]
    return conv.requires_grad_(False)


def build(builder: str, *, file_sha256: str | None = None) -> tuple[nn.Module, str]:
    """(the network in eval mode, with SpikingJelly's plain torch backend; the hash of the builder's file).

    file_sha256: what the file must have, before any of its code is run. Raises InputError where there is no such file,
    where it is another, and where it makes no network.
    """
    place, _, name = builder.rpartition(":")
    if not place or not name.isidentifier():
        raise InputError(f"A network to import is given as {WHAT}, but got '{builder}'.")
    with _found_from(place):
        spec = _spec(place)
        digest = sha256(Path(str(spec.origin)).read_bytes()).hexdigest()
        if file_sha256 not in (None, digest):
            raise InputError(
                f"'{spec.origin}' has changed since the network was imported, so that its weights may mean something "
                "else; run `spikeport import` again."
            )
        network = _made(builder, name, _module(place, spec))
    for module in network.modules():
        if isinstance(module, base.MemoryModule):
            module.backend = "torch"  # another one may need a GPU
    return network.eval(), digest


@contextmanager
def _found_from(place: str) -> Iterator[None]:
    """Modules are looked for where the command runs, and beside a file that is named."""
    folder = str(Path(place).parent.resolve() if place.endswith(".py") else Path.cwd())
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)


def _spec(place: str) -> ModuleSpec:
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise InputError(f"There is no file '{place}'; give {WHAT}.")
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    else:
        try:
            spec = importlib.util.find_spec(place)
        except (ModuleNotFoundError, ValueError) as error:
            raise InputError(f"There is no module '{place}' ({error}); give {WHAT}.") from error
    if spec is None or not str(spec.origin).endswith(".py"):
        raise InputError(
            f"There is no module '{place}' written in Python, looked for from '{Path.cwd()}'; give {WHAT}."
        )
    return spec


def _module(place: str, spec: ModuleSpec) -> Any:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # dataclasses look their module up
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


def _made(builder: str, name: str, module: Any) -> nn.Module:
    if not hasattr(module, name):
        raise InputError(f"'{builder}': the module has no '{name}'; give {WHAT}.")
    found = getattr(module, name)
    if not isinstance(found, nn.Module):
        needed = _needed(found)
        if needed is None or needed:
            what = "needs " + ", ".join(needed) if needed else "is no function"
            raise InputError(
                f"'{builder}' must be a network or a function without arguments that makes one, but {what}; write one "
                f"beside it, def build(): return {name}(...)."
            )
        found = found()
    if not isinstance(found, nn.Module):
        raise InputError(f"'{builder}' must make a torch.nn.Module, but made a {type(found).__name__}.")
    return found


def _needed(function: Any) -> list[str] | None:
    """The arguments that a call must give; None: it cannot be called."""
    if not callable(function):
        return None
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in kinds]


def printed_sha256(network: nn.Module) -> str:
    """Of the network as it prints itself: its modules, their sizes, and the constants of its neurons."""
    return sha256(str(network).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Form:
    """How a network is called, and what it answers."""

    takes: Takes
    gives_steps: bool
    time_steps: int
    classes: int


def form_of(
    network: nn.Module, input_shape: tuple[int, ...], time_steps: int | None, reads: Reads, takes: Takes | None
) -> Form:
    """Tries a network on random inputs, given as images and as sequences, and tells which it takes.

    time_steps: where the network does not repeat an image by itself. takes: the one that is meant. Raises InputError
    where it takes neither, answers something else than classes, or makes another number of steps.
    """
    ways: tuple[Takes, ...] = (takes,) if takes else WAYS[reads]
    reasons = []
    for way in ways:
        if way != "images" and time_steps is None:
            reasons.append(f"as {way} it needs a number of steps, --time-steps")
            continue
        found = _tried(network, input_shape, time_steps, reads, way)
        if isinstance(found, Form):
            return found
        reasons.append(f"as {way} {found}")
    raise InputError(f"The network takes no inputs of shape {list(input_shape)}: {'; '.join(reasons)}.")


WAYS: Mapping[Reads, tuple[Takes, ...]] = {"images": ("images", "sequences", "steps"), "spikes": ("sequences", "steps")}


def _tried(
    network: nn.Module, input_shape: tuple[int, ...], time_steps: int | None, reads: Reads, way: Takes
) -> Form | str:
    """How it answers inputs that are given this way, or why it does not."""
    samples = 5 if time_steps == 3 else 3  # a number that no axis of time can be taken for
    values = torch.rand(samples, *input_shape, generator=torch.Generator().manual_seed(0))
    values = values.round() if reads == "spikes" else values
    if way == "sequences":
        values = values.unsqueeze(0).repeat(cast(int, time_steps), 1, *[1] * len(input_shape))
    try:
        answer, steps, single = _run(network, values)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, AttributeError) as error:
        return f"it stops: {(str(error).splitlines() or [type(error).__name__])[0]}"
    if not isinstance(answer, Tensor):
        return f"it answers a {type(answer).__name__} instead of one tensor"
    gives_steps = answer.ndim == 3
    if answer.ndim not in (2, 3) or answer.shape[-2] != samples or answer.shape[-1] < 2:
        return f"{samples} samples are answered by {list(answer.shape)} instead of [{samples}, classes]"
    if steps is None:
        return "it has no spiking neurons of SpikingJelly"
    if way == "images" and single and steps == 1:
        return "it computes one step of an image"
    if way == "steps":
        return Form(way, False, cast(int, time_steps), answer.shape[-1]) if single and steps == 1 else "it takes more"
    if time_steps not in (None, steps):
        return f"its neurons make {steps} steps instead of {time_steps}"
    return Form(way, gives_steps, steps, answer.shape[-1])


def _run(network: nn.Module, values: Tensor) -> tuple[Any, int | None, bool]:
    """(its answer, how many steps its neurons made, whether these take one at a time)."""
    made: dict[nn.Module, int] = {}

    def count(module: Any, inputs: tuple[Tensor, ...]) -> None:
        made[module] = made.get(module, 0) + (len(inputs[0]) if module.step_mode == "m" else 1)

    neurons: list[Any] = [m for m in network.modules() if isinstance(m, neuron.BaseNode)]
    handles = [m.register_forward_pre_hook(count) for m in neurons]
    functional.reset_net(network)
    try:
        with torch.no_grad():
            answer = network(values)
    finally:
        functional.reset_net(network)
        for handle in handles:
            handle.remove()
    return answer, next(iter(made.values()), None), bool(neurons) and neurons[0].step_mode == "s"


def to_dict(config: ImportedConfig) -> dict[str, Any]:
    return asdict(config)


def from_dict(path: Path, data: object) -> ImportedConfig:
    """Raises InputError, naming the file, for what no import wrote."""
    kinds = {f.name: f.type for f in fields(ImportedConfig)}
    if not isinstance(data, dict) or data.keys() != kinds.keys():
        raise InputError(f"'{path}': `imported` must have the keys {', '.join(kinds)}; run `spikeport import` again.")
    plain: dict[Any, type | tuple[type, ...]] = {
        str: str,
        int: int,
        bool: bool,
        None: type(None),
        Takes: str,
        Reads: str,
    }
    for key, value in data.items():
        wanted = plain.get(kinds[key], (int, float))
        parts = value if key in ("input_shape", "mean", "std") and isinstance(value, list) else [value]
        if not all(isinstance(part, wanted) and isinstance(part, bool) == (wanted is bool) for part in parts):
            raise InputError(f"'{path}': `{key}` of `imported` is {value!r}, which is of a wrong type; copy it again.")
    arrays = {key: tuple(data[key]) for key in ("input_shape", "mean", "std")}
    return ImportedConfig(**data | arrays)


def load_imported(path: Path, data: object) -> ImportedNetwork:
    """The network that a run's config.json tells of, without its weights.

    Raises InputError where its code is missing, lies in the run itself or makes another network.
    """
    config = from_dict(path, data)
    place = Path(config.builder.rpartition(":")[0])
    if place.suffix == ".py" and path.parents[1].resolve() in place.resolve().parents:
        raise InputError(f"'{path}' names code inside its own run, '{place}', which is not run; put it elsewhere.")
    if place.suffix == ".py" and not place.is_file():
        raise InputError(
            f"The network of '{path.parents[1]}' is made by '{place}', which is not here; run this where `spikeport "
            "import` was run, or import it again."
        )
    network, _ = build(config.builder, file_sha256=config.file_sha256)
    if printed_sha256(network) != config.modules_sha256:
        raise InputError(
            f"'{config.builder}' makes another network than the one that was imported; run `spikeport import` again."
        )
    return ImportedNetwork(network, config).eval()


def check_normalisation(mean: tuple[float, ...], std: tuple[float, ...], input_shape: tuple[int, ...]) -> None:
    """Raises InputError where mean and std are not one number for each channel."""
    channels = input_shape[0]
    if not mean and not std:
        return
    if len(mean) != channels or len(std) != channels or min(std, default=0.0) <= 0:
        raise InputError(
            f"Images of {channels} channels are normalised by as many means and standard deviations above 0, but got "
            f"{len(mean)} and {len(std)}{f' from {min(std)}' if std else ''}."
        )
