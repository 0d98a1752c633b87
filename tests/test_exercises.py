"""Exercises: states of the engine, planted mistakes, machine-made mutants, cards in HTML and text.
"""

import ast
import copy
import dataclasses
import inspect
import itertools
import json
import linecache
import re
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import labkit as lk
from course import exercise
from course.chapters import basics as basics_chapter
from course.chapters import inversion as inversion_chapter
from course.chapters import sparsity as sparsity_chapter
from course.chapters import uncertainty as estimates
from course.chapters import verification as verification_chapter
from course.chapters.inversion.exercises import ridge
from course.chapters.requests.exercises import LossGradient, Plan
from course.chapters.sisa import by_risk, cost
from course.chapters.sparsity.exercises import decaying_schedule
from course.exercises import EXERCISES, card, check, find, hint, judge, limits, solution
from course.exercises.engine import Outcome, _alike, _compare, _outcome
from course.exercises.feedback import difference, pattern
from course.exercises.limits import limited
from labkit.base import LabError

ALL = list(EXERCISES.values())
UA = EXERCISES["1.1"]


def define(source, **names):
    """A function from source, as a notebook cell would define it: its lines can be read back."""
    source = textwrap.dedent(source)
    name = f"<cell {abs(hash(source))}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    scope = {"torch": torch, "np": np, "F": F, "copy": copy} | names
    exec(compile(source, name, "exec"), scope)
    return next(v for v in reversed(scope.values()) if inspect.isfunction(v))


def ids(exercise):
    return exercise.id


# ------------------------------------------------------------------ the data of the exercises


@pytest.mark.parametrize("exercise", ALL, ids=ids)
def test_exercise_is_complete(exercise):
    assert exercise.id == EXERCISES[exercise.id].id and re.fullmatch(r"\d+\.\d+", exercise.id)
    assert 1 <= exercise.difficulty <= 5 and exercise.minutes > 0 and exercise.points > 0
    assert len(exercise.hints) == 3 and all(len(h) > 40 for h in exercise.hints)
    assert len(exercise.mistakes) >= 4
    messages = [m for _, m in exercise.mistakes]
    assert len(set(messages)) == len(messages)
    assert all(f.__doc__ and "\n" not in f.__doc__ for f, _ in exercise.mistakes)
    first, again = exercise.cases(), exercise.cases()
    assert all(a == b and difference(_flat(x), _flat(y), 0, 0) is None
               for (a, x), (b, y) in zip(first, again, strict=True))  # the same inputs every time


def _flat(args):
    return [list(a.values()) if isinstance(a, dict) else a for a in args]


@pytest.mark.parametrize("exercise", ALL, ids=ids)
def test_the_solution_is_right_and_stands_alone(exercise):
    assert judge(exercise, exercise.solution).state == "right"
    alone = define(inspect.getsource(exercise.solution))  # np, torch, F and copy are all it needs
    assert judge(exercise, alone).state == "right"


def test_the_solutions_agree_with_labkit():
    rng = np.random.default_rng(0)
    logits, labels = torch.randn(50, 4), torch.randint(0, 4, (50,))
    assert (UA.solution(logits, labels)
            == pytest.approx(lk.measure.unlearning_accuracy(logits, labels)))
    a, b = rng.normal(1, 1, 40).round(1), rng.normal(0, 1, 30).round(1)
    assert EXERCISES["1.5"].solution(a, b) == pytest.approx(basics_chapter.auc(a, b))
    row, reference = {"UA": 1.0, "RA": 90.0, "TA": 80.0}, {"UA": 15.0, "RA": 99.0, "TA": 86.0}
    assert (EXERCISES["1.2"].solution(row, reference)
            == pytest.approx(lk.measure.gap(row, reference)))
    x, y = torch.randn(20, 6), torch.randint(0, 3, (20,))
    data = type("D", (), {"x": x, "y": y})
    model = torch.nn.Linear(6, 3)
    theirs = lk.unlearn.gradient_ascent(model, data, torch.arange(8), lr=0.2, momentum=0)
    assert difference(EXERCISES["1.4"].solution(model, x[:8], y[:8], 0.2), theirs) is None


def test_the_solutions_of_02_agree_with_labkit():
    sisa = lk.unlearn.sisa
    place, first_slices, expected_share, batch_share, assign = (EXERCISES[f"2.{i}"].solution
                                                                for i in range(1, 6))
    for shards, slices, seed in ((5, 5, 0), (7, 3, 11), (1, 4, 2)):
        assert [place(row, shards, slices, seed) for row in range(99)] == [sisa.place(row, shards,
                                                                                      slices, seed)
                                                                           for row in range(99)]
    p, request = sisa.by_hash(300, 6, 5, seed=1), torch.randperm(300)[:9]
    for s, r in first_slices(p.shard, p.slice, request).items():
        assert (not set(p.rows(s, r).tolist()) & set(request.tolist())
                and set(p.rows(s, r + 1).tolist()) & set(
            request.tolist()))  # as Sisa.unlearn needs it: no row before slice r, one in it
    for slices in (1, 2, 5, 50):
        assert expected_share(slices) == pytest.approx(cost.slicing(slices)) == pytest.approx(
            2 / 3 + 1 / (3 * slices))
        assert batch_share(7, slices, 1) == pytest.approx(expected_share(slices) / 7)
    for n, shards, slices, requests in ((1000, 10, 1, 4), (50, 1, 4, 3), (200, 20, 7, 60)):
        assert (n - requests) * batch_share(shards, slices, requests) == pytest.approx(
            cost.visits(n, 1, shards, slices, requests, batch=True))
    for n, shards, slices in ((60, 5, 4), (400, 7, 3), (400, 1, 1)):
        risk = torch.from_numpy(np.random.default_rng(n).pareto(1, n))
        theirs = by_risk(risk, shards, slices, rule="root")
        for mine, wanted in zip(assign(risk, shards, slices), (theirs.shard, theirs.slice),
                                strict=True):
            assert torch.equal(mine, wanted)


def test_the_solutions_of_03_and_04_agree_with_others():
    from scipy.optimize import brentq
    from torchmetrics.functional.classification import binary_calibration_error

    def over(mu, w, budget):
        return (w - mu).clip(0, 1).sum() - budget

    margin, hypergradient, project = (EXERCISES[f"3.{i}"].solution for i in range(1, 4))
    entropy, ece, doubt, conformal, two_point = (EXERCISES[f"4.{i}"].solution
                                                 for i in range(1, 6))
    r = np.random.default_rng(3)
    for _ in range(50):
        p, = _draw_probabilities(r)
        wanted = torch.distributions.Categorical(p.double()).entropy().float()
        assert torch.allclose(entropy(p), wanted, atol=1e-6) and torch.allclose(entropy(p),
                                                                                lk.measure.entropy(p))

        labels = torch.from_numpy(r.integers(0, p.shape[1], len(p)))
        confidence, called = p.max(1)
        assert ece(confidence, called == labels, 7) == pytest.approx(lk.measure.ece(p, labels, 7),
                                                                     abs=1e-6)
        sure = torch.from_numpy(r.uniform(0, 1, 60)).float()
        right = torch.from_numpy(r.random(60) < 0.6)
        # its confidence is that of class 1, its target whether the label is 1: our two arguments
        theirs = binary_calibration_error(sure, right.long(), n_bins=8).item()
        assert ece(sure, right, 8) == pytest.approx(theirs, abs=1e-6)

        weights, budget = _draw_weights(r)
        w = weights.double().numpy()
        wanted = w.clip(0, 1)
        if wanted.sum() > budget:
            wanted = (w - brentq(over, 0, w.max() + 1e-9, (w, budget))).clip(0, 1)
        assert np.allclose(project(weights, budget), wanted, atol=1e-5)
        assert torch.allclose(project(weights, budget), lk.attack.project(weights, budget),
                              atol=1e-6)

        logits, label = _draw_one_logit_row(r)
        assert torch.equal(margin(logits, label), lk.attack.margin(logits, label))

        theta, gradients, weights, tau, loss_gradient = _draw_gradients(r)
        weights.requires_grad_()
        loss_gradient.loss(theta + tau * (weights[:, None] * gradients).sum(0)).backward()
        ours = hypergradient(theta, gradients, weights.detach(), tau, loss_gradient)
        assert torch.allclose(ours, weights.grad, rtol=1e-4, atol=1e-5)

        z, label, kappa, weight = _draw_label(r)
        theirs = estimates.underconfidence(label, kappa, weight)
        assert torch.allclose(doubt(z, label, kappa, weight), theirs(z), atol=1e-5)

        trials = _draw_trials(r)
        assert torch.allclose(two_point(*trials), estimates.two_point(*trials), rtol=1e-4,
                              atol=1e-6)

        scores, alpha = _draw_calibration(r)
        n, q = len(scores), conformal(scores, alpha)
        # the smallest threshold with at least (n + 1)(1 - alpha) scores up to it
        tries = sorted(scores.tolist())
        assert q == next((t for t in tries if sum(s <= t for s in tries) >= (n + 1) * (1 - alpha)),
                         1.0)
        two = torch.stack([1 - scores, scores], 1)
        assert q == pytest.approx(estimates.conformal_threshold(two, torch.zeros(n).long(),
                                                                       alpha), abs=1e-6)


