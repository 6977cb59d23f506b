"""All scores: name -> what it is. docs/architecture_search.md says them in words."""

from collections.abc import Mapping

from ...setting import chosen
from . import codes, counts, dissimilarity, jacobians, saliency
from .isometry import isometry
from .ntk import ntk
from .score import Context, InContext, Kind, Score
from .synflow import synflow
from .untrained import BlindScore, NetworkScore, of_untrained, without_data
from .zen import zen
from .zico import zico

VERSION = 1  # of all numbers below; a file of scores of another version is computed anew


# name -> unit, score of an untrained network
BLIND: Mapping[str, tuple[str, BlindScore]] = {"synflow": ("nats", synflow), "zen": ("nats", zen)}
WITH_DATA: Mapping[str, tuple[str, NetworkScore]] = {
    "sops_initial": ("synaptic operations per inference", counts.sops_initial),
    "autost": ("1e9 operations, and 1 / nats", counts.autost),
    "naswot": ("nats", codes.naswot),
    "sahd": ("nats", codes.sahd),
    "linear_regions": ("codes", codes.linear_regions),
    "rdm": ("spikes", dissimilarity.rdm),
    "rdm_normalised": ("share of neurons", dissimilarity.rdm_normalised),
    "epe": ("nats", jacobians.epe),
    "jacob_cov": ("none", jacobians.jacob_cov),
    "grad_norm": ("nats per weight", saliency.grad_norm),
    "snip": ("nats", saliency.snip),
    "fisher": ("square nats", saliency.fisher),
    "zico": ("nats", zico),
    "ntk": ("nats", ntk),
    "isometry": ("square nats", isometry),
}

SCORES: Mapping[str, Kind] = {
    "parameters": Kind(unit="parameters", needs="nothing", of=counts.parameters),
    "sops": Kind(unit="synaptic operations per inference", needs="nothing", of=counts.sops),
    **{n: Kind(unit=unit, needs="nothing", of=without_data(score)) for n, (unit, score) in BLIND.items()},
    **{n: Kind(unit=unit, needs="data", of=of_untrained(score)) for n, (unit, score) in WITH_DATA.items()},
}


def score_in(name: str, context: Context) -> Score:
    """A score with what it needs. Raises InputError for an unknown name."""
    return InContext(name=name, kind=SCORES[chosen("score", name, tuple(SCORES))], context=context)
