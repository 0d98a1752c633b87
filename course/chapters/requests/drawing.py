"""The notebook's figures. Each gets course.figures as its first argument: looks, and intervals."""

import numpy as np
import torch

from labkit.training import predict

from .tables import PERCENT, draw, flips


def one_request(look, victim, j, rows, models):
    """The target, six of the rows asked for, and what models say of it. -> (figure, probabilities)

    models: name -> (role, network); probabilities: name -> (k,).
    """
    from matplotlib import pyplot as plt  # late: exercises are loaded without a picture

    fig, axes = plt.subplot_mosaic([[*"tabcpp"], [*"tdefpp"]], figsize=(10.5, 3.7),
                                   width_ratios=(1.6, 1, 1, 1, 2.2, 2.2))
    label, names, ax, found = victim.label[j], victim.data.classes, axes["p"], {}
    draw(axes["t"], victim.data, victim.x[j], f"target: {names[label]}", fontsize=12)
    for place, row in zip("abcdef", rows.tolist(), strict=False):
        draw(axes[place], victim.data, victim.data.x[row], names[int(victim.data.y[row])])
    shown = min(6, len(rows))
    fig.text(0.3, 0.98, f"{shown} of the {len(rows)} rows asked for", ha="center", va="top",
             fontsize=12)
    fig.get_layout_engine().set(rect=(0, 0, 1, 0.93))
    for at, (name, (role, model)) in enumerate(models.items()):
        p = found[name] = predict(model, victim.x[[j]])[0].softmax(0).cpu()
        ax.barh(-at, p[label], color=look.COLOURS[role])
        other = int(p.index_fill(0, torch.tensor([label]), -1).argmax())
        ax.plot(p[other], -at, "kx", markersize=10, markeredgewidth=2.5)
        ax.text(1.03, -at, f"× {names[other]}", fontsize=10, va="center")
    ax.set(yticks=range(0, -len(models), -1), yticklabels=list(models), xlim=(0, 1.4),
           xticks=(0, 0.5, 1), xlabel="probability: label (bar), strongest other (×)")
    return fig, found


def sorted_effects(look, effects, budget):
    """What each owned row's deletion would do to the margin, in order. effects (m,) -> figure"""
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(8, 3.6))
    order = effects.cpu().sort().values
    ax.bar(range(len(order)), order, width=1.0, color=look.COLOURS["other"], label="own rows")
    ax.bar(range(budget), order[:budget], width=1.0, color=look.COLOURS["attack"],
           label=f"the {budget} that lower it most")
    ax.set(xlabel="own rows, in order of their effect", ylabel="change of the margin (logits)",
           title="What each deletion would do to the target")
    ax.legend(loc="lower right")
    return fig


def the_walk(look, walk, lines):
    """Margins along the walk, (steps,), and those of requests. lines: name -> margin. -> figure"""
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(9, 3.8))
    looks = {"the original": ("original", "--"), "random rows": ("other", "-."),
             "largest effects, no walk": ("attack", (0, (1, 3))),
             "its request, retrained": ("retrained", ":")}
    ax.plot(walk, "-", color=look.COLOURS["attack"], label="the walk, weights 0 to 1")
    for name, value in lines.items():
        if name in looks:
            role, style = looks[name]
            ax.axhline(value, color=look.COLOURS[role], linestyle=style, label=name)
        else:
            ax.plot([len(walk) - 1], [value], "*", color=look.COLOURS["attack"], markersize=17,
                    label=name)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel="step of the walk", ylabel="margin of the target (logits)",
           title="Walking to a request, one target (below 0 another label wins)")
    fig.legend(loc="outside right upper", fontsize=10)
    return fig