def test_the_solutions_of_05_agree_with_others():
    cosine, variation, leak, rebuild = (EXERCISES[f"5.{i}"].solution for i in range(1, 5))
    r = np.random.default_rng(4)
    for _ in range(50):
        gradient, target = _draw_directions(r)
        assert torch.allclose(cosine(gradient, target), 1 - F.cosine_similarity(gradient, target,
                                                                                0), atol=1e-5)

        images, = _draw_images(r)
        assert torch.allclose(variation(images), lk.attack.total_variation(images), atol=1e-6)

        weight, bias = _draw_layer(r)
        wanted = torch.linalg.lstsq(bias[:, None], weight).solution[0]
        assert torch.allclose(leak(weight, bias), wanted, rtol=1e-4, atol=1e-4)
        layer = torch.nn.Linear(weight.shape[1], len(bias))
        theirs = lk.attack.leak(layer, torch.cat([weight.flatten(), bias]))
        assert torch.allclose(leak(weight, bias), theirs.float(), rtol=1e-4, atol=1e-4)

        before, after, public, n, penalty = _draw_ridge(r)
        theirs = inversion_chapter.rebuild_row(before[None], after[None], public, n=n,
                                               loss="square", penalty=penalty)
        mine = rebuild(before, after, public, n, penalty)
        assert torch.allclose(mine / mine.norm(), theirs.row / theirs.row.norm(), rtol=1e-6)
        # those get a usual length
        assert torch.allclose(mine, theirs.row, rtol=1e-6) != theirs.ill_conditioned
    rows, y = torch.from_numpy(r.random((30, 4))), torch.from_numpy(r.normal(0, 1, 30))
    before, after = ridge(rows, y, 2.0), ridge(rows[1:], y[1:], 2.0)
    # exact with the rows left
    assert torch.allclose(rebuild(before, after, rows[1:], 30, 2.0), rows[0])
    labels = (y > 0).long()
    theirs = inversion_chapter.fit_linear(rows, labels, loss="square", penalty=2.0)
    assert torch.allclose(ridge(rows, labels.double(), 2.0), theirs[0])


def test_the_solutions_of_09_agree_with_others():
    from scipy.stats import binom

    replay, tainted, bound, plan = (EXERCISES[f"9.{i}"].solution for i in range(1, 5))
    r = np.random.default_rng(5)
    for _ in range(50):
        p, q, alpha, beta, most = _draw_plan(r)
        escapes = [binom.cdf(binom.ppf(1 - alpha, m, q), m, p) for m in range(1, most + 1)]
        wanted = next((m for m, e in enumerate(escapes, 1) if e <= beta), None)
        assert plan(p, q, alpha, beta, most) == wanted
        assert wanted is None or beta >= verification_chapter.miss_rate(
            wanted, p, verification_chapter.critical_value(wanted, q, alpha))

        before, gradient, after, lr = _draw_step(r)
        weight = torch.nn.Parameter(before.double())
        weight.grad = gradient.double()
        torch.optim.SGD([weight], lr).step()
        assert replay(before, gradient, after,
                      lr) == pytest.approx((weight - after.double()).norm().item(), rel=1e-9)

        batches, forget = _draw_log(r)
        assert tainted(batches, forget) == [i for i, b in enumerate(batches, 1)
                                            if np.isin(b, forget).any()]

        # what autograd says of two batches that share the other rows
        old, new, b, lr = _draw_replaced(r)
        w, shared = torch.zeros(old.shape[1], requires_grad=True), torch.randn(b - len(old),
                                                                               old.shape[1])
        steps = [torch.autograd.grad((torch.cat([rows, shared]) @ w).mean(), w)[0]
                 for rows in (old, new)]
        assert bound(old, new, b, lr) == pytest.approx(lr * (steps[0] - steps[1]).norm().item(),
                                                       rel=1e-4, abs=1e-6)


def test_the_solutions_of_10_agree_with_others():
    def covered(s, columns):
        return s[:, list(columns)].max(1).sum() if columns else 0.0

    threshold, medoids, cusum, spread = (EXERCISES[f"10.{i}"].solution for i in range(1, 5))
    r = np.random.default_rng(6)
    for _ in range(200):
        similarity, k = _draw_similarity(r)
        s, chosen = similarity.numpy(), medoids(similarity, k)
        for m in range(k):  # the sum that each column not yet chosen would reach, from scratch
            sums = {j: covered(s, (*chosen[:m], j)) for j in range(len(s)) if j not in chosen[:m]}
            assert chosen[m] == next(j for j, v in sums.items() if v >= max(sums.values()) - 1e-9)
        assert len(set(chosen)) == len(chosen) == k
        best = max(covered(s, c) for c in itertools.combinations(range(len(s)), k))
        assert covered(s, tuple(chosen)) >= (1 - 1 / np.e) * best - 1e-9  # what greedy guarantees

        scores, share = _draw_benign(r)
        t = threshold(scores, share)
        assert t == np.quantile(scores.numpy(), 1 - share, method="inverted_cdf")
        if share < 1 <= len(scores) * share:
            assert t == lk.defend.threshold(scores, share)

        scores, drift, limit = _draw_stream(r)
        # its height above its lowest point so far
        path = np.concatenate([[0], (scores.numpy() - drift).cumsum()])
        above = np.flatnonzero(path - np.minimum.accumulate(path) > limit)
        assert cusum(scores, drift, limit) == (int(above[0]) if len(above) else None)

        scores, usual, drift, limit, length = _draw_places(r)
        line, free, wanted = np.full(length, usual), 0, []
        for score in scores:  # each place from the first one on, the whole stream anew
            fits = [at for at in range(free, length)
                    if _height(np.r_[line[:at], score] - drift) <= limit]
            wanted.append(fits[0] if fits else None)
            if fits:
                line[fits[0]], free = score, fits[0] + 1
        assert spread(scores, usual, drift, limit, length) == wanted


def _height(steps):
    """The end of a path above its lowest point, its start among them."""
    path = np.r_[0, steps.cumsum()]
    return path[-1] - path.min()


