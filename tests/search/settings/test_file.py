from pathlib import Path

import pytest

from spikeport.errors import InputError
from spikeport.search.settings.file import read_settings, resolve_settings
from spikeport.search.settings.run import SearchSettings

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_options_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, 'attention = "eca"\ncells = 5\nflip = true\nlearning_rate = 1\n')
    settings = resolve_settings(path, {"cells": 4, "seed": None})
    assert settings == SearchSettings(attention="eca", cells=4, flip=True, learning_rate=1)


def test_cifar_is_augmented_as_in_darts_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path, 'dataset = "cifar100:/data"\ncutout = 8\n')
    settings = resolve_settings(path, {"flip": False})
    assert (settings.crop, settings.flip, settings.cutout) == (4, False, 8)
    assert resolve_settings(None, {}) == SearchSettings()
    npz = resolve_settings(None, {"dataset": "npz:a,b"})
    assert (npz.crop, npz.flip, npz.cutout) == (0, False, 0)


def test_a_resumed_run_keeps_its_settings(tmp_path: Path) -> None:
    started = SearchSettings(dataset="cifar10", channels=3)
    assert resolve_settings(None, {"channels": None}, started) == started
    assert resolve_settings(write(tmp_path, "cells = 4"), {}, started).cells == 4  # which the run then refuses


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "chanels = 4",
            r"^Settings file '.*recipe.toml': Unknown setting 'chanels'; did you mean 'channels'\? Known: ",
        ),
        ("channels = 0", "recipe.toml': `channels >= 1` must hold, but got channels=0"),
        ('channels = "4"', "`channels` must be int, but is '4'"),
        ("[search]\nchannels = 4", "Unknown setting 'search'"),
        ("channels = ", "must be TOML, but is not"),
        ("dataset = 3", "`dataset` must be str, but is 3"),
        ('supernet = ["plain"]', "`supernet` must be str"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve_settings(write(tmp_path, text), {})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file"):
        read_settings(tmp_path / "x.toml")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    """Each can be loaded, and begins with what it costs and whether it was run."""
    resolve_settings(path, {})
    head = path.read_text().split("\n\n")[0]
    assert "run" in head.lower() and "cost" in head.lower()


def test_there_are_examples() -> None:
    names = {"digits", "digits_macro", "cifar10_subset", "cifar10_paper", "cifar100_paper"}
    assert {path.stem for path in EXAMPLES} == names
