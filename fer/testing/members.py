"""The members of an ensemble: trained networks on one dataset, and whether one validation split may choose them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fer.build import build
from fer.data.base import FERDataModule
from fer.errors import ConfigError
from fer.files import run_folder, run_record
from fer.files.predictions import Predictions
from fer.models.preprocessing import Preprocessing
from fer.scores.seen_images import KEY, find
from fer.testing.evaluation import as_trained
from fer.training import predict
from fer.training.checkpoint_content import load_checkpoint
from fer.training.module import FERModule


@dataclass(eq=False)
class Member:
    """A trained network that may become part of an ensemble.

    Attributes:
        name: Its run's folder, as short as it can be told from the others.
        folder: Its run's folder.
        mark: What tells its checkpoint from the run's later ones.
        hparams: What its module is built from.
        seen: The fingerprints that its checkpoint carries; None for an old one.
        score: On the validation split: as its run noted it, or, once members are chosen, as computed here.
    """

    name: str
    folder: Path
    mark: str | None
    hparams: Mapping[str, Any]
    seen: Mapping[str, Any] | None
    score: float | None

    @property
    def classes(self) -> list[str]:
        """Its class names in label order."""
        return list(self.hparams["classes"])


def opened(runs: Sequence[tuple[str, Path, float | None]]) -> list[Member]:
    """Read the members' checkpoints.

    Args:
        runs: Name, folder and noted validation score of each.

    Raises:
        FERError: If one cannot be used, or their classes differ.
    """
    members = []
    for name, folder, score in runs:
        mark = run_folder.checkpoint_mark(folder)
        content = load_checkpoint(folder)
        members.append(Member(name, folder, mark, content["hyper_parameters"], content.get(KEY), score))
    first = members[0]
    for other in members[1:]:
        if set(other.classes) != set(first.classes):
            raise ConfigError(
                f"runs: {first.name} knows {', '.join(first.classes)}, and {other.name} {', '.join(other.classes)}. "
                f"The members of an ensemble know the same classes, in any order: runs=[<those that do>]."
            )
    return members


class Scorer:
    """Answers of members on their own data or another dataset, all in the class order of the first member.

    Args:
        run: The ensemble's folder.
        config: The resolved config.
        first: The member whose order of classes, of the network and of the data, counts.
    """

    def __init__(self, run: Path, config: Mapping[str, Any], first: Member) -> None:
        self.config, self.first = config, first
        self.trainer = predict.scorer(run, config["accelerator"], config["precision"], config["progress"])
        self._packages = config["trust"] if isinstance(config["trust"], list) else ()
        self._data: dict[str, FERDataModule] = {}

    def module(self, member: Member) -> FERModule:
        """Return a member's network."""
        return FERModule.load_from_checkpoint(member.folder, packages=self._packages, tta=self.config["tta"])

    def own_data(self, member: Member) -> FERDataModule:
        """Return the dataset that a member was trained on, in its splits.

        Raises:
            FERError: If its run does not say which, or it cannot be read.
        """
        node = run_record.data_of(member.folder, self.config["trust"])
        return self._built(node, member, int(member.hparams.get("seed", 0)), own=True)

    def tested_data(self, member: Member) -> FERDataModule:
        """Return the dataset that is tested: the one that the user names, else a member's own."""
        if self.config.get("data") is None:
            return self.own_data(member)
        return self._built(self.config["data"], member, self.config["seed"], own=False)

    def _built(self, node: Mapping[str, Any], member: Member, seed: int, own: bool) -> FERDataModule:
        filled = as_trained(node, Preprocessing.from_dict(member.hparams["preprocessing"]), own)
        key = json.dumps([filled, seed, own], sort_keys=True, default=str)
        if key not in self._data:  # else the members of a sweep would each read it anew
            data: FERDataModule = build(filled, "data", seed=seed)
            if own:
                data.setup("test")
            else:
                data.use_own_splits()
            self._data[key] = data
        return self._data[key]

    def answers(self, member: Member, module: FERModule, split: str, tested: bool = False) -> Predictions:
        """Return a network's answers on a split, sorted by the samples' ids; rows are those of the first member's data.

        Args:
            member: Whose data the network is applied to.
            module: Its network, or one of its kind.
            split: ``train``, ``val``, ``test`` or ``all``.
            tested: Whether of the tested dataset; else of the member's own.
        """
        data, reference = (self.tested_data(one) if tested else self.own_data(one) for one in (member, self.first))
        found = predict.predict(module, data, split, self.trainer)
        order = np.argsort(found.ids, kind="stable")
        row_of = {name: row for row, name in enumerate(reference.samples.ids.tolist())}
        label_of = np.array([reference.classes.index(name) for name in data.classes])
        columns = [module.classes.index(name) for name in self.first.classes]
        return replace(
            found,
            rows=np.array([row_of.get(name, -1) for name in found.ids[order].tolist()], dtype=np.int64),
            ids=found.ids[order],
            labels=label_of[found.labels[order]],
            probabilities=found.probabilities[order][:, columns],
        )


