"""Settings from a TOML file, from the data set and from the command line; the later wins."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files import read_text
from ..data.datasets import dataset_kind
from .run import SearchSettings, settings_from_dict

# What DARTS does to the images of a data set (arXiv 1806.09055, section A.1.2), unless somebody says otherwise.
DATASET_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "cifar10": {"crop": 4, "flip": True, "cutout": 16},
    "cifar100": {"crop": 4, "flip": True, "cutout": 16},
}


def read_settings(path: Path) -> dict[str, Any]:
    """The keys and values of a settings file.

    Raises InputError naming the file when it is no TOML, when a key is unknown or when a value is out of range.
    """
    try:
        found = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"'{path}' must be TOML, but is not ({error}); see the files in examples/.") from error
    try:
        settings_from_dict(found)
    except InputError as error:
        raise InputError(f"Settings file '{path}': {error}") from error
    return found


def resolve_settings(
    file: Path | None, given: Mapping[str, Any], started: SearchSettings | None = None
) -> SearchSettings:
    """Defaults, those of the data set, those of the file, those given (not None): the later wins.

    Of a run that was `started` before, its own take the place of the first two.

    Raises InputError for an unusable file and for a value out of range.
    """
    chosen = ({} if file is None else read_settings(file)) | {k: v for k, v in given.items() if v is not None}
    if started is not None:
        return replace(started, **chosen)
    kind = dataset_kind(chosen.get("dataset", SearchSettings().dataset))
    return settings_from_dict({**DATASET_DEFAULTS.get(kind, {}), **chosen})
