"""Figures of the chapter. Each gets the module course.figures first, and numbers that are there."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from labkit.measure import interval


def two_clouds(figures, mu, epsilon, delta):
    """Densities of the two releases, and where one is more than e^ε times the other."""
    fig, ax = plt.subplots(figsize=(8.5, 3.6))
    z = np.linspace(-4, 4 + mu, 800)
    one, other = norm.pdf(z, mu), norm.pdf(z)
    ax.plot(z, other, color=figures.COLOURS["retrained"], label="retrained, then noise")
    ax.plot(z, one, color=figures.COLOURS["unlearned"], linestyle="--",
            label="unlearned, then noise")
    above = np.maximum(one - np.exp(epsilon) * other, 0)
    ax.fill_between(z, one - above, one, where=above > 0, alpha=0.5, linewidth=0,
                    color=figures.COLOURS["attack"],
                    label=f"beyond $e^ε$ times the other: {delta:.3f}")
    ax.set(xlabel="what is released, in deviations of the noise", ylabel="density",
           ylim=(0, 0.62))
    ax.legend(loc="upper left")
    return fig


def sigmas(figures, epsilons, classic, exact):
    """Noise that the textbook's formula asks for, and the least that suffices, by ε."""
    fig, ax = plt.subplots(figsize=(8.5, 3.8))
    epsilons, classic, exact = map(np.asarray, (epsilons, classic, exact))
    proved = epsilons <= 1
    grey = figures.COLOURS["other"]
    ax.loglog(epsilons[proved], classic[proved], color=grey, label="textbook, where proved")
    ax.loglog(epsilons[~proved], classic[~proved], ":", color=grey, label="textbook, beyond ε = 1")
    ax.loglog(epsilons, exact, color=figures.COLOURS["defence"], label="exact curve")
    ax.set(xlabel="ε", ylabel="deviation of the noise, for Δ = 1")
    ax.legend()
    return fig


def ledger(figures, done):
    """After each removal: the true gradient, its bound, the budget, and what doing nothing leaves.
    """
    fig, ax = plt.subplots(figsize=(8.5, 4.2))
    at = np.arange(1, done.removals + 1)
    ax.semilogy(at, done.untouched, "o-", color=figures.COLOURS["original"], markersize=4,
                label="nothing done: gradient")
    ax.semilogy(at, done.bounds, "s-", color=figures.COLOURS["unlearned"], markersize=4,
                label="Newton steps: bound")
    ax.semilogy(at, done.residuals, "v--", color="#8A5A00", markersize=4,
                label="Newton steps: gradient")
    ax.axhline(done.budget, color=figures.COLOURS["defence"], linestyle=":",
               label="budget: retrain")
    ax.set(xlabel="removals so far", ylabel="length of the gradient")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def dampings(figures, grid, trials, chosen, limit=1e3):
    """Residual, and distance gained to coupled retraining in steps' lengths, by damping."""
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 4))
    runs = {key: np.array([t["sweep"][key] for t in trials]) for key in ("residual", "gain",
                                                                         "step")}
    at = np.arange(len(grid))
    for ax, values, label in (
            (axes[0], np.log10(runs["residual"]), "gradient, after / before"),
            (axes[1], runs["gain"] / runs["step"], "distance gained / step's length")):
        figures.band(ax, at, values, "unlearned", "damped Newton step")
        ax.set_xticks(at, [f"{d:g}" for d in grid], rotation=45)
        ax.set(xlabel="damping λ", ylabel=label)
        ax.axvline(list(grid).index(chosen), color=figures.COLOURS["other"], linestyle=":",
                   label="chosen")
    axes[0].axhline(0, color=figures.COLOURS["original"], linestyle="--", label="nothing done")
    ticks = range(int(np.floor(np.log10(runs["residual"]).min())), 4)
    axes[0].set_yticks(list(ticks), [f"{10.0**t:g}" for t in ticks])
    axes[0].set_ylim(ticks[0], np.log10(limit))
    axes[1].axhline(0, color=figures.COLOURS["original"], linestyle="--")
    axes[1].set_ylim(-1.05, 1.05)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def solver(figures, curves, chosen):
    """Relative error of LiSSA by step, one network, for each scale. curves: scale -> (steps,)"""
    fig, ax = plt.subplots(figsize=(8.5, 4))
    for (scale, errors), line in zip(sorted(curves.items()), (":", "--", "-.", (0, (1, 3)), "-"),
                                     strict=False):
        colour = figures.COLOURS["unlearned" if scale == chosen else "other"]
        errors = np.clip(errors, 1e-3, 1e3)[::4]
        ax.semilogy(4 * np.arange(len(errors)) + 1, errors, color=colour,
                    linestyle="-" if scale == chosen else line,
                    label=f"{scale:g}" + (" (chosen)" if scale == chosen else ""))
    ax.axhline(0.1, color="black", linestyle=":", linewidth=1)
    ax.set(xlabel="steps of LiSSA", ylabel="|LiSSA − exact| / |exact|", ylim=(1e-2, 1e3))
    ax.legend(title="scale / largest eigenvalue")
    return fig


