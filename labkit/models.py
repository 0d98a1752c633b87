"""Networks: mlp, strided_cnn (the default), small_cnn, resnet18. Only resnet18 has BatchNorm."""

import torch
from torch import nn

from .base import LabError
from .rules import checked


def mlp(shape, n_classes: int, hidden: int = 256, dropout: float = 0.0) -> nn.Module:
    """One hidden layer on flattened images or tables: 204 k weights on 28×28. dropout: a share."""
    d = int(torch.tensor(shape).prod())
    drop = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(nn.Flatten(), nn.Linear(d, hidden), nn.ReLU(), *drop,
                         nn.Linear(hidden, n_classes))


def strided_cnn(shape, n_classes: int, width: int = 16) -> nn.Module:
    """Two 4×4 convolutions of stride 2, no pooling: 24 k weights on 28×28. The course's default."""
    c, h, w = _image_shape(shape, "strided_cnn")
    return nn.Sequential(
        nn.Conv2d(c, width, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(2 * width * (h // 4) * (w // 4), n_classes),
    )


def small_cnn(shape, n_classes: int, width: int = 16) -> nn.Module:
    """Two 3×3 convolutions with max pooling and a hidden layer: about 106 k weights on 28×28."""
    c, h, w = _image_shape(shape, "small_cnn")
    return nn.Sequential(
        nn.Conv2d(c, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(2 * width * (h // 4) * (w // 4), 64), nn.ReLU(),
        nn.Linear(64, n_classes),
    )


def resnet18(shape, n_classes: int) -> nn.Module:
    """torchvision's ResNet-18 with a 3×3 stem and no first pooling, as the papers use on CIFAR."""
    from torchvision.models import resnet18 as tv_resnet18
    c, _, _ = _image_shape(shape, "resnet18")
    net = tv_resnet18(weights=None, num_classes=n_classes)
    net.conv1 = nn.Conv2d(c, 64, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()
    return net


MODELS = {"mlp": mlp, "strided_cnn": strided_cnn, "small_cnn": small_cnn, "resnet18": resnet18}


@checked
def build(name: str, data, seed: int, **settings) -> nn.Module:
    """A fresh network for `data`, on its device. Same seed, same weights: drawn on the CPU."""
    if name not in MODELS:
        raise LabError(f"There is no model {name!r}: choose one of {', '.join(MODELS)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = MODELS[name](data.shape, data.n_classes, **settings)
    if name != "mlp":
        net = net.to(memory_format=torch.channels_last)  # 1.4 to 1.5 times faster on a CPU
    return net.to(data.x.device)


def n_weights(model: nn.Module) -> int:
    """Number of trainable weights."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _image_shape(shape, name):
    if len(shape) != 3:
        raise LabError(f"{name} needs images, and this data set is a table of {shape[0]} columns: "
                       "use model 'mlp'.")
    if min(shape[1:]) < 8:
        raise LabError(f"{name} needs images of 8×8 pixels or more, not {shape[1]}×{shape[2]}.")
    return shape
