"""The strengths that the notebook on basics tries, for each method and kind of request."""

# method -> (name of the strength, those for the random request, for the class request), the weakest
# first. What ruins one network does nothing to another.
PERCEPTRON = {
    "finetune": ("lr", (0.05, 0.1, 0.2, 0.25, 0.3), (0.1, 0.2, 0.3)),
    "gradient_ascent": ("lr", (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08),
                        (0.002, 0.005, 0.01, 0.02, 0.04)),
    "neggrad_plus": ("beta", (0.97, 0.85, 0.75, 0.65), (0.999, 0.997, 0.99, 0.98)),
    "random_labels": ("lr", (0.01, 0.03, 0.06, 0.1, 0.2), (0.003, 0.01, 0.05, 0.1)),
    "scrub": ("lr", (0.01, 0.03, 0.06, 0.1), (0.02, 0.03, 0.05, 0.07, 0.1)),
    "first_order": ("tau", (1e-4, 3e-4, 1e-3, 2e-3), (3e-4, 1e-3, 2e-3, 4e-3)),
    "influence": ("scale", (0.5, 1, 2, 3), (1, 2, 3, 4, 6)),
    "ssd": ("alpha", (30, 3, 2, 1.5), (10, 3, 2, 1.5)),
    "fisher_forgetting": ("alpha", (1e-8, 1e-7, 1e-6, 1e-5), (1e-8, 1e-6, 1e-5, 1e-4)),
}
# For a strided_cnn, set around the best on one split of outer seed 100, of 5,000 rows. Not tried
# there: NegGrad+ at 0.99, 0.93, 0.9997 and 0.998, fine-tuning of a class at 0.16, and any resnet18.
# Fisher forgetting of a class helped at no strength.
CONVOLUTIONS = {
    "finetune": ("lr", (0.1, 0.16, 0.18, 0.2), (0.06, 0.1, 0.13, 0.16)),
    "gradient_ascent": ("lr", (0.005, 0.01, 0.02, 0.03, 0.035, 0.04, 0.05, 0.06),
                        (0.002, 0.005, 0.01, 0.012, 0.015)),
    "neggrad_plus": ("beta", (0.99, 0.97, 0.93, 0.85), (0.9997, 0.999, 0.998, 0.997)),
    "random_labels": ("lr", (0.01, 0.03, 0.06, 0.1, 0.2), (0.003, 0.01, 0.05, 0.1)),
    "scrub": ("lr", (0.01, 0.02, 0.03, 0.04), (0.004, 0.007, 0.01, 0.015)),
    "first_order": ("tau", (3e-4, 1e-3, 2e-3, 3e-3), (1e-4, 2e-4, 3e-4, 1e-3)),
    "influence": ("scale", (0.5, 1, 2, 3), (0.5, 1, 2)),
    "ssd": ("alpha", (30, 3, 2, 1.5), (10, 3, 2, 1.5)),
    "fisher_forgetting": ("alpha", (1e-7, 1e-6, 3e-6, 1e-5), (1e-8, 1e-6, 1e-5, 1e-4)),
}


def strengths(cfg) -> dict:
    """method -> kind -> list of settings, the strength first, the weakest first.

    cfg: model, batch_size, finetune_epochs, ascent_batch, probe_rows, cg_steps; every: 2 takes
    every second strength. Each kind of request needs strengths of its own.
    """
    batch, rows = dict(batch_size=cfg.batch_size), dict(n_rows=cfg.probe_rows)
    fixed = {
        "finetune": dict(schedule="onecycle", epochs=cfg.finetune_epochs, **batch),
        "gradient_ascent": dict(batch_size=cfg.ascent_batch),
        "neggrad_plus": dict(epochs=3, lr=0.05, **batch),
        "random_labels": dict(epochs=2, **batch), "scrub": batch, "first_order": {},
        "influence": dict(cg_steps=cfg.cg_steps, **rows), "ssd": rows, "fisher_forgetting": rows,
    }
    tried = PERCEPTRON if cfg.model == "mlp" else CONVOLUTIONS
    return {method: {kind: [{name: v} | fixed[method] for v in values[::cfg.every]]
                     for kind, values in (("random", random), ("class", whole_class))}
            for method, (name, random, whole_class) in tried.items()}
