import json
from typing import Any

import pytest

from spikeport.errors import InputError
from spikeport.search.data.datasets import load_dataset
from spikeport.search.settings.run import SearchSettings, settings_from_dict


def test_survives_json() -> None:
    settings = SearchSettings(primitives="plain", time_steps=4, seed=9)
    assert settings_from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_steps": 0}, r"^`time_steps >= 1` must hold, but got time_steps=0\.$"),
        ({"cells": 2}, r"`cells >= 3` must hold, but got cells=2"),
        ({"channels": -1}, "`channels >= 1`"),
        ({"batch_size": 0}, "`batch_size >= 1`"),
        ({"search_epochs": 0}, "`search_epochs >= 1`"),
        ({"seed": -1}, "`seed >= 0`"),
        ({"shift": -1}, "`shift >= 0`"),
        ({"sop_weight": -1.0}, "`sop_weight >= 0`"),
        ({"target_spikes": 9}, "`spike_weight > 0 with target_spikes` must hold, but got spike_weight=0.0"),
        ({"gradient_checkpointing": True, "sop_weight": 1.0}, "--gradient-checkpointing does not keep them"),
        ({"learning_rate": 0.0}, "`learning_rate > 0` must hold, but got learning_rate=0.0"),
        ({"momentum": 1.0}, "`momentum < 1`"),
        ({"validation_fraction": 0}, "`validation_fraction > 0`"),
        ({"validation_fraction": 1.0}, "`validation_fraction < 1`"),
        ({"learning_rate": float("nan")}, "`learning_rate > 0`"),
        ({"time_steps": 2.5}, "`time_steps` must be int, but is 2.5"),
        ({"time_steps": True}, "`time_steps` must be int, but is True"),
        ({"dataset": 3}, "`dataset` must be str, but is 3"),
        ({"primitives": "big"}, "Unknown primitive set 'big'; choose from darts, plain"),
        ({"supernet": "fast"}, "Unknown supernet 'fast'; choose from kernel, plain"),
        ({"attention": "se"}, "Unknown attention 'se'; choose from none, eca, cbam, tcs"),
        ({"attention_in": "cell"}, "Unknown place of attention 'cell'; choose from search, network, both"),
        ({"level": "all"}, "Unknown level 'all'; choose from micro, macro, both"),
        ({"level": "both", "supernet": "plain"}, "--level both needs the kernel-space supernet, .*--supernet kernel"),
        ({"level": "macro", "beta_decay": 2.0}, "the cell is given, so beta_decay=2.0 has nothing to act on"),
        ({"level": "macro", "stop_at_skips": 2}, "stop_at_skips=2 has nothing to act on; leave it out or say --level"),
        (
            {"epochs": 3},
            "Unknown setting 'epochs'; did you mean '.*epochs'[?] Known: dataset, data_folder, primitives, ",
        ),
        ({"chanels": 3}, "Unknown setting 'chanels'; did you mean 'channels'[?]"),
        ({"auxiliary_weight": 0.4, "batch_size": 1}, "`batch_size >= 2 with an auxiliary_weight` must hold"),
        ({"flip": 1}, "`flip` must be bool, but is 1"),
        ({"crop": False}, "`crop` must be int, but is False"),
        ({"label_smoothing": 1.0}, "`label_smoothing < 1` must hold"),
        ({"schedule": "step"}, "Unknown schedule 'step'; choose from cosine, linear, constant"),
        ({"precision": "int8"}, "Unknown precision 'int8'; choose from float32, bfloat16, float16"),
        ({"search_precision": "half"}, "Unknown precision 'half' of a search; choose from auto, float32, bfloat16"),
        ({"search_precision": "bfloat16", "second_order": True}, "which would drown in bfloat16; use float32 or auto"),
        ({"search_precision": "bfloat16", "supernet": "plain"}, "use auto with the plain one"),
    ],
)
def test_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings_from_dict(change)


def test_random_paths_need_no_supernet() -> None:
    assert SearchSettings(level="both", supernet="plain", strategy="random").level == "both"


@pytest.mark.parametrize(
    ("place", "kinds"), [("search", ("eca", "none")), ("network", ("none", "eca")), ("both", ("eca", "eca"))]
)
def test_attention_in(place: Any, kinds: tuple[str, str]) -> None:
    settings, dataset = SearchSettings(attention="eca", attention_in=place), load_dataset("digits")
    assert (settings.search_network(dataset).attention, settings.network(dataset).attention) == kinds


def test_network_settings_follow_the_images() -> None:
    network = SearchSettings(channels=5, cells=4, attention="eca").network(load_dataset("digits"))
    assert (network.channels, network.cells, network.attention, network.dataset) == (5, 4, "eca", "digits")
    assert (network.input_shape, network.classes) == ((1, 8, 8), 10)
