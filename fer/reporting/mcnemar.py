"""McNemar's exact test of whether two runs are right equally often."""

from contextlib import suppress

from fer.files import predictions
from fer.plots.tables import shortened
from fer.reporting.runs import Found, Run

Compared = tuple[list[list[str]], list[str]]
"""Rows below :data:`HEADER`, and sentences on what cannot be compared."""
HEADER = ("on", "n", "only the first is right", "only the second is right", "p")
NOTE = (
    "The exact test of whether two runs are right equally often, on the same samples. A p below 0.05 says that a "
    "difference like this one would be rare if they were; it does not say that another seed would repeat it."
)


def title(found: Found, longest: int | None = None) -> str:
    """Say which run is the first, and which the second; their names of at most so many letters."""
    first, second = (shortened(run.name, longest or len(run.name)) for run in found.runs)
    return f"McNemar's test: {first} is the first, {second} the second"


def compare(found: Found) -> Compared:
    """Compare two runs by McNemar's exact test, on every split or test on whose same samples both have answered.

    Returns:
        Rows below :data:`HEADER`, and a sentence for each split or test that both have and that cannot be
        compared.
    """
    from scipy.stats import binomtest

    runs, rows, refused = found.runs, [], []
    first, second = (_answers(run) for run in runs)
    own = runs[0].dataset is not None and runs[0].dataset is runs[1].dataset
    for name in first:
        if name not in second:
            continue
        a, b = first[name], second[name]
        if name not in runs[0].tests and not own:
            refused.append(f"{name}: is of two different datasets, so the two runs cannot be compared on it.")
        elif {sample: label for sample, (label, _) in a.items()} != {sample: label for sample, (label, _) in b.items()}:
            refused.append(f"{name}: the two runs have answered on other images or labels, and cannot be compared.")
        else:
            pairs = [(label == said, label == b[sample][1]) for sample, (label, said) in a.items()]
            only = [sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)]
            p = binomtest(only[0], sum(only), 0.5).pvalue if sum(only) else 1.0
            names = [name] if name in runs[0].tests else [run.on(name) for run in runs]
            what = " / ".join(dict.fromkeys(names))  # test flip / test
            rows.append([what, f"{len(pairs):,}", *(f"{count:,}" for count in only), f"{p:.2g}"])
    return rows, refused


def _answers(run: Run) -> dict[str, dict[str, tuple[str, str]]]:
    """Return for each split or test, for each sample's id, its label and the run's answer; nothing unreadable."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for name, folder in [("", run.folder), *((name, test.folder) for name, test in run.tests.items())]:
        with suppress(OSError, ValueError):  # absent or damaged: a test that is not made misleads nobody
            for split, answers in predictions.read_answers(folder / predictions.FILE).items():
                found.setdefault(name or split, {}).update(answers)
    return found
