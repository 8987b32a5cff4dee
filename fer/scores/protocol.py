"""What makes a score honest, and the words for when it is not.

The protocol: fit on the training split, choose on the validation split, score the test split once. A score on images
that the model was fitted to, or that chose its checkpoint, is reported with these words: in tables, ``metrics.json``,
confusion matrices, curves and reports.
"""

from collections.abc import Mapping
from typing import Any

SELECTED_ON_TEST = "SELECTED ON TEST: the checkpoint was chosen on the very images that it is scored on."
"""Stamp of a run with ``data.select_on_test=true``."""
TESTED_TWICE = "TEST SCORED TWICE: with the last epoch's weights too. Choosing the better of both is choosing on test."
"""Stamp of a run with ``test_last_epoch=true``."""


def stamp_of_test(images: int, fitted: int, chose: int, selected_on_test: bool) -> str | None:
    """Return the stamp of a tested split, or None if the score is held out.

    Args:
        images: Number of images scored.
        fitted: How many of them, or copies of them, the model was fitted to.
        chose: How many of them, or copies of them, chose its checkpoint.
        selected_on_test: Whether they did so as a test split.
    """
    # A few copies on both sides are a leak, which is counted and taken out; half of the images are a protocol.
    if 2 * fitted >= images:
        return f"NOT HELD OUT: the model was trained on {fitted:,} of these {images:,} images."
    if 2 * chose >= images:
        return (
            SELECTED_ON_TEST
            if selected_on_test
            else f"VALIDATION: {chose:,} of these {images:,} images chose the checkpoint."
        )
    return None


def leak_line(seen: Mapping[str, Any]) -> str:
    """Say how many tested images were in training, from a test's ``seen``."""
    if "summary" in seen:
        fitted, chose = seen["summary"]
        return (
            f"Whether test images were in training is not known: an export carries no fingerprints. It says that "
            f"{fitted:,} images of {seen['trained_on']} fitted it and {chose:,} chose it; a test of its checkpoint "
            f"looks for them."
        )
    if not seen["known"]:
        return "Whether test images were in training is not known: this checkpoint carries no fingerprints."
    share = 100 * seen["in_training"] / max(1, seen["images"])
    line = f"{seen['in_training']:,} of {seen['images']:,} test images ({share:.1f} %) were in training"
    if seen["in_training"]:
        near = seen["in_training"] - seen["in_training_exactly"]
        line += f", {seen['in_training_exactly']:,} as equal pixels and {near:,} as near copies"
    if seen["chose_the_checkpoint"]:
        line += f"; {seen['chose_the_checkpoint']:,} more were among those that chose the checkpoint"
    line = f"{line} ({seen.get('trained_on')})."
    if not seen.get("complete", True):
        line += " What the weights that its training began with have seen is not known."
    return line
