"""The class of what was deleted: probes from queries alone, and the class that lost confidence."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import labkit as lk
from course.chapters.leakage import labels as here
from course.chapters.leakage.probes import probes_by_queries
from labkit import attack
from labkit.base import LabError

SHAPE, ZERO = (1, 4, 4), torch.tensor(0.0)
GIVEN = dict(shape=SHAPE, mean=ZERO, std=torch.tensor(1.0))
CFG = SimpleNamespace(hidden=12, label_epochs=1, probe_steps=4)


@pytest.fixture(scope="module")
def data():
    return lk.data.load("fashion", at_most=(900, 200), moments="test", device="cpu")


def softmax_model(scale=1.0, k=3, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, k)).eval()
    with torch.no_grad():
        model[1].weight.mul_(scale)
    return model



class Answers:
    """A callable that answers, counts, and refuses to be differentiated."""

    def __init__(self, model):
        self.model, self.queries, self.calls = model, 0, []

    @torch.no_grad()
    def __call__(self, x):
        assert not x.requires_grad
        self.queries += len(x)
        self.calls.append(x.clone())
        return self.model(x).softmax(1)


def test_query_probes_use_answers_only_and_count_them():
    model = softmax_model(40.0)
    box, plain = attack.BlackBox(model), Answers(model)
    found = probes_by_queries(box, 3, 2, **GIVEN, coordinates=8, steps=60)
    again = probes_by_queries(plain, 3, 2, **GIVEN, coordinates=8, steps=60)
    torch.testing.assert_close(found.images, again.images)
    assert found.images.min() >= 0 and found.images.max() <= 1
    assert found.confidence.min() > 0.99
    own = torch.stack([model(found.images[k]).softmax(1)[:, k] for k in range(3)]).detach()
    torch.testing.assert_close(found.confidence, own)
    assert box.queries == plain.queries == sum(len(x) for x
                                               in plain.calls) and found.queries == box.queries / 6


def test_queries_are_two_a_coordinate_and_one_to_look_and_nothing_once_sure():
    box = attack.BlackBox(softmax_model())
    probes_by_queries(box, 3, 2, **GIVEN, coordinates=5, steps=4, enough=2.0)
    assert box.queries == 6 + 4 * 6 * (2 * 5 + 1)
    asked = probes_by_queries(box, 3, 2, **GIVEN, coordinates=5, steps=4, enough=0.0)
    assert asked.queries == 1  # earlier queries of the box are not counted again


def test_the_limit_of_queries_is_respected():
    box = attack.BlackBox(softmax_model(), limit=100)
    with pytest.raises(LabError, match="limit of 100"):
        probes_by_queries(box, 3, 2, **GIVEN, coordinates=5, steps=4, enough=2.0)
    assert box.queries <= 100


def test_queries_are_symmetric_differences_of_h_at_the_drawn_coordinates():
    plain = Answers(softmax_model())
    probes_by_queries(plain, 3, 1, **GIVEN, coordinates=5, steps=1, h=0.01, enough=2.0)
    start, asked, _ = plain.calls
    moved = (asked.view(3, 10, 16) - start.view(3, 1, 16)).view(3, 2, 5, 16)
    torch.testing.assert_close(moved[:, 0], -moved[:, 1], rtol=0, atol=1e-6)
    assert ((moved.abs() > 1e-6).sum(3) == 1).all()
    torch.testing.assert_close(moved.sum(3), torch.tensor([0.01, -0.01])[None, :,
                                                                         None].expand(3, 2, 5),
                               rtol=0, atol=1e-6)
    assert all(len(set(m.abs().argmax(1).tolist())) == 5 for m in moved[:, 0])


def test_one_iteration_over_all_coordinates_goes_down_the_gradient():
    model = softmax_model(seed=3)
    box = attack.BlackBox(model)
    start, one = (probes_by_queries(box, 3, 2, **GIVEN, coordinates=16, steps=s, lr=0.05,
                                              enough=2.0).images
                  .flatten(0, 1) for s in (0, 1))
    x = start.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(model(x), torch.tensor([0, 0, 1, 1, 2, 2]),
                                               reduction="sum"), x)
    clear = g.abs() > 1e-2
    assert clear.float().mean() > 0.8
    expected = (start - 0.05 * g.sign()).clamp(0, 1)  # the first step of Adam has length lr
    torch.testing.assert_close(one[clear], expected[clear], rtol=0, atol=1e-4)


def test_more_coordinates_than_pixels_are_refused():
    with pytest.raises(LabError, match="coordinates"):
        probes_by_queries(attack.BlackBox(softmax_model()), 3, 1, **GIVEN, coordinates=17,
                                    steps=1)

def test_probes_by_queries_are_normalised_as_the_model_was_trained():
    given = dict(shape=SHAPE, mean=torch.tensor(0.4), std=torch.tensor(0.2))
    model = softmax_model(3.0)
    by_hand = nn.Sequential(nn.Flatten(), copy.deepcopy(model[1]))
    with torch.no_grad():  # the same function of the pixels
        by_hand[1].weight.div_(0.2)
        by_hand[1].bias.sub_(0.4 * by_hand[1].weight.sum(1))
    one, other = (probes_by_queries(attack.BlackBox(m), 3, 2, **look, steps=0, coordinates=4)
                  for m, look in ((model, given), (by_hand, GIVEN)))
    torch.testing.assert_close(one.confidence, other.confidence, rtol=0, atol=1e-5)


def test_no_probes_is_an_error():
    with pytest.raises(LabError, match="count is 0"):
        probes_by_queries(attack.BlackBox(softmax_model()), 3, 0, **GIVEN)


def test_who_asks_reaches_no_weights():
    box = attack.BlackBox(softmax_model())
    for name in ("parameters", "model", "named_parameters", "forward", "__dict__"):
        assert not hasattr(box, name)
    probes = probes_by_queries(box, 3, 1, **GIVEN, coordinates=4, steps=2)
    data = SimpleNamespace(mean=ZERO, std=torch.tensor(1.0), n_classes=3)
    asked, _ = here.answers(box, probes, data)
    assert not asked.requires_grad and box.queries == 3 * probes.queries + 3


def test_the_class_that_lost_most_confidence_is_named():
    g = np.random.default_rng(4)
    for _ in range(100):
        k = int(g.integers(1, 9))
        which = g.permutation(np.concatenate([np.arange(k), g.integers(0, k, g.integers(0, 20))]))
        before, after = (torch.from_numpy(g.normal(0, 2, (len(which), k))).softmax(1)
                         for _ in range(2))
        fall = [np.mean([float(before[i, c] - after[i, c]) for i in range(len(which))
                         if which[i] == c]) for c in range(k)]
        assert here.deleted_class(before, after, torch.from_numpy(which)) == int(np.argmax(fall))


def test_a_trial_of_labels_judges_every_class_once(data):
    hit, queries, falls = here.labels_trial(data, CFG, here.deleted_class, 5)
    assert len(hit) == 3 * 2 * 3 and {len(v) for v in hit.values()} == {data.n_classes}
    assert queries > 0 and all(v in (0.0, 1.0) for row in hit.values() for v in row)
    found = here.label_records([(hit, queries, falls)] * 2)
    values, clusters = found["gradient"]
    assert len(values) == 3 * 2 * data.n_classes and set(clusters) == {0, 1}
    assert np.mean(values) == np.mean([hit["gradient", "ascent", s] for s in here.SHARES])
    assert found["exact-10"][0] == 2 * hit["gradient", "exact", "10"]
    for (how, share, c), changed in falls.items():
        assert hit["gradient", how, share][c] == float(changed.argmin() == c)
