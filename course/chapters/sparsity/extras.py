"""Images moved about in training, and trained networks kept for a run that is cut off."""

import time
from contextlib import suppress

import torch
import torch.nn.functional as F

from labkit.store import load, path_of, save


def flip_and_crop(x, draw, pad=4):
    """Each image mirrored at odds of 1 to 1, then shifted by up to `pad` pixels, zeros coming in.

    x (n, c, h, w), normalised, so that a zero is the mean; draw: the generator. As He et al. 2016
    on CIFAR, with 4 pixels. torchvision's transforms would move all images of a batch alike.
    """
    n, c, h, w = x.shape
    flips = (torch.rand(n, generator=draw) < 0.5).to(x.device)
    shifts = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=draw).to(x.device)
    x = F.pad(torch.where(flips[:, None, None, None], x.flip(3), x), (pad,) * 4)
    image, channel, row, column = (torch.arange(k, device=x.device) for k in (n, c, h, w))
    row, column = row + shifts[0], column + shifts[1]  # (n, h), (n, w)
    return x[image[:, None, None, None], channel[:, None, None], row[:, None, :, None],
             column[:, None, None, :]]


def network(folder, name: str, fresh, train):
    """train() -> network, and its CPU seconds; or the network that a run left, and its seconds.

    fresh: an untrained network of that kind, for the kept weights. folder: None keeps nothing.
    """
    if folder is not None:
        path = path_of(folder, f"network {name}", "kept")
        with suppress(LookupError):
            about, tensors = load(path)
            fresh.load_state_dict(tensors)
            return fresh.eval(), about["cpu seconds"]
    start = time.process_time()
    model = train()
    seconds = time.process_time() - start
    if folder is not None:
        save(path, {"cpu seconds": seconds}, model.state_dict())
    return model, seconds
