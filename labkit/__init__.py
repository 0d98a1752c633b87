"""labkit: the thin package behind the course. Five verbs (measure, unlearn, attack, verify, defend) over one ground."""

import warnings

# torch's own forward-mode derivatives still call torch.jit.script; the reader can do nothing about it
warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated", category=FutureWarning)

from . import data, measure, models, training, unlearn
from .base import LabError, NotForThisData, spawn_seeds

__version__ = "0.1.0"