def test_the_solutions_of_11_agree_with_others():
    release, after, masked, climb = (EXERCISES[f"11.{i}"].solution for i in range(1, 5))
    r = np.random.default_rng(7)
    for _ in range(200):
        weights, update, times, noise = _draw_release(r)
        added = (release(weights, update, times, noise) - weights).numpy()
        assert np.sqrt((added**2).mean()) == pytest.approx(times * np.sqrt((update.numpy()
                                                                            ** 2).mean()))
        # one direction
        assert added @ noise.numpy() == pytest.approx(np.linalg.norm(added) * noise.norm().item())

        epsilon, delta, k = _draw_privacy(r)
        wanted = (0.0, 0.0)
        for _ in range(k):  # P_0 <= e^epsilon P_1 + delta, one row after the other
            wanted = wanted[0] + epsilon, delta + np.exp(epsilon) * wanted[1]
        assert after(epsilon, delta, k) == pytest.approx((wanted[0], min(wanted[1], 1)), rel=1e-9,
                                                         abs=0)
        loose = delta * k * np.exp((k - 1) * epsilon)
        assert after(epsilon, delta, k)[1] <= loose * (1 + 1e-9)

        weight, bias, kept = _draw_pruned(r)
        found = masked(weight, bias, kept)
        for j in range(weight.shape[1]):  # least squares over the units whose weight was kept
            w, b = weight[kept[:, j], j].numpy(), bias[kept[:, j]].numpy()
            best = np.linalg.lstsq(b[:, None], w, rcond=None)[0][0] if len(b) else 0.0
            assert found[j].item() == pytest.approx(best, rel=1e-6, abs=1e-9)

        images, label, released, others, prior, size = _draw_climb(r)
        moved = climb(images, label, released, others, prior, size)
        flat, step = images.flatten(), 1e-6
        for i in range(len(flat)):  # each pixel alone: central differences
            up, down = (_climbed(flat, i, by, images.shape, label, released, others, prior)
                        for by in (step, -step))
            slope = (up - down) / (2 * step)
            if abs(slope) > 1e-5:
                assert moved.flatten()[i].item() == pytest.approx(
                    min(1.0, max(0.0, flat[i].item() + size * np.sign(slope))), abs=1e-9)


def test_the_solutions_of_12_agree_with_others():
    import torch.nn.utils.prune as prune

    disparity, mask, step, salient, schedule = (EXERCISES[f"12.{i}"].solution for i in range(1, 6))
    r = np.random.default_rng(7)
    for _ in range(50):
        weights, share = _draw_layers(r)
        found = mask(weights, share)
        assert (sum(int((~k).sum()) for k in found.values())
                == round(share * sum(w.numel() for w in weights.values())))
        dropped = [float(w[~found[k]].abs().max()) for k, w in weights.items()
                   if not found[k].all()]
        kept = [float(w[found[k]].abs().min()) for k, w in weights.items() if found[k].any()]
        assert not dropped or not kept or max(dropped) <= min(kept)
        net = torch.nn.Sequential(*(torch.nn.Linear(w.shape[1], w.shape[0])
                                    for w in weights.values())).double()
        for layer, w in zip(net, weights.values(), strict=True):
            layer.weight.data = w.clone()
        theirs = sparsity_chapter.magnitude_mask(net, share)
        assert all(torch.equal(a, b) for a, b in zip(found.values(), theirs.values(), strict=True))
        sizes = torch.cat([w.flatten() for w in weights.values()]).abs()
        if len(sizes.unique()) == len(sizes):  # torch promises no order of ties
            prune.global_unstructured([(layer, "weight") for layer in net], prune.L1Unstructured,
                                      amount=round(share * len(sizes)))
            assert all(torch.equal(a, layer.weight_mask.bool())
                       for a, layer in zip(found.values(), net, strict=True))

        model, x, y, share = _draw_saliency(r)
        found = salient(model, x, y, share)
        theirs = lk.unlearn.saliency_mask(model, x, y, share)
        assert list(found) == list(theirs)
        assert all(torch.equal(found[name], theirs[name]) for name in found)

        epochs, total = int(r.integers(1, 20)), float(10 ** r.uniform(-4, 0))
        every = schedule(epochs, total)
        assert sum(every) == pytest.approx(total) and len(every) == epochs
        assert all(a == pytest.approx(4 * b) for a, b in zip(every, every[1:], strict=False))
        line = np.linspace(1, 0, epochs + 1)[:-1]
        assert (decaying_schedule(epochs, total)
                == pytest.approx((total * line / line.sum()).tolist()))

        weight, grad, velocity, keep, lr, momentum, decay = _draw_masked(r)
        # SGD on the weights that stay, which knows of no others
        mine = torch.nn.Parameter(weight[keep].clone())
        sgd = torch.optim.SGD([mine], lr, momentum, weight_decay=decay)
        sgd.state[mine]["momentum_buffer"], mine.grad = velocity[keep].clone(), grad[keep].clone()
        sgd.step()
        new, speed = step(weight, grad, velocity, keep, lr, momentum, decay)
        assert torch.allclose(new[keep], mine) and not new[~keep].any() and not speed[~keep].any()
        if momentum:
            assert torch.allclose(speed[keep], sgd.state[mine]["momentum_buffer"])

        method, retrained = ({c: float(v) for c, v in zip(("RA", "UA", "TA", "MIA", "RTE"),
                                                          r.uniform(0, 100, 5),
                                                          strict=True)} for _ in range(2))
        assert (disparity(method, retrained)
                == pytest.approx(sparsity_chapter.disparity(method, retrained)))
    # Jia et al. 2023: fine-tuning
    assert disparity({"UA": 22.53, "MIA": 75.0, "RA": 99.87, "TA": 94.31},
                     {"UA": 100.0, "MIA": 100.0, "RA": 100.0, "TA": 94.83}) == pytest.approx(25.78)


def test_the_solutions_of_14_agree_with_the_definition():
    from itertools import permutations

    scan, vote, value, _, change = (EXERCISES[f"14.{i}"].solution for i in range(1, 6))
    r = np.random.default_rng(14)
    for _ in range(20):
        m, s = int(r.integers(1, 4)), int(r.integers(1, 4))
        u = r.random((2 ** (m - 1), 2 ** s))
        u[0, 0] = 0
        total, orders = np.zeros(s), 0
        for place in permutations(range(m)):  # shard 0 is the table's; the others are bits of rows
            row = sum(1 << (j - 1) for j in place[:place.index(0)])
            for own in permutations(range(s)):
                columns = [sum(1 << i for i in own[:t]) for t in range(s + 1)]
                total += scan(np.array(own), u[row, columns])
                orders += 1
        assert np.allclose(value(u), total / orders)
        if s > 1:  # owner 0 leaves: its bit is the lowest
            new = value(u[:, 0::2]) - value(u)[1:]
            assert np.allclose(change(u[:, 0::2] - u[:, 1::2]), new)
        votes, k = _draw_votes(r)
        for column, found in zip(votes.T, vote(votes, k), strict=True):
            counts = np.bincount(column[column >= 0], minlength=k)
            assert counts[found] == counts.max() and (counts[:found] < counts.max()).all()


def _gain(t, a, b):
    return (a > t).mean() - (b > t).mean()


# ------------------------------------------------------------------ planted mistakes


@pytest.mark.parametrize("exercise, mistake, message",
                         [pytest.param(e, f, m, id=f"{e.id}{f.__name__}") for e in ALL for f,
                          m in e.mistakes])
def test_planted_mistake_is_rejected_with_its_message(exercise, mistake, message):
    result = judge(exercise, mistake)
    assert result.state in ("wrong", "error") and result.points == 0
    assert result.cause == message and len(result.what) > 20
    # what follows is the learner's own line
    assert not quoted(exercise, result.cause, result.what.split(" of the cell: ")[0])


def quoted(exercise, *texts):
    """Lines of the solution that stand in these texts."""
    body = [line.strip() for line in inspect.getsource(exercise.solution).splitlines()[1:]]
    return [(line, text) for text in texts for line in body if len(line) >= 12 and line in text]


@pytest.mark.parametrize("exercise", ALL, ids=ids)
def test_feedback_never_quotes_the_solution(exercise):
    told = [message for _, message in exercise.mistakes]
    assert not quoted(exercise, *told, exercise.remark, *exercise.hints)
    page = card.to_html(check(exercise, exercise.mistakes[0][0]))
    outside = re.sub("<details>.*?</details>", "", page, flags=re.S)
    assert not quoted(exercise, card.html.unescape(outside))


def test_a_mistake_may_be_an_edit_of_the_solution():
    def edit(*mistake):
        return dataclasses.replace(UA, mistakes=(mistake,)).mistakes[0]

    logits, labels = UA.cases()[0][1]
    right, message = edit("!=", "==", "The rows that are right", "counted")
    assert message == "counted" and right.__doc__ == "The rows that are right"
    assert right.__name__ == "_the_rows_that_are_right"
    assert right(logits, labels) == pytest.approx(100 - UA.solution(logits, labels))
    share, _ = edit(("100 * ", "!="), ("", "=="), "The share", "")
    assert share(logits, labels) == pytest.approx(right(logits, labels) / 100)
    own, _ = edit("return ", "return 2 * unlearning_accuracy(logits, labels) + 0 * ", "Twice", "")
    assert own(logits, labels) == pytest.approx(2 * UA.solution(logits, labels))
    assert edit(right, "a function stays") == (right, "a function stays")
    with pytest.raises(ValueError, match="'median' does not occur in unlearning_accuracy"):
        edit("median", "mean", "It", "")
    with pytest.raises(ValueError):
        edit(("!=", "100"), ("==",), "Of unequal length", "")


