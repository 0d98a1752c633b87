"""What only the chapter on SISA uses."""

from . import cost, experiments, plots, risk, streams
from .code import Exactness, speedup, storage, verify_exact
from .risk import by_risk

__all__ = ["Exactness", "by_risk", "cost", "experiments", "plots", "risk", "speedup", "storage",
           "streams", "verify_exact"]