def refuse_other_splits(members: Sequence[Member], scorer: Scorer) -> None:
    """Refuse to choose among members on images that are not the validation split of all of them.

    Raises:
        ConfigError: If one was chosen on test images, or trained on another's validation images.
    """
    said = "Without a choice they can be averaged all the same: choose=all"
    choose = scorer.config["choose"]
    for member in members:
        if scorer.own_data(member).select_on_test:
            raise ConfigError(
                f"choose={choose}: {member.name} was chosen on its test split (data.select_on_test=true), and members "
                f"are never chosen on it. {said}"
            )
    first = members[0]
    data = scorer.own_data(first)
    wanted = _ids(data, "val")
    for other in members[1:]:
        theirs = scorer.own_data(other)
        if not predict.identity(data).same(predict.identity(theirs)):
            raise ConfigError(
                f"choose={choose}: {first.name} and {other.name} were trained on different images or labels. {said}"
            )
        if (now := _ids(theirs, "val")) == wanted:
            continue
        trained = len(wanted & _ids(theirs, "train"))
        why = (
            f"{trained:,} of the {len(wanted):,} validation images of {first.name} are training images of {other.name}"
            if trained
            else f"{len(wanted & now):,} of {first.name}'s {len(wanted):,} validation images are {other.name}'s too"
        )
        seeds = [one.hparams.get("seed") for one in (first, other)]
        carved = f" (carved with seed={seeds[0]} and seed={seeds[1]})" if seeds[0] != seeds[1] else ""
        raise ConfigError(
            f"choose={choose}: the members' splits differ{carved}: {why}. A choice on them would prefer the member "
            f"that knows them. {said}"
        )
    rows = data.rows("val")
    for member in members:
        known = find({KEY: member.seen}, data.samples.images, rows).fitted.sum() if member.seen else 0
        if 2 * known >= len(rows):  # fewer may be copies within the dataset
            raise ConfigError(
                f"choose={choose}: {known:,} of the {len(rows):,} validation images had fitted {member.name}, its "
                f"parent or its teachers. A choice on them would prefer it. {said}"
            )


def _ids(data: FERDataModule, split: str) -> set[str]:
    return set(data.samples.ids[data.rows(split)].tolist())


def averaged(answers: Sequence[Predictions], names: Sequence[str]) -> Predictions:
    """Return the mean probabilities of several networks on the same samples.

    Args:
        answers: Of each, from :meth:`Scorer.answers`.
        names: Of the networks.

    Raises:
        ConfigError: If their samples differ, naming the first that differs.
    """
    first = answers[0]
    for found, name in zip(answers[1:], names[1:], strict=True):
        if not np.array_equal(found.ids, first.ids) or not np.array_equal(found.labels, first.labels):
            common = len(set(found.ids.tolist()) & set(first.ids.tolist()))
            raise ConfigError(
                f"runs: the {first.split} splits of {names[0]} and {name} differ: {len(first.ids):,} and "
                f"{len(found.ids):,} images, {common:,} of them common. Name one dataset to test all on: data=<dataset>"
            )
    mean = np.stack([found.probabilities for found in answers]).mean(axis=0, dtype=np.float64)
    return replace(first, probabilities=np.asarray(mean, np.float32))
