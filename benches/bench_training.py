"""labkit.training.fit against a bare PyTorch loop on the same tensors: CPU seconds, interleaved,
median of ratios.

    make bench            (or: python benches/bench_training.py ROUNDS)
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gc
import statistics
import sys
import time

import torch
import torch.nn.functional as F

import labkit as lk

LIMIT = 1.05
EPOCHS, BATCH, LR = 2, 128, 0.1


def bare(model, x, y, seed):
    """The same steps with nothing around them: one-cycle rate, Nesterov momentum, a new order each
    epoch.
    """
    steps_per_epoch = -(-len(x) // BATCH)
    steps = EPOCHS * steps_per_epoch
    up = round(0.3 * steps)
    optimizer = torch.optim.SGD(model.parameters(), LR, 0.9, nesterov=True, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    step = 0
    for _ in range(EPOCHS):
        order = torch.randperm(len(x), generator=generator)
        for rows in order.split(BATCH):
            optimizer.param_groups[0]["lr"] = LR * min((step + 1) / up,
                                                       (steps - step) / (steps - up))
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return model.eval()


def labkits(model, x, y, seed):
    return lk.training.fit(model, x, y, epochs=EPOCHS, lr=LR, seed=seed, batch_size=BATCH)


def cpu_seconds(function, data, seed):
    model = lk.models.build("strided_cnn", data, seed)
    gc.collect()
    start = time.process_time()
    function(model, data.x, data.y, seed)
    return time.process_time() - start, model


def main(rounds=9):
    torch.set_num_threads(1)
    data = lk.data.load("fashion", n_train=3000, n_test=500, device="cpu")
    cpu_seconds(labkits, data, 0), cpu_seconds(bare, data, 0)  # warm up
    ratios, plain = [], []
    for i in range(rounds):
        # whoever comes second gains nothing in the median
        functions = [labkits, bare] if i % 2 else [bare, labkits]
        taken = {f: cpu_seconds(f, data, i) for f in functions}
        same = all(torch.equal(a, b) for a, b in zip(taken[bare][1].parameters(),
                                                     taken[labkits][1].parameters(),
                                                     strict=True))
        assert same, "the two did not train the same model, so their times cannot be compared"
        ratios.append(taken[labkits][0] / taken[bare][0])
        plain.append(taken[bare][0])
    ratio = statistics.median(ratios)
    print(f"strided_cnn, {len(data.y)} rows, {EPOCHS} epochs, one thread, {rounds} rounds: bare "
          f"loop "
          f"{statistics.median(plain):.2f} CPU s; labkit takes {ratio:.3f} times as long "
          f"(rounds: {min(ratios):.3f} to {max(ratios):.3f})")
    print(f"{'within' if ratio <= LIMIT else 'NOT within'} 5 %")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
