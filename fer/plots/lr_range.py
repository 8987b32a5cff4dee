"""The loss over a rising learning rate."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from fer.display import plain
from fer.plots import figures  # noqa: F401 - which sets Matplotlib up


def lr_range_figure(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float | None, title: str
) -> Figure:
    """Draw an lr range test.

    Args:
        rates: The learning rate of each step.
        losses: The step's loss.
        smoothed: The same, averaged over the last steps.
        suggestion: The suggested learning rate, marked; None for none.
        title: What was trained, on what.
    """
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color="tab:blue", alpha=0.3, label="each step")
    axes.plot(rates, smoothed, color="tab:blue", label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color="tab:orange", linestyle="--", label=f"suggestion: {suggestion:.1e}")
    low, high = min(*losses, *smoothed), max(smoothed[: len(smoothed) // 2])
    axes.set_ylim(low - 0.15 * (high - low) - 0.02, high + 0.6 * (high - low) + 0.05)  # the rise at the end leaves it
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:.0e}")  # Matplotlib's own is a formula
    axes.set_title(plain(title), fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure
