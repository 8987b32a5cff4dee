"""Which members an ensemble takes: the best one, then each further one that does not lower the score on validation.

Source: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time", ICML 2022, https://arxiv.org/abs/2203.05482 (the greedy soup). Averages of probabilities
are chosen in the same way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer.files.predictions import Predictions
from fer.scores.metrics import final_scores
from fer.scores.registry import SCORES
from fer.testing import soup
from fer.testing.members import Member, Scorer, averaged, refuse_other_splits


@dataclass
class Part:
    """One of the three that are compared: the best single member, the average and the soup.

    Attributes:
        members: Whose probabilities or weights are averaged; of the best single one itself.
        val: Score on the validation split; None where nothing was chosen.
        answers: On the scored split.
    """

    members: list[Member]
    val: float | None
    answers: Predictions


def ranked(members: Sequence[Member], score: str) -> list[Member]:
    """Return members best first by their score on validation; those without one come last."""
    worst = float("inf")
    return sorted(members, key=lambda one: worst if one.score is None else SCORES[score].sign * one.score)


def greedy(ordered: Sequence[Member], score_with: Callable[[list[Member]], float], score: str) -> list[Member]:
    """Return the first member, and of the others in turn each that does not lower the score of those taken.

    Args:
        ordered: Best first, with their scores on validation.
        score_with: What some of them together score on validation.
        score: Its name.
    """
    taken, reached = [ordered[0]], ordered[0].score
    assert reached is not None
    for member in ordered[1:]:
        now = score_with([*taken, member])
        if SCORES[score].sign * now <= SCORES[score].sign * reached:
            taken, reached = [*taken, member], now
    return taken


class Choice:
    """The choice of members, on the validation split that all of them share.

    Args:
        members: All that can be chosen; their scores become those computed here, so that they are of one split.
        scorer: What scores them.
        score: What they are chosen by.

    Raises:
        FERError: If they do not share their validation split.
    """

    def __init__(self, members: Sequence[Member], scorer: Scorer, score: str) -> None:
        refuse_other_splits(members, scorer)
        self._scorer, self._score = scorer, score
        self._answers: dict[str, Predictions] = {}
        for member in members:
            self._answers[member.name] = scorer.answers(member, scorer.module(member), "val")
            member.score = self._value(self._answers[member.name])
        self.ordered = ranked(members, score)

    def _value(self, answers: Predictions) -> float:
        classes = self._scorer.first.classes
        return float(final_scores(answers.probabilities, answers.labels, classes, resamples=0)[self._score])

    def of_average(self, some: Sequence[Member]) -> float:
        """Return what the mean probabilities of some members score on validation."""
        names = [member.name for member in some]
        return self._value(averaged([self._answers[name] for name in names], names))

    def of_soup(self, some: Sequence[Member]) -> float:
        """Return what the mean weights of some members score on validation."""
        return self._value(self._scorer.answers(some[0], soup.mixed(some, self._scorer), "val"))

    def for_average(self) -> list[Member]:
        """Return the members whose probabilities are averaged."""
        return greedy(self.ordered, self.of_average, self._score)

    def for_soup(self) -> list[Member]:
        """Return the members whose weights are averaged, among those of the best one's kind."""
        return greedy(soup.alike(self.ordered), self.of_soup, self._score)


def compared(
    members: Sequence[Member], choice: Choice | None, scorer: Scorer, split: str, with_soup: bool, run: Path
) -> dict[str, Part]:
    """Return the best single member, the average, and the soup, whose checkpoint is written.

    Args:
        members: Best first.
        choice: What chooses among them; None to take all.
        scorer: What scores them.
        split: The split that is scored.
        with_soup: Whether weights are averaged too.
        run: The ensemble's folder.

    Raises:
        FERError: If the members' samples differ.
    """
    best = members[0]
    taken = choice.for_average() if choice else list(members)
    # On this split nobody else's answers are looked at.
    answers = {
        member.name: scorer.answers(member, scorer.module(member), split, tested=True)
        for member in [best, *(member for member in taken if member is not best)]
    }
    names, val = [member.name for member in taken], choice.of_average(taken) if choice else None
    parts = {
        "best": Part([best], best.score, answers[best.name]),
        "average": Part(taken, val, averaged([answers[name] for name in names], names)),
    }
    fitting = soup.alike(members)
    if with_soup and len(fitting) > 1:
        used = choice.for_soup() if choice else fitting
        module = soup.mixed(used, scorer)
        tested = scorer.answers(used[0], module, split, tested=True)
        parts["soup"] = Part(used, choice.of_soup(used) if choice else None, tested)
        module.tta = "none"  # as exports answer, and predictions by default: means of views need another temperature
        soup.save(run, module, used, scorer.answers(used[0], module, "val") if choice else None)
    return parts
