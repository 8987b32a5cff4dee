"""What must hold for the folds of every dataset that knows its subjects."""

from collections.abc import Callable

from fer.data.base import FERDataModule


def check_folds(make: Callable[..., FERDataModule], subjects: set[str], folds: int | str) -> None:
    """Check that no subject stands in two splits of a fold, and that each is tested in exactly one fold.

    Args:
        make: Makes the data module from ``fold`` and ``folds``.
        subjects: Everyone in the dataset.
        folds: Number of folds, or ``loso``.
    """
    tested: list[str] = []
    for fold in range(len(subjects) if folds == "loso" else int(folds)):
        data = make(fold=fold, folds=folds)
        samples = data.samples
        assert samples.subjects is not None
        people = {split: set(samples.subjects[data.rows(split)].tolist()) for split in ("train", "val", "test")}
        assert all(people.values()), people
        assert sum(map(len, people.values())) == len(set.union(*people.values())), people
        assert set.union(*people.values()) == subjects
        if folds == "loso":
            assert len(people["test"]) == 1
        tested += people["test"]
    assert sorted(tested) == sorted(subjects)
