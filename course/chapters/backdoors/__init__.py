"""What only the chapter on backdoors uses."""

from . import approximate, desk, drawing, influential, matching, runs, telling, worlds

__all__ = ["approximate", "desk", "drawing", "influential", "matching", "runs", "telling",
           "worlds"]
