"""What only the chapter on SISA uses."""

from . import cost
from .code import Exactness, by_risk, speedup, storage, verify_exact

__all__ = ["Exactness", "by_risk", "cost", "speedup", "storage", "verify_exact"]
