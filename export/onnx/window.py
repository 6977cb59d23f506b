"""ONNX of the torch network: the whole time window (`model.onnx`), one step of it (`step.onnx`) and the encoder alone
(`encoder.onnx`), float32.

model.onnx     images float32 [batch, C, H, W] -> logits [batch, classes]; <population>/spikes [T, batch, C, H, W] of
               every spiking layer, so that equality is checked on spikes and not on the argmax alone
step.onnx      image float32 [batch, C, H, W], or frame where the network reads frames, and state.<population>
               [batch, C, H, W] of every spiking layer -> logits, of which the mean over the T steps is model.onnx's;
               <population>/spikes [batch, C, H, W]; next.<population>, the states of the next step. States begin at 0,
               or at what the metadata `rest.<population>` says
encoder.onnx   images float32 [batch, C, H, W] -> spikes [T, batch, C, H, W]

`from_fx.py` writes them; where it has no rule, torch's exporter does, which takes a hundred times as long.
"""

import logging
import warnings
from pathlib import Path

import onnx
import torch
from spikingjelly.activation_based import functional
from torch import fx, nn

from ...errors import UnsupportedError
from ...files import replacing
from ..trace.ends import with_answer
from ..trace.walk import spiking_layers, symbolic
from .from_fx import OPSET, model_of, step_of
from .nodes import NoRule


def write_model(path: Path, network: nn.Module, example: torch.Tensor, metadata: dict[str, str] | None = None) -> Path:
    """A network in eval mode as ONNX of the whole time window, with the spikes of every layer. Returns the path.

    example: images [2 or more, C, H, W]; metadata: text to keep in the file. Raises UnsupportedError where the forward
    pass depends on the data.

    >>> network, images = spikeport.example_network()
    >>> spikeport.write_model("model.onnx", network, images[:2]).exists()
    True
    """
    module = with_spikes(network, example[:1])
    names = ["logits", *(f"{name}/spikes" for name in spiking_layers(module))]
    return _write(Path(path), module, example, names, metadata or {})


def write_step(path: Path, network: nn.Module, example: torch.Tensor, metadata: dict[str, str] | None = None) -> Path:
    """One time step of a network in eval mode as ONNX, with every membrane as input and output. Returns the path.

    example and metadata: as of `write_model`. Raises UnsupportedError where a layer sees several time steps at once, as
    attention over the window does, or the answer is not a mean or sum over time.

    >>> network, images = spikeport.example_network()
    >>> spikeport.write_step("step.onnx", network, images[:2]).exists()
    True
    """
    module = with_spikes(network)
    names = ["logits", *(f"{name}/spikes" for name in spiking_layers(module))]
    try:
        model = step_of(module, tuple(example.shape[1:]), names, metadata or {})
    except NoRule as error:
        raise UnsupportedError(
            f"The network cannot be written as one time step: {error}; run the whole window, model.onnx."
        ) from error
    return _saved(Path(path), model)


def write_encoder(
    path: Path, encoder: nn.Module, example: torch.Tensor, metadata: dict[str, str] | None = None
) -> Path:
    """The part of a network that stays on the host (`Traced.encoder`) as ONNX: images -> spikes. Returns the path.

    example and metadata: as of `write_model`.

    >>> network, images = spikeport.example_network()
    >>> traced = spikeport.trace(network, images[:1], 4)
    >>> spikeport.write_encoder("encoder.onnx", traced.encoder, images[:2]).exists()
    True
    """
    return _write(Path(path), encoder, example, ["spikes"], metadata or {})


def with_spikes(network: nn.Module, example: torch.Tensor | None = None) -> fx.GraphModule:
    """The same network, sharing its parameters, that returns (logits, *spikes of `spiking_layers`).

    The logits of a network that returns all steps are their mean. example: where its control flow depends on shapes.
    """
    module = with_answer(symbolic(network, example))
    output = next(node for node in module.graph.nodes if node.op == "output")
    output.args = ((output.args[0], *spiking_layers(module).values()),)
    module.recompile()
    return module.eval()


def _write(path: Path, module: nn.Module, example: torch.Tensor, outputs: list[str], metadata: dict[str, str]) -> Path:
    try:
        model = model_of(symbolic(module), tuple(example.shape[1:]), outputs, metadata)
    except NoRule:
        model = _by_torch(module, example, outputs, metadata)
    return _saved(path, model)


def _saved(path: Path, model: onnx.ModelProto) -> Path:
    with replacing(path) as temporary:
        onnx.save(model, str(temporary))
    return path


def _by_torch(
    module: nn.Module, example: torch.Tensor, outputs: list[str], metadata: dict[str, str]
) -> onnx.ModelProto:
    """By torch's exporter, which knows every operation, takes its time, and warns a lot."""
    functional.reset_net(module)
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)  # remarks on opsets, packages and constants concern no user of this file
    try:
        with warnings.catch_warnings():
            # The window starts from membranes at rest; what torch.export forgets is the state after its last step.
            warnings.filterwarnings("ignore", message=r"The tensor attributes? .* assigned during export")
            # torch's own code uses its deprecated names.
            warnings.filterwarnings("ignore", category=FutureWarning, module="torch|copyreg|onnxscript")
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch|copyreg|onnxscript|onnx_ir")
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                input_names=["images"],
                output_names=outputs,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                verbose=False,
            )
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        functional.reset_net(module)
    assert program is not None  # dynamo=True returns the program
    model = program.model_proto
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model
