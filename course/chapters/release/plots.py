"""Figures with intervals. `figures` is the course's module of that name: colours, markers."""

import matplotlib.pyplot as plt
import numpy as np

from .telling import LIMITS, spread

LOOKS = {"undefended": ("other", -0.22, "no defence"), "plain": ("defence", 0.0, "defended"),
         "adaptive": ("attack", 0.22, "defended, attacker knows")}
LABELS = {"inversion": "pictures rebuilt (%)",
          "answers": "class named from answers (% of deleted rows)",
          "requests": "label flips less those of a random request (% of targets)"}


def who_withstands(figures, outcomes, guess):
    """Success of each attack without a defence, with it, and by who knows it; a panel an attack.

    outcomes: name -> Outcome; guess: % of classes that a guess names.
    """
    members = {kind: [n for n, x in outcomes.items() if x.kind == kind] for kind in LABELS}
    fig, axes = plt.subplots(3, 1, figsize=(7.6, 6.8), height_ratios=[len(m) + 0.6 for m in
                                                                      members.values()])
    for ax, (kind, names) in zip(axes, members.items(), strict=True):
        for row, name in enumerate(names):
            for who, (role, shift, means) in LOOKS.items():
                if (shares := getattr(outcomes[name], who)) is None:
                    continue
                mean, low, high = spread(shares, outcomes[name].seeds, LIMITS[kind])
                ax.errorbar(mean, row + shift, xerr=[[mean - low], [high - mean]], capsize=2,
                            fmt=figures.MARKERS[role], color=figures.COLOURS[role],
                            label=means if ax is axes[0] and row == 0 else None)
        ax.set(yticks=range(len(names)), ylim=(len(names) - 0.4, -0.6),
               yticklabels=[name.removeprefix("answers: ") for name in names],
               xlabel=LABELS[kind], xlim=(-104, 104) if kind == "requests" else (-3, 103))
        ax.grid(False)
    axes[1].axvline(guess, color="black", linestyle=":", linewidth=1.5, label="a guess")
    axes[2].axvline(0, color="black", linewidth=1)
    handles = [sum(both, []) for both in zip(*(ax.get_legend_handles_labels() for ax in axes[:2]),
                                             strict=True)]
    fig.legend(*handles, loc="outside lower center", ncols=4, fontsize=11)
    return fig


def privacy_figure(figures, found, epsilons):
    """Left: the gain from three kinds of step of ascent, at each ε. Right: flips by requests."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4))
    steps = {"ascent": ("an ordinary step", "unlearned"),
             "noisy": ("a private step (clipped only at ∞)", "defence"),
             "averaged": ("ten of those, averaged", "attack")}
    who = {"random": ("random request", "other"), "chosen": ("chosen", "unlearned"),
           "aware": ("chosen, knows the clipping", "attack")}
    count = len(found.seeds)
    for ax, kinds, limits, scale in ((left, steps, None, 1), (right, who, (0, 100), 100)):
        for at, e in enumerate(epsilons):
            for shift, (what, (label, role)) in zip((-0.22, 0, 0.22), kinds.items(), strict=True):
                values = scale * found.of(e, what)
                if len(values):
                    figures.interval(ax, at + shift, values, role, limits=limits,
                                     label=label if at == len(epsilons) - 1 else None,
                                     clusters=np.repeat(range(count), len(values) // count))
        ax.set(xticks=range(len(epsilons)), xlim=(-0.5, len(epsilons) - 0.5), xlabel="ε",
               xticklabels=["∞" if np.isinf(e) else f"{e:g}" for e in epsilons])
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=11)
    left.axhline(0, color=figures.COLOURS["other"], linestyle="-.", linewidth=1.5)
    left.text(-0.45, 1, "the class mean", fontsize=11, va="bottom")
    left.set_ylabel("gain over the class mean (dB)")
    right.set(ylabel="labels flipped (% of targets)", ylim=(-3, 103))
    return fig
