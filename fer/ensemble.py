"""Average runs, their probabilities and their weights: ``python -m fer.ensemble runs=outputs/sweeps/<time>``."""

from typing import TYPE_CHECKING, Any

from fer.cli import command
from fer.cli.in_python import settled
from fer.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig


def ensemble(cfg: "DictConfig") -> None:
    """Average the members' probabilities, and their weights, beside what the best single one scores.

    Members are chosen on the validation split that all of them share, and on nothing else.

    Args:
        cfg: The composed ``conf/ensemble.yaml``.

    Raises:
        FERError: If there are not two runs, their validation splits differ, or a checkpoint or the data cannot be used.
    """
    from pathlib import Path

    from fer.files import metrics, run_folder, run_record

    config = settled(cfg)
    run = Path(config["output_dir"])
    run_folder.refuse_used(run, metrics.FILE)
    run.mkdir(parents=True, exist_ok=True)
    runs = _runs(config)

    # Imported here, so that a mistake in the command is reported before the seconds that torch takes.
    from fer import environment

    environment.check()
    from fer.scores.label_space import align
    from fer.testing import choosing, ensembling, evaluation
    from fer.testing.members import Scorer, opened

    environment.quieten(first=True)
    members = choosing.ranked(opened(runs), config["score"])
    scorer = Scorer(run, config, members[0])
    choice = choosing.Choice(members, scorer, config["score"]) if config["choose"] == "greedy" else None
    members = choice.ordered if choice else members

    own = config.get("data") is None
    data = scorer.tested_data(scorer.first)
    split = evaluation.choose_split(data, config["split"], own)
    space = align(scorer.first.classes, data.classes, config["merge"])
    parts = choosing.compared(members, choice, scorer, split, config["soup"], run)
    if "soup" in parts:  # so that the soup can be tested by the folder's name, as a run can
        soup = {**config, "data": run_record.data_of(members[0].folder, config["trust"])}
        run_folder.write_config(run, soup)
        run_record.write(run, run_record.of_this_command(soup))  # stamped, as a training's: the data may name any class
    found = ensembling.write(run, config, parts, members, data, space)
    ensembling.print_tables(found, run)


def _runs(config: "dict[str, Any]") -> "list[tuple[str, Path, float | None]]":
    """Return name, folder and noted validation score of each finished training run.

    Raises:
        ConfigError: If there are fewer than two.
    """
    from fer.display import plain
    from fer.files.run_folder import checkpoint_file
    from fer.reporting import comparison

    found = comparison.find(config["runs"], config["score"])
    for line in found.skipped:
        print(plain(line), flush=True)
    runs = [run for run in found.runs if run.metrics and checkpoint_file(run.folder).is_file()]
    if len(runs) < 2:
        raise ConfigError(
            f"runs={config['runs']}: an ensemble needs two finished runs or more, and there "
            + (f"is one: {runs[0].folder}." if runs else "is none.")
            + " A sweep makes them: python -m fer.train -m seed=0,1,2"
        )
    return [(run.name, run.folder, run.metrics.get("val", {}).get(config["score"])) for run in runs]


def main() -> None:
    """Compose the config from the command line and average."""
    command.run(ensemble, "ensemble")


if __name__ == "__main__":
    main()