# ------------------------------------------------------------------ machine-made mutants

SWAPS = {ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt,), ast.Lt: (ast.LtE, ast.Gt),
         ast.LtE: (ast.Lt,),
         ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Add: (ast.Sub,), ast.Sub: (ast.Add,),
         ast.Mult: (ast.Div,), ast.Div: (ast.Mult, ast.FloorDiv), ast.USub: (ast.UAdd,),
         ast.Invert: (ast.UAdd,)}
NAMES = {"mean": ("sum", "max"), "sum": ("mean",), "argmax": ("argmin",), "argmin": ("argmax",),
         "max": ("min",),
         "sort": ("unique",), "left": ("right",), "right": ("left",), "zeros": ("ones",),
         "ones": ("zeros",)}


def mutants(source):
    """(what was changed, source) for every small change at one place of the function's body."""
    tree = ast.parse(source)
    body = tree.body[0].body[1:]  # without the docstring
    for node in [n for line in body for n in ast.walk(line)]:
        before = ast.unparse(node) if not isinstance(node, ast.operator | ast.cmpop
                                                     | ast.unaryop) else ""
        for change in _changes(node):
            saved = dict(vars(node))
            change(node)
            (yield f"line {getattr(node, 'lineno', '?')}: {before}",
             ast.unparse(ast.fix_missing_locations(tree)))
            vars(node).clear()
            vars(node).update(saved)
    for block in [tree.body[0].body] + [n.body for line in body for n in ast.walk(line)
                                        if hasattr(n, "body")
                                        and isinstance(n.body, list)]:
        for i, line in enumerate(block):
            if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)):
                block[i] = ast.Pass()
                yield f"dropped: {ast.unparse(line)[:60]}", ast.unparse(tree)
                block[i] = line


def _changes(node):
    def setting(**values):
        return lambda n: vars(n).update(values)

    if isinstance(node, ast.BinOp | ast.UnaryOp | ast.AugAssign):
        yield from (setting(op=new()) for new in SWAPS.get(type(node.op), ()))
    if isinstance(node, ast.Compare):
        yield from (setting(ops=[new()]) for new in SWAPS.get(type(node.ops[0]), ()))
    if isinstance(node, ast.BinOp):  # drop a term: x + y -> x + 0 and so on; swap the two
        neutral = ast.Constant(0 if isinstance(node.op, ast.Add | ast.Sub) else 1)
        yield from (setting(left=neutral), setting(right=neutral),
                    setting(left=node.right, right=node.left))
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield setting(value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield from (setting(value=v) for v in (node.value + 1, node.value - 1, -node.value)
                    if v != node.value)
    elif isinstance(node, ast.Constant):
        yield from (setting(value=v) for v in NAMES.get(node.value, ()))
    if isinstance(node, ast.Attribute):
        yield from (setting(attr=name) for name in NAMES.get(node.attr, ()))
    if isinstance(node, ast.Call):
        if len(node.args) > 1:
            yield setting(args=[node.args[1], node.args[0], *node.args[2:]])
        if node.keywords:
            yield from (setting(keywords=node.keywords[:i] + node.keywords[i + 1:])
                        for i in range(len(node.keywords)))
        if len(node.args) == 1:  # f(x) -> x
            yield setting(func=ast.Name("_same", ast.Load()))
    if isinstance(node, ast.Tuple | ast.List) and len(node.elts) > 1 and isinstance(node.ctx,
                                                                                    ast.Load):
        yield from (setting(elts=node.elts[:i] + node.elts[i + 1:]) for i in range(len(node.elts)))
    if isinstance(node, ast.Slice) and node.lower is None:
        yield setting(lower=ast.Constant(1))


def _draw_batches(r):
    n = int(r.integers(1, 40))
    forget = torch.from_numpy(r.permutation(n)[: r.integers(0, n + 1)])
    return (n, forget, int(r.integers(1, 12)), int(r.integers(10**6)))


def _draw_logits(r):
    n, k = int(r.integers(1, 30)), int(r.integers(2, 8))
    return (torch.from_numpy(r.normal(0, 3, (n, k))).float(), torch.from_numpy(r.integers(0, k, n)))


def _draw_rows(r):
    names = ["UA", "RA", "TA", "MIA", "AUC"][: r.integers(3, 6)]
    return tuple({name: float(r.uniform(0, 100)) for name in r.permutation(names)}
                 for _ in range(2))


def _draw_scores(r):
    a, b = (r.normal(r.normal(), 1 + 3 * r.random(), r.integers(1, 25)) for _ in range(2))
    return (a.round(1), b.round(1)) if r.random() < 0.5 else (a, b)


def _draw_model(r):
    n, d, k = (int(v) for v in r.integers((1, 2, 2), (9, 6, 5)))
    model = torch.nn.Sequential(torch.nn.Linear(d, 4), torch.nn.Tanh(), torch.nn.Linear(4, k))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.from_numpy(r.normal(0, 1, p.shape)))
    return (model, torch.from_numpy(r.normal(0, 1, (n, d))).float(),
            torch.from_numpy(r.integers(0, k, n)),
            float(r.uniform(0.01, 1)))


def _draw_place(r):
    return tuple(int(v) for v in r.integers((0, 1, 1, 0), (10**5, 12, 12, 10**6)))


def _draw_request(r):
    n, s, k = (int(v) for v in r.integers((1, 1, 1), (40, 8, 8)))
    request = torch.from_numpy(r.permutation(n)[: r.integers(0, n + 1)])
    return (torch.from_numpy(r.integers(0, s, n)), torch.from_numpy(r.integers(0, k, n)), request)


def _draw_slices(r):
    return (int(r.integers(1, 60)),)


def _draw_batch(r):
    return tuple(int(v) for v in r.integers((1, 1, 0), (40, 12, 60)))


def _draw_probabilities(r):
    n, k = (int(v) for v in r.integers((1, 2), (20, 9)))
    p = torch.from_numpy(r.normal(0, 3, (n, k))).softmax(1)
    p[torch.from_numpy(r.random((n, k)) < 0.3) & (p < p.max(1, keepdim=True).values)] = 0
    return ((p / p.sum(1, keepdim=True)).float(),)


def _draw_confidence(r):
    n, bins = int(r.integers(1, 40)), int(r.choice([1, 2, 4, 8, 16]))
    confidence = r.integers(0, 17, n) / 16 if r.random() < 0.5 else r.uniform(0, 1, n)
    return torch.from_numpy(confidence).float(), torch.from_numpy(r.random(n) < 0.6), bins


