"""The commands that are no stage of the road, each with its options, what it prints, and one call of the library."""

from typing import Final

import click

from .comparing import compare_command
from .converting import convert_command
from .costs import fit_cost_command
from .ensembles import ensemble_command
from .importing import import_command
from .tables import table_group
from .targets import targets_command
from .transformers import transformer_command

COMMANDS: Final[tuple[click.Command, ...]] = (
    import_command,
    convert_command,
    compare_command,
    targets_command,
    fit_cost_command,
    table_group,
    ensemble_command,
    transformer_command,
)
