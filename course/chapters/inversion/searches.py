"""The attacker's search: its settings, its rehearsal, and what it rebuilds."""

import copy
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from labkit import attack, training
from labkit.measure import psnr

from .worlds import CNN, ascend, others, tune

TVS = (0.0, 1e-3, 1e-2, 1e-1)  # weights of the prior that are rehearsed


@dataclass(frozen=True)
class Attacker:
    """What was rehearsed. tv: (network, kind of update) -> weight of the prior.

    The kinds of update are 'clean' (ascent) and 'noisy' (retraining and the rest); signed: whether
    a step follows the sign of the gradient alone.
    """

    tv: dict = field(default_factory=dict)
    signed: bool = False

    def search(self, w, model, aims, labels=None, update="clean", **settings):
        """attack.invert with this attacker's settings. aims (t, d); labels (t, u), None: w's own.
        """
        labels = w.label[:, None] if labels is None else labels
        net = CNN if any(p.dim() > 2 for p in model.parameters()) else "mlp"
        d, steps = w.data, w.cfg.sweep_steps if net == "mlp" else w.cfg.steps
        how = dict(shape=d.shape, mean=d.mean, std=d.std, steps=steps, seed=w.seed,
                   tv=self.tv.get((net, update)), signed=self.signed)
        return attack.invert(copy.deepcopy(model).float(), aims, labels, **(how | settings))


def gain(w, found) -> np.ndarray:
    """PSNR of each rebuilt picture less that of its class mean, in dB: what the attack adds to a
    guess. found: Inversion of w's deleted rows, once or any number of rounds. -> (rounds · t,)
    """
    rounds = len(found.images) // len(w.label)
    pixels, guess = w.pixels.repeat(rounds, 1, 1, 1), w.guess.repeat(rounds)
    return (psnr(found.images[:, 0], pixels) - guess).cpu().numpy()


def _try_out(job):
    """Mean PSNR in the rehearsal, for each weight of the prior."""
    w, net, update, signed = job
    recipe = dict(epochs=5, lr=1e-2, batch_size=16) if update == "noisy" else {}
    theta, m, n = tune(w, net, list(range(64)), **recipe), len(w.label), len(TVS)
    after = [tune(w, net, others(64, j), seed=1, **recipe) if update == "noisy"
             else ascend(w, theta, j) for j in w.rows]
    aims = torch.stack([attack.difference(theta, a) for a in after])
    found = Attacker(signed=signed).search(w, theta, aims.repeat(n, 1),
                                           w.label[:, None].repeat(n, 1),
                                           tv=torch.tensor(TVS).repeat_interleave(m))
    return psnr(found.images[:, 0], w.pixels.repeat(n, 1, 1, 1)).view(n, m).mean(1).tolist()


def rehearse(w):
    """The attacker plays the provider on a split of its own, and takes what serves best.

    -> (Attacker, {(network, update, signed): mean PSNR in dB for each of TVS})
    """
    jobs = [(w, CNN, "noisy", False), (w, "mlp", "noisy", False), (w, CNN, "clean", True),
            (w, CNN, "clean", False), (w, "mlp", "clean", False)]
    tried = {job[1:]: row for job, row in
             zip(jobs, training.parallel(_try_out, jobs), strict=True)}
    signed = max(tried[CNN, "clean", True]) > max(tried[CNN, "clean", False])
    tv = {(net, update): TVS[int(np.argmax(row))] for (net, update, signs), row in tried.items()
          if not signs}
    return Attacker(tv, signed), tried


def rehearsal_table(tried):
    """A frame of mean PSNR, dB: a row for each network, update and rule, a column for each of TVS.
    """
    return pd.DataFrame([{"network": net, "update": update,
                          "step along": "its sign" if signed else "the gradient"}
                         | {f"prior {tv:g}": p for tv, p in zip(TVS, row, strict=True)}
                         for (net, update, signed), row in tried.items()])


def edge_told(weights) -> str:
    """Says it where rehearsal chose the largest weight of the prior that it tried."""
    return (f"{max(TVS):g} is the largest weight tried: a larger one might do better."
            * (max(TVS) in weights))


def rehearsal_told(attacker, tried, w) -> str:
    """What the rehearsal on world w chose, and what its choice is worth. attacker, tried: as from
    rehearse.
    """
    chosen = ", ".join(f"{tv:g} ({net}, {update})" for (net, update), tv in attacker.tv.items())
    best, guess = max(max(row) for (_, update, _), row in tried.items()
                      if update == "noisy"), w.guess.mean().item()
    return (f"It follows {'the sign' if attacker.signed else 'the gradient'}, and takes the prior "
            f"with the highest PSNR: {chosen}. {edge_told(attacker.tv.values())}\n\n"
            f"These are means over {len(w.rows)} rows: small differences are luck. The class mean "
            f"has {guess:.1f} dB there" + (", more than any search of a noisy update: a rational "
                                           "attacker would hand in the mean." if best < guess
                                           else "."))


def first_look(attacker, w):
    """Ascent on each row to be deleted: attacked with its own update, with that of another row of
    its class, and from weights in float32. -> three tensors of pictures (t, c, h, w)
    """
    theta, after, wrong = tune(w, CNN, list(range(32))), [], []
    for j in w.rows:
        same = [r for r in range(len(w.label), 32) if w.pool.y[r] == w.label[j]]
        after.append(ascend(w, theta, j))
        wrong.append(attack.difference(theta, ascend(w, theta, same[0] if same
                                                     else (j + 1) % len(w.label))))
    right = torch.stack([attack.difference(theta, a) for a in after])
    single = torch.stack([attack.difference(copy.deepcopy(theta).float(), a.float())
                          for a in after])
    aims = torch.cat([right, torch.stack(wrong), single])
    found = attacker.search(w, theta, aims, w.label[:, None].repeat(3, 1))
    return found.images[:, 0].split(len(w.label))


def leaked(w, model, aim, leak=attack.leak) -> torch.Tensor:
    """The closed form applied to a difference of weights: a picture, pixels clipped to [0, 1]."""
    return w.data.pixels(leak(model, aim).float().view(w.data.shape))