def _draw_weights(r):
    m = int(r.integers(1, 15))
    return (torch.from_numpy(r.normal(0.5, 1, m)).float(), float(r.uniform(0, m))
            if r.random() < 0.5 else m // 2)


def _draw_gradients(r):
    m, d = (int(v) for v in r.integers(1, 8, 2))
    theta, gradients, weights = r.normal(size=d), r.normal(size=(m, d)), r.random(m)
    return (*(torch.from_numpy(a).float() for a in (theta, gradients, weights)),
            float(r.uniform(0.05, 1)),
            LossGradient(int(r.integers(10**6)), d))


def _draw_one_logit_row(r):
    logits, _ = _draw_logits(r)
    return logits[0], int(r.integers(logits.shape[1]))


def _draw_round(r):
    m = int(r.integers(1, 40))
    ids = torch.from_numpy(r.permutation(1000)[:m])
    return Plan(int(r.integers(10**6)), m), ids, int(r.integers(1, 50)), int(r.integers(1, 6))


def _draw_label(r):
    k = int(r.integers(2, 9))
    z = torch.from_numpy(r.normal(0, r.uniform(0.2, 4), k)).float()
    return z, int(r.integers(k)), float(r.uniform(0, 3)), float(r.uniform(0, 6))


def _draw_trials(r):
    q, m, k = (int(v) for v in r.integers((1, 2, 1), (9, 9, 5)))
    size, pairs = int(r.integers(1, m // 2 + 1)), np.zeros((2, q, m))
    for i in range(q):
        order = r.permutation(m)
        pairs[0, i, order[:size]] = pairs[1, i, order[size:2 * size]] = 1
    return tuple(torch.from_numpy(a).float() for a in (*pairs, *r.normal(0, 1, (2, q, k))))


def _draw_calibration(r):
    # exact in binary
    return torch.from_numpy(r.random(int(r.integers(1, 40)))).float(), int(r.integers(1, 64)) / 64


def _draw_directions(r):
    d = int(r.integers(1, 20))
    return tuple(torch.from_numpy(r.normal(0, r.uniform(0.01, 5), d)).float() for _ in range(2))


def _draw_images(r):
    return (torch.from_numpy(r.random(tuple(r.integers((1, 1, 2, 2), (5, 4, 8, 8))))).float(),)


def _draw_layer(r):
    h, d = (int(v) for v in r.integers(1, 12, 2))
    delta = r.normal(size=h) * (r.random(h) < 0.7)
    delta[r.integers(h)] = r.uniform(0.1, 1)
    return tuple(torch.from_numpy(a).float() for a in (np.outer(delta, r.normal(size=d)), delta))


def _draw_ridge(r):
    n, d, m = (int(v) for v in r.integers((10, 1, 5), (40, 6, 60)))
    rows, y = torch.from_numpy(r.random((n + m, d))), torch.from_numpy(r.normal(0, 1, n))
    penalty = float(r.uniform(0, 5))
    return ridge(rows[:n], y, penalty), ridge(rows[1:n], y[1:], penalty), rows[n:], n, penalty


def _draw_plan(r):
    q = float(r.uniform(0, 0.4))
    p = float(r.uniform(q + 0.3, 1))
    return p, q, *map(float, r.uniform(0.01, 0.3, 2)), int(r.integers(1, 40))


def _draw_step(r):
    before, gradient, after = torch.from_numpy(r.normal(0, r.uniform(0.1, 5),
                                                        (3, int(r.integers(1, 9))))).float()
    return before, gradient, after, float(r.uniform(0.01, 2))


def _draw_log(r):
    n = int(r.integers(1, 30))
    batches = [torch.from_numpy(r.integers(0, n, r.integers(0, 6)))
               for _ in range(r.integers(0, 8))]
    return batches, torch.from_numpy(r.permutation(n)[: r.integers(0, 5)])


def _draw_replaced(r):
    k, d, more = (int(v) for v in r.integers((1, 1, 0), (8, 8, 20)))
    old, new = (torch.from_numpy(r.normal(0, 1, (k, d))).float() for _ in range(2))
    return old, new, k + more, float(r.uniform(0.01, 2))


def _draw_similarity(r):
    n = int(r.integers(1, 8))
    if r.random() < 0.5:  # ties, and columns that add nothing; exact in float32
        return torch.from_numpy(r.integers(0, 4, (n, n))).float(), int(r.integers(1, n + 1))
    return torch.from_numpy(r.random((n, n)) + np.eye(n)), int(r.integers(1, n + 1))


def _draw_benign(r):
    scores = r.normal(0, 2, r.integers(1, 40))
    # exact
    return torch.from_numpy(scores.round() if r.random() < 0.5
                            else scores), int(r.integers(0, 65)) / 64


def _draw_release(r):
    weights, update, noise = torch.from_numpy(r.normal(0, 1, (3, int(r.integers(1, 20)))))
    return (weights, float(r.uniform(0.01, 1)) * update, float(r.uniform(0, 3)),
            float(r.uniform(0.1, 9)) * noise + 0.5)


def _draw_privacy(r):
    epsilon = 0.0 if r.random() < 0.2 else float(r.uniform(0.01, 2))
    return epsilon, float(10 ** r.uniform(-9, 0)), int(r.integers(0, 9))


def _draw_pruned(r):
    h, d = (int(v) for v in r.integers(1, 7, 2))
    kept = torch.from_numpy(r.random((h, d)) < r.uniform(0, 1))
    weight, bias = torch.from_numpy(r.normal(0, 1, (h, d))), torch.from_numpy(r.normal(0, 1, h))
    return weight, bias * torch.from_numpy(r.random(h) < 0.9), kept


def _square(images):
    return 0.2 * (images - 0.5).square().flatten(1).sum(1)


def _climbed(flat, i, by, shape, label, released, others, prior):
    """What the hunt of 11.4 climbs, with pixel i moved."""
    x = flat.clone()
    x[i] += by
    loss = [F.cross_entropy(m(x.view(shape)), label, reduction="none")
            for m in (released, *others)]
    return (loss[0] - sum(loss[1:]) / len(others) - prior(x.view(shape))).sum().item()


def _draw_climb(r):
    n, d, k, m = (int(r.integers(low, high)) for low, high in ((1, 4), (1, 4), (2, 5), (1, 4)))
    nets = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(d, k)).double()
            for _ in range(m + 1)]
    for p in (p for net in nets for p in net.parameters()):
        p.data = torch.from_numpy(r.normal(0, 1, tuple(p.shape)))
    return (torch.from_numpy(r.random((n, 1, 1, d))), torch.from_numpy(r.integers(0, k, n)),
            nets[0], nets[1:], _square, float(r.uniform(0.01, 0.3)))


def _draw_stream(r):
    # exact in binary
    scores, drift, limit = r.integers(-8, 17, r.integers(0, 20)) / 8, *(r.integers(0, (9, 25)) / 8)
    return torch.from_numpy(scores), float(drift), float(limit)


def _draw_places(r):
    # exact in binary
    scores = r.integers(0, 25, r.integers(0, 6)) / 8
    usual, drift, limit = r.integers(0, 17, 3) / 8
    return scores.tolist(), float(usual), float(drift), float(limit), int(r.integers(0, 15))


def _draw_layers(r):
    weights = {f"{i}.weight": r.normal(0, r.uniform(0.1, 3), r.integers(1, 6, 2))
               for i in range(r.integers(1, 4))}
    if r.random() < 0.5:  # ties
        weights = {k: w.round() for k, w in weights.items()}
    return {k: torch.from_numpy(w) for k, w in weights.items()}, float(r.uniform(0, 0.99))


def _draw_saliency(r):
    # rows in powers of 2: the mean loss then ranks as the sum does, to the last digit
    d, k, n = int(r.integers(2, 6)), int(r.integers(3, 6)), 2 ** int(r.integers(0, 5))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(r.integers(2**31)))
        model = torch.nn.Sequential(torch.nn.Linear(d, 4), torch.nn.ReLU(), torch.nn.Linear(4, k))
    x = torch.from_numpy(r.normal(0, 1, (n, d))).float()
    return model, x, torch.from_numpy(r.integers(0, k, n)), float(r.uniform(0.05, 1))


def _draw_masked(r):
    weight, grad, velocity = torch.from_numpy(r.normal(0, 1, (3, *r.integers(1, 6, 2))))
    return weight, grad, velocity, torch.from_numpy(r.random(weight.shape)
                                                    < 0.6), *map(float, r.uniform(0.05, 1, 3))


def _draw_columns(r):
    names = ["UA", "RA", "TA", "MIA", "RTE"][: r.integers(4, 6)]
    return tuple({name: float(r.uniform(0, 100)) for name in r.permutation(names)}
                 for _ in range(2))


def _draw_probes(r):
    k, each = int(r.integers(2, 7)), int(r.integers(1, 6))
    g = torch.Generator().manual_seed(int(r.integers(1e9)))
    before, after = (torch.randn(k * each, k, generator=g).softmax(1) for _ in range(2))
    return before, after, torch.arange(k).repeat(each)[torch.randperm(k * each, generator=g)]


def _draw_versions(r):
    g = torch.Generator().manual_seed(int(r.integers(1e9)))
    m, k = int(r.integers(1, 8)), int(r.integers(2, 7))
    return tuple(torch.randn(m, k, generator=g).softmax(1) for _ in range(2))


