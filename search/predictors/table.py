"""All predictors: name -> what makes one."""

from collections.abc import Mapping

from ...setting import chosen
from .forest import Forest
from .graph import GraphPredictor
from .pairwise import Pairwise
from .predictor import Factory, Predictor, PredictorContext

PREDICTORS: Mapping[str, Factory] = {"pairwise": Pairwise, "forest": Forest, "graph": GraphPredictor}


def predictor_for(name: str, context: PredictorContext) -> Predictor:
    """Raises InputError for an unknown name."""
    return PREDICTORS[chosen("predictor", name, tuple(PREDICTORS))](context)
