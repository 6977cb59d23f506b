"""The history of a run: one row per epoch, of the search, then of the training."""

import json

from ...errors import InputError
from ...files import read_text
from ..runs import Run
from .checkpoint import Row


def read_history(run: Run) -> list[Row]:
    """The rows of history.jsonl, one per epoch; [] before the first. Raises InputError when a line is damaged."""
    if not run.history.exists():
        return []
    try:
        return [json.loads(line) for line in read_text(run.history).splitlines()]
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{run.history}' is damaged ({error}); start again with another --out.") from error
