"""labkit.models: shapes, sizes, the same seed, and one sentence for every error."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from labkit import models
from labkit.base import LabError

FASHION, CIFAR, TABLE = (1, 28, 28), (3, 32, 32), (12,)


def rows(shape, n_classes=10):
    """What `build` looks at in a data set."""
    return SimpleNamespace(shape=shape, n_classes=n_classes, x=torch.zeros(1, *shape))


@pytest.mark.parametrize("name", ["mlp", "strided_cnn", "small_cnn"])
@pytest.mark.parametrize("shape", [FASHION, CIFAR, (1, 8, 8), (3, 30, 34)])
def test_images_become_one_logit_a_class(name, shape):
    net = models.build(name, rows(shape, 7), seed=0)
    assert net(torch.randn(5, *shape)).shape == (5, 7)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())


def test_tables_go_through_the_mlp():
    assert models.build("mlp", rows(TABLE, 2), seed=0, hidden=3)(torch.randn(4, 12)).shape == (4, 2)


def test_numbers_of_weights():
    names = ("mlp", "strided_cnn", "small_cnn")
    sizes = {name: models.n_weights(models.build(name, rows(FASHION), 0)) for name in names}
    assert sizes["mlp"] == 784 * 256 + 256 + 256 * 10 + 10 == 203_530
    assert sizes["strided_cnn"] == (16 * 16 + 16) + (16 * 16 * 32 + 32) + (32 * 49 * 10
                                                                           + 10) == 24_186
    assert sizes["small_cnn"] == (9 * 16 + 16) + (9 * 16 * 32 + 32) + (32 * 49 * 64
                                                                       + 64) + (64 * 10 + 10)
    # what the docstrings say
    for name, size in (("mlp", 204), ("strided_cnn", 24), ("small_cnn", 106)):
        assert f"{size} k weights" in models.MODELS[name].__doc__ and round(sizes[name]
                                                                            / 1000) == size
    frozen = models.mlp(TABLE, 2, 3)
    frozen[1].weight.requires_grad_(False)
    assert models.n_weights(frozen) == 3 + 3 * 2 + 2


@pytest.mark.parametrize("name", list(models.MODELS))
def test_the_seed_decides_the_weights_and_nothing_else_moves(name):
    before = torch.get_rng_state()
    a, other = (models.build(name, rows(CIFAR), seed).state_dict() for seed in (5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    again = models.build(name, rows(CIFAR), 5).state_dict()
    assert all(torch.equal(a[k], again[k]) for k in a)
    assert not all(torch.equal(a[k], other[k]) for k in a)


def test_convolutions_are_channels_last():
    net = models.build("strided_cnn", rows(CIFAR), 0)
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_resnet18_has_the_small_stem():
    net = models.build("resnet18", rows(CIFAR), 0)
    assert net.conv1.kernel_size == (3, 3) and net.conv1.stride == (1, 1) and net.conv1.bias is None
    assert isinstance(net.maxpool, nn.Identity)
    seen = []
    net.layer1.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    assert net.eval()(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert seen == [(2, 64, 32, 32)], "the stem must keep the 32×32 pixels"
    # the figure that papers give for this network on CIFAR-10
    assert models.n_weights(net) == 11_173_962
    assert models.build("resnet18", rows(FASHION, 3), 0).eval()(torch.randn(1, 1, 28,
                                                                            28)).shape == (1, 3)


@pytest.mark.parametrize("name, shape, words", [
    ("vgg", FASHION, ["vgg", *models.MODELS]),
    ("strided_cnn", TABLE, ["strided_cnn", "12 columns", "mlp"]),
    ("small_cnn", TABLE, ["small_cnn", "mlp"]),
    ("resnet18", TABLE, ["resnet18", "mlp"]),
    ("strided_cnn", (1, 6, 28), ["8×8", "6×28"]),
])
def test_what_cannot_be_built_says_why(name, shape, words):
    with pytest.raises(LabError) as caught:
        models.build(name, rows(shape), 0)
    assert all(w in str(caught.value) for w in words) and "\n" not in str(caught.value)
