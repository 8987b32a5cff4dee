"""The words of ours in configs: ``${mode_of:...}``, ``${direction_of:...}``, ``${either:...}``, ``${folder:...}``."""

from omegaconf import OmegaConf

from fer.cli import config_check
from fer.files.run_folder import prediction_name, run_id
from fer.scores.registry import lower_is_better


def register() -> None:
    """Let configs say ``${mode_of:${monitor}}``: min for a loss, max for every other score (and Optuna's words).

    ``${either:${name},own_data}`` is the first, or the second where the first is null. ``${folder:${name}}`` is the
    name, if it is one that a folder below ``outputs`` may have. ``${prediction:...}``: see
    :func:`fer.files.run_folder.prediction_name`. ``${run_id:${output_dir}}``: a short name for the run's folder.
    """
    for name, low, high in (("mode_of", "min", "max"), ("direction_of", "minimize", "maximize")):
        OmegaConf.register_new_resolver(
            name, lambda m, low=low, high=high: low if lower_is_better(str(m)) else high, replace=True
        )
    OmegaConf.register_new_resolver("either", lambda first, second: first or second, replace=True)
    OmegaConf.register_new_resolver("run_id", run_id, replace=True)
    OmegaConf.register_new_resolver("folder", config_check.folder_name, replace=True)
    OmegaConf.register_new_resolver("prediction", prediction_name, replace=True)