def noise(figures, sigmas, trials, chance, epsilons):
    """Test accuracy by the noise; above, the ε it stands for. The last noise is that of ε = 1."""
    fig, ax = plt.subplots(figsize=(9, 4.6))
    at, accuracy = np.log10(sigmas), np.array([t["noisy"] for t in trials])
    for name, role in (("original", "original"), ("coupled", "retrained")):
        figures.reference(ax, [t["accuracy"][name] for t in trials], role, f"{role}, no noise",
                          limits=(0, 100))
    figures.band(ax, at, accuracy, "unlearned", "unlearned, then noise", limits=(0, 100))
    ax.axhline(chance, color=figures.COLOURS["other"], linestyle=":", label="chance")
    ax.axvline(at[-1], color=figures.COLOURS["defence"], linestyle="--", label="ε = 1")
    every = at[::2]
    ax.set_xticks(every, [f"{s:.2g}" for s in np.array(sigmas)[::2]])
    ax.set(xlabel="σ of the noise on each weight", ylabel="test accuracy (%)", ylim=(0, 100))
    top = ax.secondary_xaxis("top")
    top.set_xticks(every, [f"{e:.0e}" if e >= 1000 else f"{e:.0f}" for e in
                           np.array(epsilons)[::2]])
    top.set_xlabel("exact ε for Δ = 2C, δ = 0.00001")
    ax.legend(loc="center left")
    return fig


ROLES = {"at random": ("other", "o"), "on purpose": ("attack", "P"), "yours": ("attack", "X")}


def slowed(figures, sizes, trials):
    """Removals before retraining, and accuracy, by how far the attacker's rows were changed."""
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 4))
    for name, (role, _) in ROLES.items():
        if name in trials[0]:
            for ax, key, limits in ((axes[0], "removals", None), (axes[1], "accuracy", (0, 100))):
                runs = np.array([t[name][key] for t in trials], float)
                figures.band(ax, sizes, runs, role, f"changed {name}", limits=limits)
    axes[0].set(ylabel="removals before retraining", ylim=(0, None))
    axes[1].set(ylabel="test accuracy (%)", ylim=(50, 100))
    for ax in axes:
        ax.set(xlabel="size of the change (rows have length 1)", xticks=sizes)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def explorer(figures, sigmas, trials, chance):
    """One network's accuracy over the noise, with a marker that moves. -> figure, redraw"""
    fig, ax = plt.subplots(figsize=(8, 4), layout="none")
    fig.subplots_adjust(left=0.1, right=0.97, top=0.95, bottom=0.17)
    accuracy = np.array([t["noisy"] for t in trials])
    ax.semilogx(sigmas, accuracy.mean(0), color=figures.COLOURS["unlearned"],
                label="mean of the networks")
    ax.axhline(chance, color=figures.COLOURS["other"], linestyle=":", label="chance")
    marker, = ax.plot(sigmas[:1], accuracy.mean(0)[:1], "D", markersize=11,
                      color=figures.COLOURS["defence"], label="this noise")
    ax.set(xlabel="σ of the noise on each weight", ylabel="test accuracy (%)", ylim=(0, 100))
    ax.legend()

    def redraw(sigma, says):
        i = list(sigmas).index(sigma)
        marker.set_data([sigma], [accuracy.mean(0)[i]])
        mean, low, high = interval(accuracy[:, i], None, (0, 100))
        return f"σ = {sigma:.3g}: accuracy {mean:.0f} % [{low:.0f}, {high:.0f}]; {says}."
    return fig, redraw
