"""What was found so far, in a file and on the terminal."""

import json
from pathlib import Path
from typing import Any


class Record:
    """What was found so far, in a JSON file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def add(self, **found: Any) -> None:
        self.found |= found
        self.path.write_text(json.dumps(self.found, indent=1) + "\n")
        for name, value in found.items():
            print(f"{name}: {json.dumps(value)}", flush=True)
