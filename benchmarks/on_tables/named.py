"""Tables by their names: closed is benchmarks/tables/closed.jsonl."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tables"


def table_named(word: str) -> str:
    """The file of a table that is kept here; any other word as it is."""
    path = FOLDER / f"{word}.jsonl"
    return str(path) if path.is_file() else word