def _draw_rounded(r):
    return *_draw_versions(r), int(r.integers(0, 4))


def _draw_shadows(r):
    g = torch.Generator().manual_seed(int(r.integers(1e9)))
    s, m = int(r.integers(8, 20)), int(r.integers(1, 6))
    inside = torch.stack([torch.randperm(s, generator=g) < s // 2 for _ in range(m)], 1)
    return torch.randn(m, generator=g), 2 * torch.randn(s, m, generator=g) + inside, inside


def _draw_scan(r):
    n = int(r.integers(2, 9))
    return r.permutation(n), r.random(n + 1)


def _draw_votes(r):
    k = int(r.integers(2, 6))
    return r.integers(-1, k, (int(r.integers(2, 7)), int(r.integers(8, 30)))), k


def _draw_table(r):
    return (r.random((2 ** int(r.integers(1, 4)), 2 ** int(r.integers(2, 4)))),)


def _draw_cut(r):
    of = np.repeat(np.arange(3), r.integers(2, 4, 3))
    order = np.lexsort((r.random(len(of)), r.permutation(3)[of]))
    inside = np.zeros(len(of), bool)
    inside[order[:int(r.integers(1, len(of) + 1))]] = True
    return inside, of


DRAW = {"0.1": _draw_logits, "1.1": _draw_logits, "1.2": _draw_rows, "1.3": _draw_batches,
        "1.4": _draw_model, "1.5": _draw_scores, "2.1": _draw_place,
        "2.2": _draw_request, "2.3": _draw_slices, "2.4": _draw_batch,
        "3.1": _draw_one_logit_row, "3.2": _draw_gradients, "3.3": _draw_weights,
        "3.4": _draw_round, "4.1": _draw_probabilities,
        "4.2": _draw_confidence, "4.3": _draw_label, "4.4": _draw_calibration,
        "4.5": _draw_trials, "5.1": _draw_directions,
        "5.2": _draw_images, "5.3": _draw_layer, "5.4": _draw_ridge,
        "6.1": _draw_probes, "6.2": _draw_versions, "6.3": _draw_versions, "6.4": _draw_rounded,
        "6.5": _draw_shadows,
        "9.1": _draw_step, "9.2": _draw_log, "9.3": _draw_replaced, "9.4": _draw_plan,
        "10.1": _draw_benign, "10.2": _draw_similarity, "10.3": _draw_stream, "10.4": _draw_places,
        "11.1": _draw_release, "11.2": _draw_privacy, "11.3": _draw_pruned, "11.4": _draw_climb,
        "12.1": _draw_columns, "12.2": _draw_layers, "12.3": _draw_masked, "12.4": _draw_saliency,
        "14.1": _draw_scan, "14.2": _draw_votes, "14.3": _draw_table, "14.4": _draw_cut,
        "14.5": _draw_table}


def equivalent(exercise, mutant):
    """Whether the mutant gives what the solution gives on 1,000 inputs from another generator than
    the check's.
    """
    r = np.random.default_rng(99)
    for _ in range(1000):
        args = DRAW[exercise.id](r)
        theirs, wanted = (_outcome(exercise, f, args) for f in (mutant, exercise.solution))
        if _compare(exercise, ("drawn", args), theirs, wanted):
            return False
    return True


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("exercise", [e for e in ALL if not e.floor], ids=ids)
def test_mutants_of_the_solution_are_rejected(exercise, capsys):
    source = textwrap.dedent(inspect.getsource(exercise.solution))
    rejected, same, survivors = 0, 0, []
    seen = {ast.unparse(ast.parse(source))}
    for what, text in mutants(source):
        if text in seen:
            continue
        seen.add(text)
        mutant = define(text, _same=lambda x: x)
        mutant = next(v for k, v in mutant.__globals__.items() if k == exercise.solution.__name__)
        if check(exercise, mutant, seconds=5).state != "right":
            rejected += 1
        elif equivalent(exercise, mutant):
            same += 1
        else:
            survivors.append(what)
    with capsys.disabled():
        print(f"\n  {exercise.id}: mutants {rejected} rejected, {same} equivalent, "
              f"{len(survivors)} survived",
              *survivors)
    assert rejected >= 10
    assert rejected >= 0.9 * (rejected + len(survivors)), survivors


# ------------------------------------------------------------------ states of the engine


@pytest.fixture
def shown(monkeypatch):
    """Results whose cards were shown."""
    results = []
    monkeypatch.setattr(card, "show", results.append)
    return results


@pytest.mark.parametrize("body", ["...", "...  # your code", '"""What it does."""\n    ...', "pass",
                                  '"""What."""\n    raise NotImplementedError'])
def test_not_attempted_returns_the_solution_and_runs_nothing(shown, body):
    mine = define(f"def f(logits, labels):\n    {body}\n")
    assert exercise("1.1")(mine) is UA.solution
    assert shown[0].state == "not attempted" and shown[0].points == 0


def test_not_attempted_is_seen_through_the_decorator_and_signature_is_not_asked(shown):
    scope = define('@exercise("1.1")\ndef f():\n    """Doc."""\n    ...\n\ndef last(): pass',
                   exercise=exercise).__globals__
    assert scope["f"] is UA.solution and shown[0].state == "not attempted"


def test_right_returns_the_learners_own(shown):
    # renamed
    mine = define("def f(z, y):\n    return (z.max(1).indices != y).float().mean().item() * 100")
    assert exercise("1.1")(mine) is mine
    assert shown[0].state == "right" and shown[0].points == UA.points


def test_several_thresholds_are_right():
    threshold = dataclasses.replace(EXERCISES["1.5"], solution=basics_chapter.best_threshold,
                                    measured="TPR − FPR at your threshold", measure=_gain)
    mine = define("""
        def f(members, strangers):
            tries = np.concatenate([np.sort(members) - 1e-6, np.sort(strangers) + 1e-6])
            gain = [(members > t).mean() - (strangers > t).mean() for t in tries]
            return tries[int(np.argmax(gain))]
    """)
    assert check(threshold, mine).state == "right"
    never = define("def f(members, strangers):\n    return float(members.max())")
    assert check(threshold, never).state == "wrong"


@pytest.mark.parametrize("body, state, what", [
    ("return 60.0", "right", ""),
    ("return 40.0", "right", ""),
    ("return 30.0", "wrong", "the share is 30, and at least 40 is asked for"),
    ("return float('nan')", "wrong", "the share is nan"),
    ("return 'half'", "wrong", "ValueError: could not convert"),
])
def test_a_project_is_judged_by_a_floor(body, state, what):
    project = dataclasses.replace(UA, measured="the share", floor=lambda logits, labels: 40)
    result = check(project, define(f"def f(logits, labels):\n    {body}\n"))
    assert result.state == state and what in result.what


@pytest.mark.parametrize("body, what", [
    ("return logits.argmax(1) != labels", "is a tensor, expected a float"),
    ("return None", "is None (is there a return?)"),
    ("return 'half'", "is a str, expected a float"),
    ("return 50.0", "is 50 for every input: something that is given is not used"),
    ("return -100 * (logits.argmax(1) != labels).double().mean().item()",
     "every value has the wrong sign"),
    ("return 5 * (logits.argmax(1) != labels).double().mean().item()",
     "every value is 20 times too small"),
    ("return 3 + 100 * (logits.argmax(1) != labels).double().mean().item()",
     "every value is 3 too large"),
    ("return float('nan')", "every value is NaN"),
])
def test_wrong_says_what_differs(shown, body, what):
    assert exercise("1.1")(define(f"def f(logits, labels):\n    {body}\n")) is UA.solution
    assert shown[0].state == "wrong" and what in shown[0].what and shown[0].cause
    assert "On more rows than classes" in shown[0].what  # which input


@pytest.mark.parametrize("got, want, kind, text", [
    (torch.zeros(3), torch.zeros(3, 1), "shape", "(3,), expected (3, 1)"),
    (torch.zeros(3), torch.zeros(3).long(), "dtype", "float32, expected int64"),
    (torch.zeros(3, device="meta"), torch.zeros(3), "device", "device meta, expected cpu"),
    (torch.tensor([[1., 2], [3, 5]]), torch.tensor([[1., 2], [3, 4]]), "value",
     "1 place of 4, first at [1, 1]: got 5, expected 4"),
    (np.zeros(2), torch.zeros(2), "type", "a NumPy array, expected a tensor"),
    ([1.0], [1.0, 2.0], "length", "1 entry, expected 2 entries"),
    ([1.0, 3.0], (1.0, 2.0), "value", "entry [1] of the result is 3, expected 2"),
    ({0: 1}, {0: 1, 2: 3}, "length", "the result is {0: 1}, expected {0: 1, 2: 3}"),
    ({2: 3, 0: 2}, {0: 1, 2: 3}, "value", "entry [0] of the result is 2, expected 1"),
    ({0: torch.tensor(1)}, {0: 1}, "type", "entry [0] of the result is a tensor, expected an int"),
    ({2: 3, 0: 1}, {0: 1, 2: 3}, None, ""),
    (True, 1.0, "type", "a bool, expected a float"),
    (1.0, 1, "type", "a float, expected an int"),
    (0.12345, 0.12346, None, ""),
    (0.123451, 0.123549, "value", "0.1235, expected 0.1235"),
    (torch.nn.Linear(2, 3), torch.nn.Linear(3, 2), "shape", "weight"),
    (torch.nn.Sequential(torch.nn.Linear(2, 3)), torch.nn.Linear(2, 3), "shape",
     "a model with other weights than the one it was made from"),
])
def test_differences(got, want, kind, text):
    found = difference(got, want)
    if kind is None:
        assert found is None
    elif "0.1235" in text:
        assert "0.12345, expected 0.12355" in found[1]  # as many digits as it takes
    else:
        assert found[0] == kind and text in found[1]


def test_patterns():
    want = [torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3.0, 7.0])]
    assert "another order" in pattern([w.flip(0) for w in want], want)
    assert "wrong sign" in pattern([-w for w in want], want)
    assert "2 times as large" in pattern([2 * w for w in want], want)
    assert "-3 times" in pattern([-3 * w for w in want], want)
    assert pattern([w**2 for w in want], want) is None
    assert pattern(["a", None], want) is None
    assert pattern([want[0]], want) is None


