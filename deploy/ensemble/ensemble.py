"""The ensemble of several finished runs: chosen, judged against its best member, priced, put on a chip."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...files import writable, write_text
from ...search.data.datasets import Dataset
from ...search.runs import Run, open_run
from ..cost.prices import price_lists
from ..mapping.capacity import find_chip
from ..measure import Tell
from ..settings import EnsembleSettings
from .cost import Costs, SideBySide, costs_of, side_by_side
from .members import Member, candidates_of, members_of
from .selection import WORDS, Pick, greedy
from .shifted import shifted
from .uncertainty import Labels, Score, Uncertainty, Values, answered, auroc, mean_of, score, uncertainty

SHARES = (1.0, 0.95, 0.9, 0.8)  # of the images that are answered, where it may say "I do not know"
FEW = 100  # images that choose; with fewer a word is said
SEED = 0  # of the half of the test split that chooses


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One network or the mean of several, on the test images. auroc: by what is uncertain, how often a shifted image is
    more so than one that is not. answered: share of the images it answers, the surest -> accuracy on them."""

    score: Score
    auroc: Mapping[str, float]
    answered: Mapping[float, float]
    uncertainty: Mapping[str, float]  # means over test images, nats
    uncertainty_shifted: Mapping[str, float]
    costs: Costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The ensemble as it grew: of its first picks, until `names` are in it; side: of those that are on a chip."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    judged: Judged
    side: SideBySide


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """What `spikeport ensemble` found. choosing_errors: after each pick, by `chosen_by`; () where nothing chose."""

    members: tuple[Member, ...]
    alone: tuple[Judged, ...]  # of each member, in their order
    best: str  # of the members
    best_by: str
    rows: tuple[Row, ...]
    picks: tuple[str, ...]
    choosing_errors: tuple[float, ...]
    chosen_by: str
    chosen_on: str
    tested_on: str
    rule: str  # of the shifted images
    profile: str | None
    chip: str
    notes: tuple[str, ...] = field(default=())

    @property
    def whole(self) -> Row:
        return self.rows[-1]

    @property
    def best_alone(self) -> Judged:
        return next(j for m, j in zip(self.members, self.alone, strict=True) if m.name == self.best)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as --json prints them."""
        plain = {
            key: getattr(self, key) for key in ("best", "best_by", "picks", "choosing_errors", "chosen_by", "chosen_on")
        }
        plain |= {key: getattr(self, key) for key in ("tested_on", "rule", "profile", "chip", "notes")}
        members = [
            {
                "name": m.name,
                "run": str(m.run.path),
                "form": m.form,
                "proof": None if m.proof is None else asdict(m.proof),
                "no_proof": m.no_proof,
                "parameters": m.parameters,
                **asdict(judged),
            }
            for m, judged in zip(self.members, self.alone, strict=True)
        ]
        rows = [asdict(row) for row in self.rows]
        return plain | {"members": members, "ensembles": rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """Probabilities [M, N, K] of all members."""

    test: Values
    shifted: Values
    labels: Labels
    costs: tuple[Costs, ...]

    def judged(self, weights: Values, costs: Costs) -> Judged:
        found, other = uncertainty(self.test, weights), uncertainty(self.shifted, weights)
        mean, far = mean_of(self.test, weights), mean_of(self.shifted, weights)
        right = mean.argmax(1) == self.labels
        by = {"total": (found.total, other.total), "1 - highest probability": (1 - mean.max(1), 1 - far.max(1))}
        if (weights > 0).sum() > 1:  # one alone disagrees with nobody
            by["epistemic"] = (found.epistemic, other.epistemic)
        return Judged(
            score=score(mean, self.labels),
            auroc={name: auroc(*pair) for name, pair in by.items()},
            answered={share: answered(found.total, right, share) for share in SHARES},
            uncertainty=_means(found),
            uncertainty_shifted=_means(other),
            costs=costs,
        )


def ensemble(
    runs: Sequence[Run | Path | str],
    settings: EnsembleSettings | None = None,
    *,
    tell: Tell = lambda sentence: None,
    out: Path | None = None,
) -> Ensemble:
    """The mean of the probabilities of finished runs of one data set, on its test split and on shifted images.

    With an `out` the page is written there. Raises InputError for runs that cannot be one ensemble, and where no images
    are left to choose by.

    >>> settings = spikeport.choose(primitives="plain", channels=2, cells=3, search_epochs=1, train_epochs=1)
    >>> runs = [spikeport.run_search(settings, f"runs/{name}") for name in ("a", "b")]
    >>> spikeport.ensemble(runs).members[1].name
    'b'
    """
    settings = EnsembleSettings() if settings is None else settings
    if out is not None:
        writable(out)
    opened = [run if isinstance(run, Run) else open_run(Path(run)) for run in runs]
    opened = candidates_of(opened) if settings.candidates else opened
    if len(opened) < 2:
        raise InputError(f"An ensemble must have at least two members, but {len(opened)} is named; name more runs.")
    profiles, chip = price_lists(settings), find_chip(settings.chip)
    members, dataset = members_of(opened, chip, profiles, tell)
    split = _split(members, dataset, settings)
    tell("the members answer")
    other = shifted(dataset.test_images[split.test], dataset, settings.moved, settings.noise)
    choosing = np.stack([m.answers(split.choosing_images, tell) for m in members]) if split.choosing.size else None
    profile, costs = costs_of(members)
    answers = _Answers(
        test=np.stack([m.answers(dataset.test_images[split.test], tell) for m in members]),
        shifted=np.stack([m.answers(other.images, tell) for m in members]),
        labels=dataset.test_labels[split.test],
        costs=costs,
    )
    picks = _picks(choosing, split.choosing_labels, len(members), settings)
    alone = tuple(answers.judged(np.eye(len(members))[m], costs[m]) for m in range(len(members)))
    best, by = _best(picks, alone, settings)
    found = Ensemble(
        members=tuple(members),
        alone=alone,
        best=members[best].name,
        best_by=by,
        rows=tuple(_rows(picks, members, answers)),
        picks=tuple(members[pick.member].name for pick in picks),
        choosing_errors=tuple(pick.error for pick in picks) if choosing is not None else (),
        chosen_by=WORDS[settings.choose_by] if choosing is not None else "",
        chosen_on=split.words,
        tested_on=f"{len(split.test)} images of the test split",
        rule=other.rule,
        profile=profile,
        chip=chip.title,
        notes=tuple(_notes(members, split, choosing is not None)),
    )
    if out is not None:
        from .page import render_ensemble  # its templates, which only a page needs

        tell("writing the page")
        write_text(out, render_ensemble(found))
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Split:
    """choosing: rows of `choosing_images`, which no member has learnt from; test: rows of the test split."""

    choosing: NDArray[np.int64]
    choosing_images: NDArray[Any]
    choosing_labels: Labels
    test: NDArray[np.int64]
    words: str


def _split(members: Sequence[Member], dataset: Dataset, settings: EnsembleSettings) -> _Split:
    everything = np.arange(len(dataset.test_images))
    if settings.choose == "all":
        nothing = everything[:0]
        words = "nothing: all members, equally weighted"
        return _Split(
            choosing=nothing,
            choosing_images=dataset.test_images[:0],
            choosing_labels=nothing,
            test=everything,
            words=words,
        )
    if settings.chosen_on == "half":
        order = np.random.default_rng(SEED).permutation(everything)
        rows, rest = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
        images, labels = dataset.test_images[rows], dataset.test_labels[rows]
        words = f"{len(rows)} images, half of the test split, which the rest of this does not see"
        return _Split(choosing=rows, choosing_images=images, choosing_labels=labels, test=rest, words=words)
    rows = _unseen(members)
    images, labels = dataset.train_images[rows], dataset.train_labels[rows]
    words = f"{len(rows)} validation images, which no member has learnt from"
    return _Split(choosing=rows, choosing_images=images, choosing_labels=labels, test=everything, words=words)


def _unseen(members: Sequence[Member]) -> NDArray[np.int64]:
    """Rows of the train split. Raises InputError where some member has learnt from each, or may have."""
    way = "say --chosen-on half, which takes half of the test split, or --choose all"
    unknown = [m.name for m in members if m.learnt_apart is None]
    if unknown:
        raise InputError(
            f"Members are chosen on images that none has learnt from, but {', '.join(unknown)} was imported, so that "
            f"nobody knows which; {way}."
        )
    common = frozenset.intersection(*(m.learnt_apart for m in members if m.learnt_apart is not None))
    if not common:
        raise InputError(
            "Members are chosen on images that none has learnt from, but these have none in common, for each seed "
            f"keeps others apart; {way}."
        )
    return np.array(sorted(common), np.int64)


def _picks(choosing: Values | None, labels: Labels, many: int, settings: EnsembleSettings) -> tuple[Pick, ...]:
    if choosing is None:
        return tuple(Pick(member=m, error=float("nan")) for m in range(many))
    return greedy(choosing, labels, settings.most_members, settings.choose_by)


def _best(picks: Sequence[Pick], alone: Sequence[Judged], settings: EnsembleSettings) -> tuple[int, str]:
    if settings.choose == "greedy":
        return picks[0].member, "on the images that chose"
    found = min(range(len(alone)), key=lambda m: alone[m].score.nll)
    return found, "on the test images themselves, which flatters it"


def _rows(picks: Sequence[Pick], members: Sequence[Member], answers: _Answers) -> list[Row]:
    """One for each number of different members, with all picks until the next one comes in."""
    found: dict[int, Row] = {}
    for end in range(1, len(picks) + 1):
        counts = np.bincount([pick.member for pick in picks[:end]], minlength=len(members))
        inside = list(dict.fromkeys(pick.member for pick in picks[:end]))
        weights = counts / counts.sum()
        found[len(inside)] = Row(
            names=tuple(members[m].name for m in inside),
            weights=tuple(float(weights[m]) for m in inside),
            judged=answers.judged(weights, Costs.of_all([answers.costs[m] for m in inside])),
            side=side_by_side([members[m] for m in inside]),
        )
    return list(found.values())


def _means(found: Uncertainty) -> dict[str, float]:
    return {name: float(getattr(found, name).mean()) for name in ("total", "aleatoric", "epistemic")}


def _notes(members: Sequence[Member], split: _Split, chosen: bool) -> list[str]:
    notes = [f"{m.name}: {m.no_proof}" for m in members if m.proof is None]
    notes += [f"{m.name}: its deploy failed: {m.proof.sentence}" for m in members if m.proof and m.proof.kind == "fail"]
    notes += [
        f"{m.name} is not exported for loihi: it answers in float, and has no energy and no cores"
        for m in members
        if m.form == "float"
    ]
    if chosen and len(split.choosing) < FEW:
        notes.append(f"only {len(split.choosing)} images chose the members, so that chance had a say")
    return notes
