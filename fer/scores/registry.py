"""What is known of each score by its name."""


def lower_is_better(monitor: str) -> bool:
    """Say whether the best value of a logged score is the lowest one."""
    return monitor.partition("/")[2].removesuffix("_step").removesuffix("_epoch") == "loss"  # f1/loss is a class's
