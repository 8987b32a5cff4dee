"""Look through a dataset before it is trained on: ``python -m fer.audit data=fer2013 data.root=<folder>``."""

from typing import TYPE_CHECKING

from fer.cli import command
from fer.cli.in_python import settled
from fer.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def audit(cfg: "DictConfig") -> None:
    """Describe a dataset, find copies and labels that look wrong, and list what to leave out. Deletes nothing.

    Args:
        cfg: The composed ``conf/audit.yaml``.

    Raises:
        FERError: If no dataset is named, or it cannot be read.
    """
    config = settled(cfg)
    if config.get("data") is None:
        raise ConfigError("data: which dataset? For example data=fer2013 data.root=<folder>, or data=synthetic.")
    # Imported here, so that a mistake in the command is reported before the seconds that these take.
    from pathlib import Path

    from fer.auditing import reading
    from fer.files import run_folder

    run = Path(config["output_dir"])
    run_folder.refuse_used(run, "audit.json")

    # The data, with the splits that they have on disk.
    nodes = {where: config[where] for where in ("data", "against") if config.get(where)}
    datasets = reading.read(nodes, config["seed"])
    data, against = datasets["data"], datasets.get("against")
    samples, other = data.samples, against.samples if against else None

    # Not before: for a moment there are two processes.
    import numpy as np

    from fer.auditing import appearance, copies, exclusions, out_of_fold, report, suspect_labels
    from fer.framing import measure
    from fer.progress import step

    report.describe(data.name, samples, against.name if against else None, other)

    with step("brightness, contrast, sizes"):
        looks = appearance.look(samples, data.name, config["dark"], config["bright"], data.root)
    with step(f"{config['copies']} copies"):
        found = copies.find(samples.images, config["copies"] == "near", config["similarity"])
    across = None
    if other:
        with step(f"{config['copies']} copies across the two datasets"):
            across = copies.find_across(samples.images, other.images, config["copies"] == "near", config["similarity"])
    framing = None
    if config["framing"]:
        framing = measure.told(samples.images, np.arange(len(samples)), data.fit, cache_dir=data.cache_dir)
    suspects = None
    if config["suspect_labels"]:
        with step("labels that look wrong"):
            if config["probabilities"]:
                probabilities = suspect_labels.read_probabilities(Path(config["probabilities"]).expanduser(), samples)
            else:
                probabilities = out_of_fold.out_of_fold(
                    samples, found.groups, config["folds"], config["seed"], data.cache_dir
                )
            suspects = suspect_labels.find(probabilities, samples.labels)
    training = None
    if config["refine"]:
        with step("probabilities of the training images"):
            training = out_of_fold.of_training(samples, found.groups, config["folds"], config["seed"], data.cache_dir)
    reasons = exclusions.reasons(samples, looks, found, across, suspects)
    left_out = exclusions.choose(reasons, samples.splits, config["exclude"], config["exclude_from"])

    with step("report"):
        findings = report.Findings(
            data.name, samples, looks, found, suspects, left_out,
            against.name if against else "", other, across, framing, training,
        )  # fmt: skip
        counts = report.write(run, config, findings)
    report.print_tables(counts, run)


def main() -> None:
    """Compose the config from the command line and audit."""
    command.run(audit, "audit")


if __name__ == "__main__":
    # Through the import, so that sweeps can hand the function to other processes by its name.
    from fer.audit import main as entry

    entry()
