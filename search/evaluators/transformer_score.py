"""What is known of a transformer before any training, as an evaluator: its parameters and reference operations.

    score = reference SOPs, where the parameters lie within the window; else it has no number

AutoST's score (arXiv 2307.00293), as its public code has it, is that of the most operations at a given size; here these
are synaptic operations at a reference rate (space/transformer/cost.py).
"""

from dataclasses import dataclass

from ..frame.protocol import Result
from ..space.transformer.cost import parameters, reference_sops
from ..space.transformer.genotype import Transformer
from ..space.transformer.network import TransformerConfig

OFFERS = ("score", "sops", "parameters")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerScore:
    """least, most: the window of parameters. It knows no budgets and no seed."""

    config: TransformerConfig
    least: int = 0
    most: int
    name: str = "transformer score"
    epochs: int = 0

    @property
    def offers(self) -> frozenset[str]:
        return frozenset(OFFERS)

    def __call__(self, candidate: Transformer, budget: int, seed: int) -> Result:
        count = parameters(candidate, self.config)
        if not self.least <= count <= self.most:
            note = f"{count} parameters are not within {self.least} to {self.most}"
            return Result(objectives={}, status="failed", note=note, reported={"parameters": float(count)})
        sops = reference_sops(candidate, self.config)
        return Result(objectives={"score": sops, "sops": sops, "parameters": float(count)})