def predicted_and_real(look, scatter, share):
    """What influence predicts against what retraining does, and the fitted line. -> figure"""
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(7.5, 4.2))
    for name, mark, text in (("over", "o", "requests to raise it"),
                             ("flip", "^", "requests to lower it")):
        part = scatter[scatter.goal == name]
        ax.plot(part.predicted, part.real, mark, color=look.COLOURS["attack"], label=text,
                fillstyle="none" if name == "over" else "full")
    span = np.array([scatter.predicted.min(), scatter.predicted.max()])
    ax.plot(span, span, ":", color=look.COLOURS["other"], label="as predicted")
    ax.plot(span, share * span, "--", color=look.COLOURS["retrained"], label=f"{share:.2f} of it")
    top = 1.3 * abs(scatter.real).max()
    ax.set(xlabel="margin change that influence predicts (logits)", ylim=(-top, top),
           ylabel="after retraining (logits)",
           title="What influence predicts, what retraining does")
    ax.legend(loc="upper left", fontsize=11)
    return fig


def every_way(look, table, how, exact):
    """Labels changed under each way of unlearning. how: name -> aim; exact: names. -> figure

    The bystanders' mark is hollow: what the same chosen rows do to other inputs.
    """
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(9, 5.4))
    ax.plot(0, 0, look.MARKERS["original"], color=look.COLOURS["original"],
            label="no request (the original)")
    for at, (name, aim) in enumerate(how.items(), 1):
        chosen, random = flips(table, name, aim), flips(table, name, request="random")
        there = chosen.dropna(subset=["others"])
        marks = [(random, 100 * random.flipped.fillna(0), "other", 0.25, "target, random rows", {}),
                 (chosen, 100 * chosen.flipped.fillna(0), "attack", 0, "target, chosen rows", {}),
                 (there, there.others, "attack", -0.25, "bystanders, the same chosen rows",
                  dict(fillstyle="none", alpha=0.7))]
        for part, values, role, shift, text, more in marks:
            look.interval(ax, values, -at + shift, role, text if at == 1 else None,
                          limits=PERCENT, clusters=part.i.tolist(), **more)
    ax.set(yticks=range(0, -len(how) - 1, -1), xlim=(-3, 103),
           xlabel="labels changed (% of targets, of bystanders)",
           yticklabels=["none", *(f"{'exact: ' * (name in exact)}{name}" for name in how)])
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def by_budget(look, curve, lines, budgets, exact):
    """Labels changed against rows asked for. lines: way -> style; exact: the way of random rows.

    curve: rows of `smaller` -> figure
    """
    from matplotlib import pyplot as plt

    random = flips(curve, exact, request="random")
    fig, ax = plt.subplots(figsize=(8, 4.2))
    for k, (name, style) in enumerate(lines.items()):
        places, means = np.asarray(budgets) + (k - 0.5) * 0.02 * budgets[-1], []
        for b, place in zip(budgets, places, strict=True):
            part = flips(curve[curve.budget == b], name)
            means.append(100 * part.flipped.fillna(0).mean())
            look.interval(ax, place, 100 * part.flipped.fillna(0), "attack", limits=PERCENT,
                          clusters=part.i.tolist())
        ax.plot(places, means, style, color=look.COLOURS["attack"], marker=look.MARKERS["attack"],
                label=f"chosen rows, {name}")
    look.interval(ax, 1.05 * budgets[-1], 100 * random.flipped.fillna(0), "other",
                  "random rows, retrained", limits=PERCENT, clusters=random.i.tolist())
    ax.plot(0, 0, look.MARKERS["original"], color=look.COLOURS["original"], label="no request")
    ax.set(xlabel="rows asked for", ylabel="labels changed (% of targets)", ylim=(-3, 103),
           xticks=[0, *budgets])
    fig.legend(loc="outside lower center", ncols=2, fontsize=11, handlelength=4)
    return fig


def rows_beside(data, genuine, prepared):
    """Genuine rows above, the same rows as they are prepared below. (m, …), (m, …) -> figure"""
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(2, len(genuine), figsize=(10, 3.2), squeeze=False)
    for line, images, text in zip(axes, (genuine, prepared), ("genuine", "prepared"), strict=True):
        for ax, image in zip(line, images, strict=True):
            draw(ax, data, image)
        line[0].set_ylabel(text)
    return fig
