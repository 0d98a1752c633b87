"""Measures: accuracy and cost, membership inference, uncertainty, images, intervals."""

from .accuracy import Cost, accuracy, evaluate, gap, timed, unlearning_accuracy
from .images import mse, psnr
from .intervals import decimals, interval, show_interval
from .membership import svc_mia
from .uncertainty import ece, entropy

__all__ = [
    "Cost", "accuracy", "decimals", "ece", "entropy", "evaluate", "gap", "interval", "mse", "psnr",
    "show_interval", "svc_mia", "timed", "unlearning_accuracy",
]