@pytest.mark.parametrize("source, what", [
    ("def f(logits): return 1.0", "asks for 1 argument, and the exercise gives 2: logits, labels"),
    ("def f(logits, labels, k): return 1.0", "asks for 3 arguments, and the exercise gives 2"),
    ("def f(*, logits, labels): return 1.0", "the exercise gives 2: logits, labels"),
])
def test_signature(source, what):
    result = check(UA, define(source))
    assert result.state == "wrong" and what in result.what


def test_a_gradient_is_asked_for_where_the_notebook_needs_it():
    cosine = EXERCISES["5.1"]
    for body, state in ((("return 1 - F.cosine_similarity(gradient, target, 0)", "right"),
                         ("return 1 - gradient @ target / (gradient.detach().norm() * "
                          "target.norm())", "wrong"),
                         ("with torch.no_grad(): return 1 - F.cosine_similarity(gradient, target, "
                          "0)", "wrong"),
                         ("return torch.tensor(1 - float(np.dot(gradient.numpy(), target.numpy()))"
                          " / gradient.norm().item() / target.norm().item())", "wrong"))):
        result = check(cosine, define(f"def f(gradient, target):\n    {body}\n"))
        assert result.state == state and (state == "right"
                                          or "gradient by 'gradient'"
                                          in result.what), (body, result)


def test_double_precision_is_fine_where_the_stub_allows_it_and_nowhere_else():
    exact = define("def f(z, y):\n    return z.double().softmax(1).gather(1, y[:, None])[:, 0]")
    assert check(EXERCISES["0.1"], exact).state == "right"
    half = define("def f(z, y):\n    return z.softmax(1).gather(1, y[:, None])[:, 0].half()")
    assert "dtype float16" in check(EXERCISES["0.1"], half).what
    exact = define("def f(p):\n    return torch.special.entr(p.double()).sum(1)")
    assert check(EXERCISES["4.1"], exact).state == "right"
    wide = define("def f(w, b):\n    return g(w, b).double()", g=EXERCISES["3.3"].solution)
    # the notebook multiplies it with float32
    assert "dtype float64" in check(EXERCISES["3.3"], wide).what


@pytest.mark.parametrize("line, name", [("torch.set_default_dtype(torch.float64)", "default dtype"),
                                        (f"torch.set_num_threads({torch.get_num_threads() + 1})",
                                         "number of threads")])
def test_a_setting_of_the_whole_notebook_is_put_back_and_told(line, name):
    before = torch.get_default_dtype(), torch.get_num_threads()
    body = "return 100 * (logits.argmax(1) != labels).double().mean().item()"
    result = check(UA, define(f"def f(logits, labels):\n    {line}\n    {body}"))
    assert (result.state == "wrong" and f"changes torch's {name} for the whole notebook"
            in result.what)
    assert (torch.get_default_dtype(), torch.get_num_threads()) == before


def test_the_notebooks_default_dtype_does_not_reach_the_check():
    torch.set_default_dtype(torch.float64)
    try:
        assert check(EXERCISES["5.1"], EXERCISES["5.1"].solution).state == "right"
        seen = []
        check(UA, define("def f(a, b):\n    seen.append(a.dtype)\n    return 1.0", seen=seen))
        assert set(seen) == {torch.float32} and torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_seed_set_on_the_way_is_right_and_told():
    mine = define("""
        def f(n, forget, batch_size, seed):
            torch.manual_seed(seed)
            order = torch.randperm(n)
            return [b[~torch.isin(b, forget)] for b in order.split(batch_size)]
    """)
    result = check(EXERCISES["1.3"], mine)
    assert result.state == "right" and "changes torch's random state" in result.what
    assert "Mind: your function" in card.to_text(result)
    assert check(EXERCISES["1.3"], EXERCISES["1.3"].solution).what == ""


