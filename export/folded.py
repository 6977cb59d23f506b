"""What the loihi export makes of attention that depends on the input: constants, and the record of what that costs."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..errors import InputError
from ..files import read_json
from ..search.data.datasets import Dataset, load_dataset
from ..search.runs import Run
from ..search.space.folding import fold_attention, with_factors
from ..search.space.network import RunNetwork
from ..search.space.predict import predict

KEY = "folded_attention"  # in the manifest of the export
IMAGES = 512  # of the train split


def folded(network: RunNetwork, tell: Callable[[str], None]) -> tuple[RunNetwork, dict[str, Any]]:
    """(the network with its gates as constants, what the manifest of the loihi export says of that).

    The record holds the images, each module's factors with what they miss, and the accuracy on the test split with
    live gates and with constant ones; None where no labels are known. Raises what `fold_attention` raises.
    """
    dataset = load_dataset(network.config.dataset, time_steps=network.config.time_steps)
    images = dataset.train_images[:IMAGES]
    tell(f"folding attention into constants, by {len(images)} images of the train split")
    constant, modules = fold_attention(network, images)
    tell("testing it with live and with constant gates")
    record = {
        "images": len(images),
        "test_accuracy_live": _accuracy(network, dataset),
        "test_accuracy_folded": _accuracy(constant, dataset),
        "modules": {path: asdict(module) for path, module in modules.items()},
    }
    return constant, {KEY: record}


def as_exported(run: Run, network: RunNetwork) -> RunNetwork:
    """The network that the loihi export of a run was made of: with constant gates where it says so, else as it is.

    Raises InputError for a manifest that is damaged.
    """
    path = run.export_folder("loihi") / "manifest.json"
    record = read_json(path).get(KEY) if path.is_file() else None
    if record is None:
        return network
    try:
        factors = {name: tuple(map(float, module["factor"])) for name, module in record["modules"].items()}
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise InputError(f"'{path}': `{KEY}` is damaged; export the run again.") from error
    return with_factors(network, factors)


def _accuracy(network: RunNetwork, dataset: Dataset) -> float | None:
    if not dataset.labelled:
        return None
    answers = predict(network, dataset.test_images).argmax(1).numpy()
    return float((answers == dataset.test_labels).mean())
