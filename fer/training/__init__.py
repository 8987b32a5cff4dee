"""Behind ``fer.train``: the LightningModule, its checkpoints, callbacks, and a run from start to end."""
