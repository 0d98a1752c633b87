"""labkit.measure against counting by hand, brute force, scikit-learn, scipy and simulated truth."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.svm import SVC
from torch import nn

import labkit as lk
from course.chapters import basics, uncertainty
from labkit import measure
from labkit.base import LabError, NotForThisData
from labkit.data import Data
from labkit.training import fit, predict


def table(x, y, x_test, y_test, classes=3):
    x, x_test = torch.as_tensor(x).float(), torch.as_tensor(x_test).float()
    d = x.shape[1]
    return Data("toy", x, torch.as_tensor(y), x_test, torch.as_tensor(y_test),
                tuple("abcdefghij"[:classes]),
                torch.zeros(d), torch.ones(d), {})


@pytest.fixture(scope="module")
def world():
    """(data, build, recipe, original): 1,500 rows, a network that has learned its rows by heart."""
    data = lk.data.load("fashion", n_train=1500, n_test=500, device="cpu").resplit(1)

    def build(seed):
        return lk.models.build("mlp", data, seed, hidden=32)

    recipe = dict(epochs=20, lr=0.1, batch_size=64)
    return data, build, recipe, fit(build(1), data.x, data.y, seed=1, **recipe)


# ---- accuracy

def test_accuracy_by_hand():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 2.0], [5.0, 0.0, 0.0]])
    labels = torch.tensor([0, 1, 1, 2])
    assert (measure.accuracy(logits, labels) == 50.0 and measure.unlearning_accuracy(logits, labels)
            == 50.0)
    assert measure.accuracy(logits[:3], labels[:3]) == pytest.approx(200 / 3)
    assert measure.unlearning_accuracy(logits[:2], labels[:2]) == 0.0


def answers(*called):
    """Rows that an identity network calls these classes."""
    return torch.eye(3)[list(called)]


def test_evaluate_by_hand():
    data = table(answers(0, 1, 2, 1, 1, 0), [0, 1, 1, 0, 1, 2], answers(0, 0, 1, 2, 2),
                 [0, 1, 0, 2, 1])
    # of 0, 2, 4 one is wrong; of 1, 3, 5 one is right
    found = measure.evaluate(nn.Identity(), data, [0, 2, 4])
    assert found == pytest.approx({"UA": 100 / 3, "RA": 100 / 3, "TA": 40.0})


def test_a_class_that_was_forgotten_whole_does_not_count_in_ta():
    data = table(answers(0, 1, 2, 1, 1, 0), [0, 1, 1, 0, 1, 2], answers(0, 0, 1, 2, 2),
                 [0, 1, 0, 2, 1])
    # test rows 1, 3, 4 stay: one right
    whole = measure.evaluate(nn.Identity(), data, data.forget_class(0))
    assert whole == {"UA": 50.0, "RA": pytest.approx(50.0), "TA": pytest.approx(100 / 3)}
    part = measure.evaluate(nn.Identity(), data, [0])  # class 0 keeps a row, so its test rows count
    assert part["TA"] == pytest.approx(40.0)


def test_gap_by_hand_and_in_the_paper():
    a, b = {"UA": 10.0, "RA": 90.0, "TA": 80.0, "MIA": 3.0}, {"UA": 4.0, "RA": 95.0, "TA": 81.0,
                                                              "MIA": 5.0}
    assert measure.gap(a, b) == measure.gap(b, a) == 4.0 and measure.gap(a, a) == 0.0
    assert measure.gap(a, b, ["UA", "MIA"]) == 4.0
    # Jia et al. 2023, class-wise fine-tuning of the dense network: (77.47 + 25.00 + 0.13 + 0.52) /
    # 4
    retrain = {"UA": 100.0, "MIA": 100.0, "RA": 100.0, "TA": 94.83}
    tuned = {"UA": 22.53, "MIA": 75.0, "RA": 99.87, "TA": 94.31}
    assert round(measure.gap(tuned, retrain, ("UA", "MIA", "RA", "TA")), 2) == 25.78
    with pytest.raises(LabError, match="MIA"):
        measure.gap({"UA": 1.0}, retrain, ("UA", "MIA"))


# ---- cost

def hooks():
    module = torch.nn.modules.module
    return len(module._global_forward_pre_hooks) + len(module._global_forward_hooks)


@pytest.mark.parametrize("method, settings, visits", [
    ("retrain", dict(epochs=3), 3 * 1350), ("retrain", dict(epochs=1, batch_size=7), 1350),
    ("finetune", dict(epochs=2), 2 * 1350), ("gradient_ascent", dict(epochs=4), 4 * 150),
    ("random_labels", dict(epochs=2), 2 * 1500), ("first_order", {}, 150),
    ("neggrad_plus", dict(epochs=1, batch_size=50), 1350 + 27 * 50),
    # the teacher's answers cost no gradient
    ("scrub", dict(epochs=3, max_epochs=2), 3 * 1350 + 2 * 150),
    ("ssd", dict(n_rows=700, chunk=64), 700 + 150),  # inside vmap a network sees one row at a time
    ("fisher_forgetting", dict(n_rows=300, chunk=1000), 300),
    # each product goes forward twice
    ("influence", dict(n_rows=200, cg_steps=4), 1500 + 4 * 2 * 200),
])
def test_visits_are_rows_that_went_forward_with_gradients(world, method, settings, visits):
    data, build, recipe, original = world
    forget = data.forget_random(0.1, 0)
    if method == "retrain":
        settings = recipe | dict(build=build, seed=0) | settings
    model, cost = measure.timed(lk.unlearn.METHODS[method], original, data, forget, **settings)
    assert cost.visits == visits
    assert (isinstance(model, nn.Module) and cost.seconds > 0 and cost.cpu_seconds > 0 and hooks()
            == 0)


def test_timed_counts_only_its_own_call():
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 2)))
    x = torch.zeros(5, 2)
    assert measure.timed(lambda: net(x))[1].visits == 5, "an inner layer is no visit of its own"
    net(x)
    assert measure.timed(predict, net, x)[1].visits == 0
    assert measure.timed(lambda a, b=0: a + b, 1, b=2)[0] == 3

    def nested():
        net(x)
        return measure.timed(lambda: net(x[:3]))[1].visits

    assert measure.timed(nested)[0] == 3


def test_timed_takes_its_hooks_away_when_the_call_fails():
    net = nn.Linear(2, 2)

    def fails():
        net(torch.zeros(1, 3))

    with pytest.raises(RuntimeError, match="shape"):
        measure.timed(fails)
    assert hooks() == 0

    def fails_and_goes_on():
        with pytest.raises(RuntimeError):
            fails()
        return net(torch.zeros(4, 2))

    assert measure.timed(fails_and_goes_on)[1].visits == 1 + 4, ("a forward that failed must not "
                                                                 "hide later ones")


def test_timed_measures_seconds():
    import time

    _, asleep = measure.timed(time.sleep, 0.2)
    assert 0.2 <= asleep.seconds < 1 and asleep.cpu_seconds < 0.1


# ---- membership: the scores

def test_loss_scores_are_the_log_probabilities():
    logits = torch.tensor([[1.0, 2.0, 0.5], [40.0, -40.0, 0.0]])
    expected = [logits[0].log_softmax(0)[1], -80.0]
    np.testing.assert_allclose(basics.loss_scores(logits, torch.tensor([1, 1])), expected,
                               rtol=1e-6)
    close_calls = basics.loss_scores(torch.tensor([[30.0, 0.0], [31.0, 0.0]]), torch.tensor([0, 0]))
    assert close_calls[0] < close_calls[1] < 0, "in single precision both would be 0"


@pytest.mark.parametrize("levels", [3, 20, 10**6])
def test_auc_is_scikit_learns_also_with_ties(levels):
    rng = np.random.default_rng(levels)
    for n, m in ((1, 1), (7, 30), (200, 90)):
        a, b = rng.integers(0, levels, n) + levels // 4, rng.integers(0, levels, m)
        y = np.r_[np.ones(n), np.zeros(m)]
        assert basics.auc(a, b) == pytest.approx(roc_auc_score(y, np.r_[a, b]), abs=1e-12)
        pairs = a[:, None] - b[None]
        assert basics.auc(a, b) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean(),
                                                 abs=1e-12)
        assert basics.auc(a, b) + basics.auc(b, a) == pytest.approx(1)
    assert basics.auc([1, 1], [1, 1]) == 0.5


def test_the_best_threshold_is_the_best():
    rng = np.random.default_rng(0)
    for n, m, digits in ((5, 8, 1), (60, 40, 1), (30, 200, 3), (1, 1, 2)):
        a, b = rng.normal(0.7, 1, n).round(digits), rng.normal(0, 1, m).round(digits)

        def balanced(cut, a=a, b=b):
            return ((a > cut).mean() + (b <= cut).mean()) / 2

        every = np.unique(np.r_[a, b])
        cuts = np.r_[-np.inf, every, (every[1:] + every[:-1]) / 2]
        assert balanced(basics.best_threshold(a, b)) == pytest.approx(max(balanced(c)
                                                                          for c in cuts), abs=1e-12)
    assert 2 < basics.best_threshold([3, 4], [1, 2]) < 3


@pytest.mark.parametrize("function", [basics.auc, basics.best_threshold])
def test_scores_that_are_no_scores(function):
    for bad in ([], [np.nan, 1.0], [np.inf]):
        with pytest.raises(LabError):
            function(bad, [1.0, 2.0])
        with pytest.raises(LabError):
            function([1.0, 2.0], bad)


def test_membership_auc_compares_rows_of_one_kind():
    data = table(answers(0, 1, 2, 1, 1, 0), [0, 1, 1, 0, 1, 2], answers(0, 0, 1, 2, 2),
                 [0, 1, 0, 2, 1])

    def by_hand(forget, strangers):
        return basics.auc(basics.loss_scores(data.x[forget], data.y[forget]),
                           basics.loss_scores(data.x_test[strangers], data.y_test[strangers]))

    for forget, strangers in (([2, 4], [0, 1, 2, 3, 4]), ([0], [0, 1, 2, 3, 4]), ([0, 3], [0, 2]),
                              ([0, 3, 5], [0, 2, 3])):
        assert basics.membership_auc(nn.Identity(), data, forget) == by_hand(forget, strangers)
    assert by_hand([0, 3], [0, 2]) != by_hand([0, 3], [1, 3, 4])
    # class 0 whole, and one row of class 1
    mixed = basics.membership_auc(nn.Identity(), data, [0, 3, 4])
    assert mixed == pytest.approx(2 / 3 * by_hand([0, 3], [0, 2]) + 1 / 3 * by_hand([4], [1, 4]))
    assert mixed != pytest.approx(by_hand([0, 3, 4], [0, 2]))


@pytest.mark.parametrize("forget", [[0, 3], [0, 3, 4]], ids=["the class alone", "and another row"])
def test_membership_auc_names_the_class_that_the_test_rows_lack(forget):
    data = table(answers(0, 1, 2, 1, 1, 0), [0, 1, 1, 0, 1, 2], answers(0, 1, 2, 2), [1, 1, 2, 1])
    with pytest.raises(NotForThisData, match="no row of the class 'a'.*add test rows") as told:
        basics.membership_auc(nn.Identity(), data, forget)
    assert "\n" not in str(told.value)


class Huge(nn.Linear):
    """Finite weights, answers beyond float32."""

    def forward(self, x):
        return super().forward(x) * 1e38 * 1e38


def test_a_network_that_answers_nan_has_diverged(world):
    data, forget = world[0], world[0].forget_random(0.1)
    model = nn.Sequential(nn.Flatten(), Huge(data.x[0].numel(), data.n_classes))
    assert all(torch.isfinite(p).all() for p in model.parameters())
    for judge in (basics.membership_auc, measure.svc_mia, measure.evaluate):
        with pytest.raises(lk.Diverged, match="NaN or infinity.*lower"):
            judge(model, data, forget)
    with pytest.raises(LabError, match="rows hold NaN") as told:  # that is not the network's fault
        predict(nn.Identity(), torch.tensor([[float("nan"), 1.0]]))
    assert not isinstance(told.value, lk.Diverged)


# ---- membership: the attacks

@pytest.mark.parametrize("attack", ["threshold", "logistic"])
def test_the_population_attack_is_blind_on_noise(attack):
    rng = np.random.default_rng(7)
    found = [basics.population_attack(rng.normal(size=(80, 2)), rng.normal(size=(160, 2)), attack,
                                      folds=5, seed=i)
             for i in range(60)]
    assert abs(np.mean([f["auc"] for f in found]) - 0.5) < 0.02
    assert abs(np.mean([f["accuracy"] for f in found]) - 0.5) < 0.02


@pytest.mark.parametrize("attack", ["threshold", "logistic"])
def test_the_population_attack_sees_what_is_there(attack):
    rng = np.random.default_rng(8)
    apart = basics.population_attack(rng.normal(9, 1, 60), rng.normal(0, 1, 90), attack)
    assert apart["auc"] == 1.0 and apart["accuracy"] > 0.98
    shifted = basics.population_attack(rng.normal(1, 1, 2000), rng.normal(0, 1, 2000), attack,
                                       seed=1)
    # of two normals, one apart
    assert shifted["auc"] == pytest.approx(stats.norm.cdf(1 / 2**0.5), abs=0.02)
    assert shifted["accuracy"] == pytest.approx(stats.norm.cdf(0.5), abs=0.02)


def test_attacks_differ_where_they_should():
    rng = np.random.default_rng(9)
    low, high = rng.normal(-2, 1, (150, 1)), rng.normal(0, 1, (150, 1))
    # a score: members are expected to lie high
    assert basics.population_attack(low, high, "threshold")["auc"] < 0.1
    # a fitted rule finds the direction
    assert basics.population_attack(low, high, "logistic")["auc"] > 0.9
    hidden = [np.c_[rng.normal(size=(200, 1)), side] for side in (rng.normal(3, 1, 200),
                                                                  rng.normal(0, 1, 200))]
    assert basics.population_attack(*hidden, "threshold")["auc"] < 0.6 < 0.95 < (
        basics.population_attack(*hidden, "logistic")["auc"])
    a, b = rng.normal(1, 1, 50), rng.normal(0, 1, 70)
    assert basics.population_attack(a, b, seed=3) == basics.population_attack(a[:, None],
                                                                              b[:, None], seed=3)


def test_the_logistic_attack_minds_neither_scale_nor_uneven_sides():
    rng = np.random.default_rng(10)
    few, many = rng.normal(1, 1, (300, 2)), rng.normal(0, 1, (3000, 2))
    found = basics.population_attack(few, many)
    # calling all strangers: 0.5
    assert found["accuracy"] == pytest.approx(stats.norm.cdf(0.5**0.5), abs=0.1)
    for scale in (1e-5, 1e5):
        assert basics.population_attack(few * scale + 3, many * scale
                                        + 3) == pytest.approx(found, abs=1e-3)


@pytest.mark.parametrize("a, b, attack, words", [
    (np.zeros(9), np.zeros(50), "logistic", "10 rows on each side and got 9 and 50"),
    (np.r_[np.nan, np.zeros(20)], np.zeros(50), "logistic", "NaN"), (np.zeros(20), np.zeros(20),
                                                                     "svm", "'svm'")])
def test_the_population_attack_says_what_it_needs(a, b, attack, words):
    with pytest.raises(LabError, match=words):
        basics.population_attack(a, b, attack)


def test_label_free_features_know_no_labels():
    logits = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    features = basics.label_free_features(logits)
    p = logits.double().softmax(1)
    np.testing.assert_allclose(features[:, 0], p.max(1).values)
    np.testing.assert_allclose(features[:, 1], -(p * p.log()).sum(1))
    # which class is which: no matter
    for order in itertools.islice(itertools.permutations(range(5)), 0, 120, 17):
        np.testing.assert_allclose(basics.label_free_features(logits[:, list(order)]), features)
    sure = basics.label_free_features(torch.tensor([[900.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_allclose(sure, [[1, 0], [0.5, np.log(2)]], atol=1e-12)


def svc_by_the_book(model, data, forget, feature):
    """Jia et al. 2023, SVC_MIA.py, for one feature: (efficacy, member recall, non-member rate,
    privacy), shares.
    """
    def features(x, y):
        p = torch.softmax(predict(model, x).double(), 1).numpy()
        if feature == "confidence":
            return p[np.arange(len(y)), y.numpy()][:, None]
        return -(p * np.log(np.maximum(p, 1e-300))).sum(1)[:, None]

    stays = np.setdiff1d(np.arange(len(data.y)), forget.numpy())[: len(data.y_test)]
    member, other = features(data.x[stays], data.y[stays]), features(data.x_test, data.y_test)
    asked = features(data.x[forget], data.y[forget])

    def svc(a, b):
        return SVC(C=3, gamma="auto", kernel="rbf").fit(np.r_[a, b],
                                                        np.r_[np.ones(len(a)), np.zeros(len(b))])

    clf, h = svc(member, other), len(member) // 2
    half = svc(member[:h], other[:h])
    privacy = (half.predict(member[h:]).mean() + (half.predict(other[h:]) == 0).mean()) / 2
    return ((clf.predict(asked) == 0).mean(), clf.predict(member).mean(),
            (clf.predict(other) == 0).mean(), privacy)


@pytest.mark.parametrize("feature", ["confidence", "entropy"])
def test_svc_mia_is_the_published_attack(world, feature):
    data, _, _, original = world
    forget = data.forget_random(0.1, 3)
    efficacy, _, _, privacy = svc_by_the_book(original, data, forget, feature)
    found = measure.svc_mia(original, data, forget, feature)
    assert found == {"efficacy": pytest.approx(100 * efficacy),
                     "privacy": pytest.approx(100 * privacy)}
    assert measure.svc_mia(original, data, forget, feature, privacy=False) == {"efficacy":
                                                                               found["efficacy"]}


@pytest.mark.parametrize("feature", ["confidence", "entropy"])
@pytest.mark.parametrize("row", [0, 7, 1499])
def test_svc_mia_of_a_single_row(world, feature, row):
    data, _, _, original = world
    efficacy, _, _, privacy = svc_by_the_book(original, data, torch.tensor([row]), feature)
    assert measure.svc_mia(original, data, [row], feature) == {
        "efficacy": 100 * efficacy, "privacy": pytest.approx(100 * privacy)}


def test_svc_mia_on_rows_whose_status_is_known(world):
    """Rows that the model never saw score like the test set, its own rows like the retain set."""
    data, build, recipe, original = world
    forget = data.forget_random(0.3, 4)
    without = lk.unlearn.retrain(original, data, forget, build=build, seed=5, **recipe)
    efficacy, _, rate_of_others, _ = svc_by_the_book(without, data, forget, "confidence")
    assert measure.svc_mia(without, data, forget,
                           privacy=False)["efficacy"] == pytest.approx(100 * efficacy)
    assert abs(efficacy - rate_of_others) < 0.07
    efficacy, recall, rate_of_others, privacy = svc_by_the_book(original, data, forget,
                                                                "confidence")
    assert abs(efficacy
               - (1 - recall)) < 0.07 and rate_of_others > efficacy + 0.1 and privacy > 0.55
    # untrained: nobody is a member
    found = [measure.svc_mia(build(s), data, forget)["privacy"] for s in range(4)]
    assert abs(np.mean(found) - 50) < 4


def test_svc_mia_says_what_it_needs(world):
    data, _, _, original = world
    with pytest.raises(LabError, match="'loss'"):
        measure.svc_mia(original, data, data.forget_random(0.1), features="loss")
    few = table(torch.randn(30, 3), [0, 1, 2] * 10, torch.randn(9, 3), [0, 1, 2] * 3)
    with pytest.raises(NotForThisData, match="10 test rows"):
        measure.svc_mia(nn.Identity(), few, [1, 2])


def test_retrained_models_give_no_membership_signal():
    """The null test: over ten splits and fresh seeds the AUC is 0.5, while the originals give their
    rows away.

    Also where a whole class was forgotten, although the retrained network then errs on every row of
    it; and where a tenth of the other rows goes with it.
    """
    pool = lk.data.load("fashion", n_train=1500, n_test=500, device="cpu")
    recipe = dict(epochs=10, lr=0.1, batch_size=64)
    found = []
    for seed in range(10):
        data = pool.resplit(seed)
        forget = data.forget_random(0.2, seed)

        def build(s, data=data):
            return lk.models.build("mlp", data, s, hidden=32)

        original = fit(build(seed), data.x, data.y, seed=seed, **recipe)
        a, b = (lk.unlearn.retrain(original, data, forget, build=build, seed=s, **recipe)
                for s in lk.spawn_seeds(seed, 2, "fresh"))
        whole = data.forget_class(seed)
        mixed = torch.cat([whole, forget[data.y[forget] != seed][::2]])
        c, d = (lk.unlearn.retrain(original, data, rows, build=build, seed=seed, **recipe)
                for rows in (whole, mixed))
        found.append([basics.membership_auc(m, data, forget) for m in (original, a, b)]
                     + [basics.membership_auc(c, data, whole)]
                     + [basics.membership_auc(m, data, mixed) for m in (d, original)])
    original, a, b, c, d, whole_and_more = np.mean(found, 0)
    assert abs(a - 0.5) < 0.03 and abs(b - 0.5) < 0.03 and original > 0.55
    assert abs(c - 0.5) < 0.05, "150 rows of the class against 50: a wider margin"
    assert abs(d - 0.5) < 0.03 and whole_and_more > 0.55


# ---- uncertainty

def probabilities(n=200, k=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(n, k, generator=g)).softmax(1), torch.randint(k, (n,), generator=g)


def test_entropy_is_that_of_the_distribution():
    p, _ = probabilities()
    torch.testing.assert_close(measure.entropy(p),
                               torch.distributions.Categorical(probs=p).entropy())
    torch.testing.assert_close(measure.entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]])),
                               torch.tensor([0.0, 0.6931472]))


def test_nll_is_scikit_learns():
    p, y = probabilities()
    theirs = log_loss(y.numpy(), (p.double() / p.double().sum(1, keepdim=True)).numpy(),
                      labels=range(4))
    assert uncertainty.nll(p.log(), y) == pytest.approx(theirs, rel=1e-5)
    assert uncertainty.nll(p.log() + 3,
                        y) == pytest.approx(theirs, rel=1e-5), "logits, not log-probabilities"


def test_ece_by_hand():
    p = torch.tensor([[0.375, 0.3125, 0.3125], [0.25, 0.4375, 0.3125], [0.75, 0.125, 0.125],
                      [0.0, 0.125, 0.875],
                      [0.625, 0.25, 0.125]])
    y = torch.tensor([0, 0, 0, 2, 1])
    # below ½: confidences .375 (right), .4375 (wrong): |.8125 − 1|; above: .75, .875 right, .625
    # wrong: |2.25 − 2|
    assert measure.ece(p, y, bins=2) == pytest.approx((0.1875 + 0.25) / 5)
    assert measure.ece(p, y, bins=1) == pytest.approx(abs(3.0625 - 3) / 5)


def test_ece_counts_certainty_with_the_last_bin():
    """Ten rows at 0.95, all right, and ten at 1, eight right: one bin of twenty, |0.975 − 0.9|."""
    p = torch.tensor([[0.95, 0.05]] * 10 + [[1.0, 0.0]] * 10)
    assert measure.ece(p, torch.tensor([0] * 18 + [1] * 2)) == pytest.approx(0.075, abs=1e-6)
    assert (measure.ece(torch.eye(4), torch.arange(4)) == 0 and measure.ece(torch.eye(2),
                                                                            torch.tensor([1, 0]))
            == 1)


def test_ece_is_torchmetrics_where_nobody_is_certain():
    calibration = pytest.importorskip("torchmetrics.functional.classification")
    for bins in (5, 10, 15):
        p, y = probabilities(500, 3, bins)
        theirs = calibration.multiclass_calibration_error(p, y, 3, n_bins=bins, norm="l1").item()
        assert measure.ece(p, y, bins) == pytest.approx(theirs, abs=1e-5)


def test_ece_of_a_calibrated_model_is_small():
    p, _ = probabilities(20_000, 3)
    y = torch.multinomial(p, 1, generator=torch.Generator().manual_seed(0)).squeeze(1)
    assert measure.ece(p, y) < 0.012 < 0.1 < measure.ece((p**3 / (p**3).sum(1, keepdim=True)), y)


# ---- intervals

def test_without_limits_the_interval_is_scipys_t():
    rng = np.random.default_rng(0)
    for n, level in ((2, 0.95), (5, 0.95), (10, 0.5), (30, 0.99)):
        v = rng.normal(3, 2, n)
        low, high = stats.t.interval(level, n - 1, v.mean(), stats.sem(v))
        assert measure.interval(v, level=level) == pytest.approx((v.mean(), low, high))
    assert measure.interval([4.0]) == (4.0, -np.inf, np.inf) == measure.interval([4.0, 4.0, 4.0])
    for bad in ([], [1.0, np.nan], [np.inf, 1.0]):
        with pytest.raises(LabError):
            measure.interval(bad)
    with pytest.raises(LabError, match="2 cluster labels for 25 values"):
        measure.interval(np.arange(25.0), [1, 2])
    with pytest.raises(LabError, match="A value is 1.5; its limits are 0 and 1"):
        measure.interval([1.5, 0.5], limits=(0, 1))


def test_intervals_cover_what_they_promise():
    rng = np.random.default_rng(1)
    ends = np.array([measure.interval(v)[1:] for v in rng.normal(1, 5, (3000, 5))])
    assert 0.938 < ((ends[:, 0] < 1) & (1 < ends[:, 1])).mean() < 0.962


def shares(rng, p, alike, clusters, rows):
    """Successes of targets that share networks: (n,) zeros and ones and their clusters; alike:
    their correlation.
    """
    sizes = rng.integers(max(2, rows // 3), 2 * rows, clusters)
    rate = rng.beta(p * (1 - alike) / alike, (1 - p) * (1 - alike) / alike,
                    clusters) if alike else np.full(clusters, p)
    labels = np.repeat(np.arange(clusters), sizes)
    return (rng.random(len(labels)) < rate[labels]).astype(float), labels


@pytest.mark.parametrize("clusters, rows", [(3, 12), (5, 12), (10, 12), (5, 40), (7, 7)])
def test_shares_of_few_clusters_of_unequal_size_are_covered_also_near_their_ends(clusters, rows):
    """Simulated: an interval cut off at 0 and 1 covers 35 to 90 % here; this one at least 88 in
    each single case.
    """
    rng, runs, covered, cut = np.random.default_rng(clusters), 250, [], []
    for p in (0.02, 0.1, 0.5, 0.9, 0.98):
        for alike in (0.0, 0.15, 0.3):
            hit = plain = 0
            for _ in range(runs):
                v, labels = shares(rng, p, alike, clusters, rows)
                _, low, high = measure.interval(v, labels, (0, 1))
                assert 0 <= low < high <= 1
                hit += low <= p <= high
                _, low, high = measure.interval(v, labels)
                plain += low <= p <= high and low > -np.inf
            covered.append(hit / runs)
            cut.append(plain / runs)
    assert min(covered) > 0.88 and np.mean(covered) > 0.95, covered
    assert min(cut) < 0.7, "the plain t interval is no match near 0 and 1"


@pytest.mark.parametrize("clusters", [3, 5, 10])
def test_differences_of_shares_are_covered_and_a_null_effect_is_rarely_found(clusters):
    rng, runs = np.random.default_rng(clusters), 400
    for p, q, alike in ((0.05, 0.05, 0.1), (0.9, 0.1, 0.1), (0.3, 0.2, 0.2), (0.02, 0.02, 0.0)):
        hit = found = 0
        for _ in range(runs):
            v, labels = shares(rng, p, alike, clusters, 12)
            rate = rng.beta(q * (1 - alike) / alike, (1 - q) * (1 - alike) / alike,
                            clusters) if alike else \
                np.full(clusters, q)
            w = (rng.random(len(v)) < rate[labels]).astype(float)
            _, low, high = measure.interval(v - w, labels, (-1, 1))
            assert -1 <= low < high <= 1
            hit += low <= p - q <= high
            found += low > 0
        assert hit / runs > 0.92
        assert found / runs < 0.05 or p > q


def test_targets_that_all_agree_are_as_sure_as_their_networks_are_many():
    one, three, ten = (measure.interval([1.0] * 30, np.arange(30) % k, (0, 1)) for k in (1, 3, 10))
    alone = measure.interval([1.0] * 30, limits=(0, 1))
    assert one[1] == -np.inf and 0 < three[1] < ten[1] < alone[1] < 1 == alone[2]
    exact = stats.binomtest(30, 30).proportion_ci(0.95, "exact").low
    assert exact - 0.15 < alone[1] <= exact, ("independent rows: near the exact bound, on its safe "
                                              "side")
    mean, low, high = measure.interval([0.0] * 30, np.arange(30) % 3, (-1, 1))
    assert mean == 0 and low == pytest.approx(-high) and high > 0.05
    flat = measure.interval([0.4, 0.4, 0.4], limits=(0, 1))
    assert flat == pytest.approx((0.4, 0.0, 1.0)), "no counts, no spread: nothing known"
    percent = measure.interval([100.0] * 30, np.arange(30) % 3, (0, 100))
    assert percent == pytest.approx([100 * u for u in three])


def test_a_control_that_is_a_mean_does_not_narrow_the_interval():
    """Three networks that agree by chance: 1 less a control of 0.25 is as uncertain as 1."""
    counts, labels = np.tile([1.0, 1, 0, 0, 0, 0, 0], 3), np.repeat([0, 1, 2], 7)
    averaged = np.where(np.arange(21) == 0, 0.75, counts)
    low, high = measure.interval(averaged, labels, (-1, 1))[1:]
    wanted = np.subtract(*measure.interval(counts, labels, (-1, 1))[:0:-1])
    assert low < 0 and high - low > 0.8 * wanted


@pytest.mark.parametrize("seeds, rows, common", [(3, 7, 0.9), (3, 24, 0.5), (5, 21, 0.2),
                                                 (4, 6, 0.0)])
def test_clusters_make_the_interval_honest(seeds, rows, common):
    """Rows of one seed move together: an interval that takes them for independent is too narrow,
    with few seeds too.
    """
    rng = np.random.default_rng(3)
    labels, hit, runs = np.repeat(np.arange(seeds), rows), {"rows": 0, "clusters": 0}, 600
    for _ in range(runs):
        v = rng.normal(0, common**0.5, seeds)[labels] + rng.normal(0, (1 - common) ** 0.5,
                                                                   seeds * rows)
        for name, (_, low, high) in {"rows": measure.interval(v),
                                     "clusters": measure.interval(v, labels)}.items():
            hit[name] += low < 0 < high
    assert 0.925 < hit["clusters"] / runs < 0.975  # 95 %, three standard errors
    assert hit["rows"] / runs < 0.85 or not common


def test_an_interval_over_clusters_is_that_of_their_means():
    values, labels = [1.0, 3.0, 2.0, 7.0, 5.0], ["a", "b", "a", "c", "b"]
    assert measure.interval(values, labels) == measure.interval([1.5, 4.0, 7.0])
    assert measure.interval([1.0, 2.0], [0, 0])[1] == -np.inf, "one model says nothing of the next"


@pytest.mark.parametrize("values, shown", [
    # no spread: no interval
    ([5.0, 5.0, 5.0], "5"), ([0.0, 0.0], "0"), ([100.0, 100.0 + 1e-9], "100"),
    ([7.25], "7.25"), ([54321.0], "54321"), ([1234567.0] * 3, "1234567"), ([0.1 + 0.2, 0.3], "0.3"),
    # the half widths of three values a, a ± d are 2.484 d: one significant digit, two when it
    # starts with a 1
    ([86.0, 86.2, 86.1], "86.1 ± 0.2"), ([84.0, 88.0, 86.0], "86 ± 5"),
                                           ([1.0, 2.0, 3.0, 2.0], "2.0 ± 1.3"),
    ([-0.1, 0.1, 0.0], "0.0 ± 0.2"), ([-0.12, 0.1, 0.0], "0.0 ± 0.3"),
    ([0.006, 0.002, 0.004], "0.004 ± 0.005"),
    ([1e-5, 3e-5, 2e-5], "0.00002 ± 0.00002"), ([1e6, 3e6, 2e6], "2000000 ± 2484138"),
                                           ([10.0, 11.0], "10 ± 6"),
])
def test_show_interval(values, shown):
    assert measure.show_interval(values) == shown


def test_show_interval_takes_digits_and_a_unit():
    assert measure.show_interval([1.0, 2.0, 3.0], digits=3, unit=" %") == "2.000 ± 2.484 %"
    assert measure.show_interval([4.0, 4.0], unit=" points") == "4 points"
    low, high = measure.interval([0.2, 0.4, 0.3], limits=(0, 1))[1:]
    assert measure.show_interval([0.2, 0.4, 0.3], limits=(0, 1)) == f"0.3 [{low:.1f}, {high:.1f}]"
    assert measure.show_interval([0.123456], unit=" s") == "0.123 s"
