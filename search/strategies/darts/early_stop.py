"""When a search ends before its last epoch (after DARTS+, arXiv 1909.06035); both rules rest at 0.

    stop_at_skips      as soon as the normal or the reduction cell, or that of a layer, has so many skip_connect
    stop_when_stable   when the genotype has been the same for so many epochs, those in which the alphas rest apart

A resumed search decides as it would have: the genotype of every epoch stands in the history.
"""

from collections.abc import Sequence

from ...settings.darts import DartsSettings
from ...space.genotype import CELL_KINDS
from ...space.primitives import SKIP
from ...training.checkpoint import Row


def search_is_over(settings: DartsSettings, rows: Sequence[Row]) -> bool:
    """Of the rows of all epochs so far."""
    moved = [row["validation"]["genotype"] for row in rows[settings.resting_epochs :]]
    if not moved:
        return False
    cells = moved[-1].get("cells", [moved[-1][kind] for kind in CELL_KINDS])
    skips = max(sum(edge["primitive"] == SKIP for edge in cell) for cell in cells)
    if settings.stop_at_skips and skips >= settings.stop_at_skips:
        return True
    epochs = settings.stop_when_stable
    last = moved[-epochs - 1 :]
    return bool(epochs) and len(last) > epochs and last.count(last[0]) == len(last)
