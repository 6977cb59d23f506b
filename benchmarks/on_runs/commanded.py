"""Runs by the command line, as anybody would make them."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from spikeport.search.runs import Run, open_run


def searched(words: Sequence[str], folder: Path) -> Run:
    """What `spikeport search` with these words made in a folder: begun, gone on with, or finished long ago.

    On one thread. Raises CalledProcessError where the command fails.
    """
    if not Run(folder).metrics.is_file():
        begun = Run(folder).manifest.is_file()
        told = ["--resume", "--out", str(folder)] if begun else [*words, "--out", str(folder)]
        print("spikeport search", shlex.join(told), file=sys.stderr, flush=True)
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", "spikeport.cli", "search", *told], check=True, env=one_thread)
    return open_run(folder)
