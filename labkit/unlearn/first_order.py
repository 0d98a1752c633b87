"""Approximate unlearning by gradients: fine-tuning, ascent, and the methods that mix the two."""

import copy
from itertools import cycle

import torch
import torch.nn.functional as F

from ..base import LabError
from ..rules import checked, some
from ..training import fit, step
from .request import batches, begin, finite


@checked(epochs="passes, 0 or more")
def finetune(model, data, forget, *, epochs=2, lr=0.03, schedule="constant", batch_size=128,
             momentum=0.9, weight_decay=5e-4, seed=0, augment=None, penalty=None):
    """Go on training on the retain set and hope that the rest fades (catastrophic forgetting).

    epochs: passes over the retain set; lr: 'constant' or the peak of 'onecycle'; augment, penalty:
    fit's. UA is a matter of lr: show the sweep. Source: FT in Jia et al. 2023 (10 epochs, lr 0.01).
    """
    student, forget, _ = begin(model, data, forget)
    if len(forget) == 0:
        return student
    return fit(student, data.x, data.y, epochs=epochs, lr=lr, seed=seed, batch_size=batch_size,
               momentum=momentum, weight_decay=weight_decay, schedule=schedule, augment=augment,
               skip=forget, penalty=penalty)


@checked
def gradient_ascent(model, data, forget, *, epochs=1, lr=0.01, batch_size=128, momentum=0.9,
                    seed=0):
    """Walk uphill on the loss of the forget set; never look at the retain set, and damage it.

    epochs: passes over the forget set. Source: Thudi et al. 2022; GA in Jia et al. 2023 (lr 1e-4).
    """
    student, forget, _ = begin(model, data, forget)
    optimizer = torch.optim.SGD(student.parameters(), lr, momentum)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in batches(forget, batch_size, order) if len(forget) else ():
            step(optimizer, -F.cross_entropy(student(data.x[batch]), data.y[batch]), lr)
    return finite(student, "gradient_ascent", lr)


@checked
def neggrad_plus(model, data, forget, *, epochs=1, lr=0.01, beta=0.98, batch_size=128,
                 momentum=0.9, seed=0):
    """Descend on the retain set, ascend on the forget set: β L(retain) − (1 − β) L(forget).

    epochs: passes over the retain set, with a forget batch for each retain batch. beta: β.
    Source: NegGrad+ in Kurmanji et al. 2023.
    """
    student, forget, retain = begin(model, data, forget)
    if len(forget) == 0:
        return student
    optimizer = torch.optim.SGD(student.parameters(), lr, momentum)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        forget_batches = cycle(batches(forget, batch_size, order))
        for keep, drop in zip(batches(retain, batch_size, order), forget_batches, strict=False):
            loss = beta * F.cross_entropy(student(data.x[keep]), data.y[keep])
            loss = loss - (1 - beta) * F.cross_entropy(student(data.x[drop]), data.y[drop])
            step(optimizer, loss, lr)
    return finite(student, "neggrad_plus", lr)


@checked
def random_labels(model, data, forget, *, epochs=2, lr=0.01, batch_size=128, momentum=0.9, seed=0,
                  moving=None):
    """Fine-tune on everything, the forget set with wrong labels, drawn anew each epoch.

    epochs: passes over all rows. moving: None, or a dict name -> bool tensor of the weights that
    may move (SalUn). Source: Golatkar et al. 2020; RL in Fan et al. 2024.
    """
    student, forget, _ = begin(model, data, forget)
    if len(forget) == 0:
        return student
    optimizer = torch.optim.SGD(student.parameters(), lr, momentum)
    order = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(data.y), device=forget.device)
    y = data.y.clone()
    for _ in range(epochs):
        shift = torch.randint(1, data.n_classes, (len(forget),), generator=order)
        y[forget] = (data.y[forget] + shift.to(forget.device)) % data.n_classes
        for batch in batches(rows, batch_size, order):
            optimizer.zero_grad()
            F.cross_entropy(student(data.x[batch]), y[batch]).backward()
            for k, p in student.named_parameters() if moving is not None else ():
                p.grad *= moving[k]
            optimizer.step()
    return finite(student, "random_labels", lr)


@checked
def scrub(model, data, forget, *, epochs=3, max_epochs=2, lr=0.01, temperature=2.0, alpha=0.5,
          gamma=1.0, batch_size=128, momentum=0.9, seed=0):
    """Disobey a frozen teacher (the original) on the forget set, obey it on the retain set.

    In the first `max_epochs` of `epochs`: a pass over the forget set that maximises KL(teacher ‖
    student); in every epoch a pass over the retain set that minimises γ CE + α KL. Temperature T
    divides the logits, T² scales the KL. Source: SCRUB, Kurmanji et al. 2023 (there with Adam).
    """
    student, forget, retain = begin(model, data, forget)
    if len(forget) == 0:
        return student
    teacher = copy.deepcopy(student)
    optimizer = torch.optim.SGD(student.parameters(), lr, momentum)
    order = torch.Generator().manual_seed(seed)

    def learn(batch, on_forget):
        with torch.no_grad():
            wanted = F.log_softmax(teacher(data.x[batch]) / temperature, 1)
        logits = student(data.x[batch])
        found = F.log_softmax(logits / temperature, 1)
        kl = F.kl_div(found, wanted, reduction="batchmean", log_target=True) * temperature**2
        loss = -kl if on_forget else gamma * F.cross_entropy(logits, data.y[batch]) + alpha * kl
        step(optimizer, loss, lr)

    for epoch in range(epochs):
        for batch in batches(forget, batch_size, order) if epoch < max_epochs else ():
            learn(batch, on_forget=True)
        for batch in batches(retain, batch_size, order):
            learn(batch, on_forget=False)
    return finite(student, "scrub", lr)


@checked
def first_order(model, data, forget, *, tau=5e-4, relabel=None):
    """One step along the summed gradient: θ + τ Σ ∇ℓ(z), or θ − τ Σ (∇ℓ(z̃) − ∇ℓ(z)).

    tau: step for the **sum** of losses, so its effect grows with the number of rows. relabel: (m,)
    labels of the corrected rows z̃, or None for plain removal.
    Source: Warnecke et al. 2023, first-order update.
    """
    student, forget, _ = begin(model, data, forget)
    if len(forget) == 0:
        return student
    total = F.cross_entropy(student(data.x[forget]), data.y[forget], reduction="sum")
    if relabel is not None:
        k = data.n_classes
        if len(relabel) != len(forget) or not 0 <= int(relabel.min()) <= int(relabel.max()) < k:
            raise LabError(f"relabel holds {some(relabel.tolist())} for {len(forget)} rows: give "
                           f"each row a label from 0 to {k - 1}.")
        total = total - F.cross_entropy(student(data.x[forget]), relabel, reduction="sum")
    gradients = torch.autograd.grad(total, list(student.parameters()))
    with torch.no_grad():
        for p, g in zip(student.parameters(), gradients, strict=True):
            p += tau * g
    return finite(student, "first_order", tau)
