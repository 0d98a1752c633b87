"""How near a rebuilt image is to the original: each image by itself, pixels in [0, 1]."""

import torch

from ..base import LabError


def mse(images, originals) -> torch.Tensor:
    """Mean squared error of each image. (…, c, h, w) twice -> (…). LabError outside [0, 1]."""
    if images.shape != originals.shape:
        raise LabError(f"Images of {tuple(images.shape)} and originals of "
                       f"{tuple(originals.shape)}: give as many.")
    for x in (images, originals):
        if not (x.min() >= 0 and x.max() <= 1):  # also refuses NaN
            raise LabError(f"Pixels from {x.min():.3g} to {x.max():.3g}: image measures take "
                           "pixels in [0, 1]; see Data.pixels.")
    return (images.double() - originals.double()).square().mean((-3, -2, -1))


def psnr(images, originals) -> torch.Tensor:
    """Peak signal-to-noise ratio, −10 log10 MSE, in dB: 100 at most. (…, c, h, w) twice -> (…)."""
    return -10 * mse(images, originals).clamp(min=1e-10).log10()