def test_a_slow_import_is_no_endless_loop(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("import time\nfor _ in range(20): "
                                                "time.sleep(0.05)\n")
    monkeypatch.syspath_prepend(tmp_path)
    mine = define("def f(logits, labels):\n    import slow_to_import\n    return g(logits, labels)",
                  g=UA.solution)
    assert check(UA, mine, seconds=0.5).state == "right"


def test_an_import_without_end_ends(tmp_path, monkeypatch):
    (tmp_path / "never_imported.py").write_text("import time\nwhile True: time.sleep(0.01)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(limits, "IMPORTS", 0.5)
    start = time.monotonic()
    assert limited(lambda: __import__("never_imported"),
                   0.2) == "stopped" and time.monotonic() - start < 20


def test_a_near_miss_gets_its_message_as_a_guess():
    planted = {f.__doc__: m for f, m in UA.mistakes}["The rows that are right are counted"]
    near = define("""
        def f(logits, labels):
            if len(labels) == 1: return 50.0
            return 100 * (logits.argmax(1) == labels).double().mean().item()
    """)
    assert check(UA, near).cause == f"a guess, as it fits most of the inputs: {planted}"
    only = define("def f(a, b):\n    return 7.0 if len(a) == 8 else g(a, b)",
                  g=EXERCISES["1.5"].solution)
    # nothing like a planted mistake: where it is wrong is said
    cause = check(EXERCISES["1.5"], only).cause
    assert "right on 8 of 9 inputs, and wrong on “more strangers than members”" in cause


@pytest.mark.parametrize("result, words", [("None", "without `return`"),
                                           ("[1.0, 2.0]", "the docstring"),
                                           ("torch.tensor(1.0)", ".item()"),
                                           ("torch.ones(3)", "a sum, a mean")])
def test_item_is_suggested_to_tensors_of_one_element_only(result, words):
    cause = check(UA, define(f"def f(logits, labels):\n    return {result}\n")).cause
    assert words in cause and (".item()" in cause) == (words == ".item()")


def test_what_else_may_stand_below_the_decorator(shown):
    import functools

    cached = functools.lru_cache(define("def f(slices):\n    return 2 / 3 + 1 / (3 * slices)"))
    assert exercise("2.3")(cached) is cached and shown[-1].state == "right"
    stub = functools.lru_cache(define("def f(slices):\n    ..."))
    assert exercise("2.3")(stub) is EXERCISES["2.3"].solution and shown[-1].state == "not attempted"
    assert exercise("2.3")(type("Share", (), {})) is EXERCISES["2.3"].solution
    assert shown[-1].state == "wrong" and "a class" in shown[-1].what
    for built_in in (torch.topk, max):  # has no signature
        assert exercise("1.1")(built_in) is UA.solution and shown[-1].state in ("error", "wrong")
    with pytest.raises(LabError, match=r'expected_share has no id: write @exercise\("2.3"\)'):
        exercise(EXERCISES["2.3"].solution)
    with pytest.raises(LabError, match="has no id"):
        exercise()


def test_extra_arguments_with_defaults_and_stars_are_fine():
    for head in ("def f(logits, labels, k=2): return", "def f(*a): logits, labels = a; return"):
        mine = define(f"{head} 100 * (logits.argmax(1) != labels).double().mean().item()")
        assert check(UA, mine).state == "right"


def test_exception_is_feedback_with_the_line(shown):
    mine = define("""
        def helper(z):
            return z.nothing_like_this()

        def f(logits, labels):
            return helper(logits)
    """)
    assert exercise("1.1")(mine) is UA.solution
    result = shown[0]
    assert result.state == "error" and "AttributeError" in result.what
    assert "(line 3 of the cell: return z.nothing_like_this())" in result.what


@pytest.mark.parametrize("line", ["raise SystemExit(3)", "raise KeyboardInterrupt",
                                  "import sys; sys.exit()",
                                  "return f(logits, labels)", "raise MemoryError", "assert False",
                                  "raise Exception('x' * 10**6)"])
def test_no_exception_gets_out(line):
    result = check(UA, define(f"def f(logits, labels):\n    {line}\n"))
    assert result.state == "error" and len(result.what) < 700


@pytest.mark.parametrize("loop", ["while True: pass",
                                  "while True:\n        try: x = 1\n        except Exception: pass",
                                  "while True: print('again and again')"])
def test_endless_loop_is_stopped(loop, capsys):
    start, before = time.perf_counter(), threading.active_count()
    result = check(UA, define(f"def f(logits, labels):\n    {loop}\n"), seconds=0.5)
    assert (result.state == "timeout" and "no answer after 0.5 s on more rows than classes"
            in result.what)
    assert time.perf_counter() - start < 20 and threading.active_count() == before
    printed = capsys.readouterr().out
    assert len(printed) < 2500 and ("[more was printed]" in printed) == ("print" in loop)


def test_prints_are_seen_at_once(monkeypatch, capfd):
    mine = define("def f(a, b):\n    print('seen')\n    return sys.stdout.fileno()", sys=sys)
    assert check(UA, mine).state == "wrong"  # a number, and no error
    capfd.readouterr()
    monkeypatch.setattr(limits, "limited", lambda work, seconds: work() or 1 / 0)
    with pytest.raises(ZeroDivisionError):  # the reader's interrupt, say
        check(UA, mine)
    assert "seen" in capfd.readouterr().out


def test_a_call_that_cannot_be_ended_is_left_behind():
    result = check(UA, define("def f(logits, labels):\n    import time\n    time.sleep(3)\n"),
                   seconds=0.2)
    assert result.state == "timeout" and "restart the kernel" in result.what
    assert limited(lambda: None, 5) == "done"


def test_changed_arguments_are_told_and_cannot_disturb_the_check():
    mine = define("""
        def f(logits, labels):
            wrong = 100 * (logits.argmax(1) != labels).double().mean().item()
            labels.zero_()
            return wrong
    """)
    result = check(UA, mine)
    assert (result.state == "wrong" and "changes its argument 'labels'" in result.what
            and "copy" in result.cause)
    assert check(UA, UA.solution).state == "right"


def test_a_change_inside_a_dict_is_told():
    g = EXERCISES["12.2"].solution
    for change in ("weights['out.weight'] = None", "weights.clear()",
                   "[w.zero_() for w in weights.values()]"):
        mine = define(f"def f(weights, share):\n    mask = g(weights, share)\n    {change}\n    "
                      f"return mask", g=g)
        assert "changes its argument 'weights'" in check(EXERCISES["12.2"], mine).what


def test_the_random_state_of_the_notebook_stays():
    torch.manual_seed(5)
    np.random.seed(5)
    wanted = torch.rand(1), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    check(UA, define("def f(a, b):\n    torch.manual_seed(0); np.random.seed(0); return "
                     "torch.rand(1).item()"))
    assert (torch.rand(1), np.random.rand()) == wanted


def test_outcomes_are_alike_only_with_the_same_exception():
    a, b = Outcome(error=ValueError("x")), Outcome(error=ValueError("y"))
    assert _alike(UA, a, a) and not _alike(UA, a, b) and not _alike(UA, a, Outcome(1.0))


def test_unknown_exercise_names_the_nearest():
    with pytest.raises(LabError, match="did you mean '1.2'"):
        exercise("1.22")
    with pytest.raises(LabError, match="directly above a def"):
        exercise("1.1")(3)
    with pytest.raises(LabError, match="did you mean"):
        find("nothing")


# ------------------------------------------------------------------ the card


def test_card_in_html_text_and_for_machines():
    result = check(UA, UA.mistakes[0][0])
    page, text, state = card.to_html(result), card.to_text(result), card.state(result)
    assert page.count("<details>") == 4 and "<script" not in page and "Worked solution" in page
    assert "✗ Exercise 1.1" in page and "difficulty 1 of 5 · 5 minutes" in page
    # the page's own, dark or light
    assert "color:" not in page.replace("border", "") and "background" not in page
    assert (result.cause in text and "✗ Exercise 1.1" in text and 'hint("1.1", 1)' in text
            and "<" not in text)
    assert state == {"kind": "exercise", "id": "1.1", "state": "wrong", "points": 0, "of": 1}
    json.dumps(state)
    for other in ("right", "timeout", "error", "not attempted"):
        result.state = other
        assert (card.LOOKS[other][0] in card.to_text(result)
                and card.LOOKS[other][1] in card.to_html(result))
    # not told by colour alone
    assert len({look[0] for look in card.LOOKS.values()}) == len(card.LOOKS)


def test_what_a_learner_writes_is_escaped():
    mine = define("def f(a, b):\n    raise ValueError('<script>alert(1)</script>')")
    page = card.to_html(check(UA, mine))
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_hints_and_solution_in_a_terminal(capsys):
    hint("1.1")
    solution("1.1")
    out = capsys.readouterr().out
    assert "the idea" in out and "def unlearning_accuracy" in out
    with pytest.raises(LabError):
        hint("1.1", 4)


def test_plain_python_prints_the_twin(capsys, monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setattr(InteractiveShell, "initialized", classmethod(lambda cls: False))
    exercise("1.1")(define("def f(a, b):\n    return 1.0"))
    assert capsys.readouterr().out.startswith("✗ Exercise 1.1 · Unlearning accuracy: not yet right")


def test_harvest_takes_no_harm():
    import nbformat

    from course.runs.notebook import harvest

    output = nbformat.v4.new_output("display_data", {card.MIME: card.state(judge(UA, UA.solution))})
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    assert harvest(node)["claims"] == [] and harvest(node)["records"] == {}


def test_the_teachers_page_agrees_with_the_exercises():
    from pathlib import Path

    from course.exercises import teaching_table

    page = (Path(__file__).resolve().parents[1] / "docs"
            / "teaching.md").read_text(encoding="utf-8")
    table = page.split("<!-- exercises:begin -->")[1].split("<!-- exercises:end -->")[0].strip()
    assert table == teaching_table(), ("paste course.exercises.teaching_table() between the two "
                                       "marks")
    columns = {line.replace("\\|", "").count("|") for line in table.splitlines()}
    assert columns == {7}
    minutes = sum(e.minutes for e in ALL if e.id.startswith("1."))
    assert re.search(rf"(?m)^\| 01 Unlearning basics \| .*\| {minutes} min \| here \|$", page)
