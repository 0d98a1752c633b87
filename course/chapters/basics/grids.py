"""The strengths that the notebook on basics tries, for each method and kind of request."""


def strengths(cfg) -> dict:
    """method -> kind -> list of settings, the strength first, the weakest first.

    cfg: batch_size, finetune_epochs, ascent_batch, probe_rows, cg_steps; every: 2 takes every
    second strength. Each kind of request needs strengths of its own.
    """
    def steps(name, random, whole_class, **fixed):
        return {kind: [{name: v} | fixed for v in values[::cfg.every]]
                for kind, values in (("random", random), ("class", whole_class))}

    batch, rows = dict(batch_size=cfg.batch_size), dict(n_rows=cfg.probe_rows)
    return {
        "finetune": steps("lr", (0.05, 0.1, 0.2, 0.25, 0.3), (0.1, 0.2, 0.3),
                          schedule="onecycle", epochs=cfg.finetune_epochs, **batch),
        "gradient_ascent": steps("lr", (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08),
                                 (0.002, 0.005, 0.01, 0.02, 0.04), batch_size=cfg.ascent_batch),
        "neggrad_plus": steps("beta", (0.97, 0.85, 0.75, 0.65), (0.999, 0.997, 0.99, 0.98),
                              epochs=3, lr=0.05, **batch),
        "random_labels": steps("lr", (0.01, 0.03, 0.06, 0.1, 0.2), (0.003, 0.01, 0.05, 0.1),
                               epochs=2, **batch),
        "scrub": steps("lr", (0.01, 0.03, 0.06, 0.1), (0.02, 0.03, 0.05, 0.07, 0.1), **batch),
        "first_order": steps("tau", (1e-4, 3e-4, 1e-3, 2e-3), (3e-4, 1e-3, 2e-3, 4e-3)),
        "influence": steps("scale", (0.5, 1, 2, 3), (1, 2, 3, 4, 6), cg_steps=cfg.cg_steps, **rows),
        "ssd": steps("alpha", (30, 3, 2, 1.5), (10, 3, 2, 1.5), **rows),
        "fisher_forgetting": steps("alpha", (1e-8, 1e-7, 1e-6, 1e-5), (1e-8, 1e-6, 1e-5, 1e-4),
                                   **rows),
    }
