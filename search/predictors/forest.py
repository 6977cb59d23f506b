"""A random forest on features: as good as any of few trained cells, and nothing to tune (Breiman 2001)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..space.genotype import Genotype
from .features import Features, Scale
from .predictor import PredictorContext, Values, not_fitted, targets

TREES = 200


class Forest:
    """Of scikit-learn, by squared error."""

    name = "forest"

    def __init__(self, context: PredictorContext) -> None:
        self.context, self.features = context, Features(context=context)
        self._fitted: tuple[Scale, Any] | None = None

    def fit(self, genotypes: Sequence[Genotype], values: Sequence[float]) -> None:
        from sklearn.ensemble import RandomForestRegressor  # takes a second to import

        wanted = targets(genotypes, values)
        rows = self.features(genotypes)
        scale = Scale.of(rows)
        model = RandomForestRegressor(TREES, random_state=self.context.seed, n_jobs=1)
        self._fitted = scale, model.fit(scale(rows), wanted)

    def predict(self, genotypes: Sequence[Genotype]) -> Values:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale, model = self._fitted
        return np.asarray(model.predict(scale(self.features(genotypes))), np.float64)
