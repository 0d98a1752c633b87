"""How near a rebuilt image is to the original: MSE, PSNR, SSIM, LPIPS, each image by itself, pixels in [0, 1]."""

import torch

from ..base import LabError


def mse(images, originals) -> torch.Tensor:
    """Mean squared error of each image. (…, c, h, w) twice -> (…). Raises LabError outside [0, 1]."""
    if images.shape != originals.shape:
        raise LabError(f"Images of {tuple(images.shape)} and originals of {tuple(originals.shape)}: give as many.")
    for x in (images, originals):
        if not (x.min() >= 0 and x.max() <= 1):  # also refuses NaN
            raise LabError(f"Pixels from {x.min():.3g} to {x.max():.3g}: image measures take pixels in [0, 1]; see "
                           "Data.pixels.")
    return (images.double() - originals.double()).square().mean((-3, -2, -1))


def psnr(images, originals) -> torch.Tensor:
    """Peak signal-to-noise ratio, −10 log10 MSE, in dB. (…, c, h, w) twice -> (…). 100 dB at most (MSE 1e-10)."""
    return -10 * mse(images, originals).clamp(min=1e-10).log10()


def ssim(images, originals) -> torch.Tensor:
    """Structural similarity (Wang et al. 2004, 11×11 Gaussian window), −1 to 1. (n, c, h, w) twice -> (n,)."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    mse(images, originals)  # refuses what is not in [0, 1]
    return structural_similarity_index_measure(images.float(), originals.float(), data_range=1.0, reduction="none")


def lpips(images, originals) -> torch.Tensor:
    """Perceptual distance LPIPS on AlexNet (Zhang et al. 2018), 0 alike. (n, c, h, w) twice, c of 1 or 3 -> (n,).

    Images are enlarged to 64 × 64. AlexNet's weights are not downloaded: without them in torch's cache, a LabError.
    """
    from pathlib import Path

    weights = Path(torch.hub.get_dir()) / "checkpoints" / "alexnet-owt-7be5be79.pth"
    if not weights.exists():
        raise LabError("LPIPS needs AlexNet's weights, and they are not in torch's cache: run "
                       "torchvision.models.alexnet(weights='DEFAULT') once with a network, or use ssim.")
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

    mse(images, originals)  # refuses what is not in [0, 1]
    pair = [torch.nn.functional.interpolate(x.float().expand(-1, 3, -1, -1), (64, 64), mode="bilinear")
            for x in (images, originals)]
    return torch.stack([learned_perceptual_image_patch_similarity(a[None], b[None], "alex", normalize=True)
                        for a, b in zip(*pair, strict=True)])


def assign(images, originals) -> torch.Tensor:
    """The order of a rebuilt batch that fits the originals best. (u, c, h, w) twice -> (u,) indices into images.

    A mean gradient does not say in which order the rows stood, so the judge may sort them (least total MSE).
    """
    from scipy.optimize import linear_sum_assignment

    cost = (images[None].double() - originals[:, None].double()).square().mean((-3, -2, -1))
    return torch.from_numpy(linear_sum_assignment(cost.cpu().numpy())[1]).to(images.device)
