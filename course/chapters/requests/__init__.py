"""What only the chapter on requests uses."""

from .code import at_once, campaign, craft, replan, spread

__all__ = ["at_once", "campaign", "craft", "replan", "spread"]
