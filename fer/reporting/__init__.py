"""Behind ``fer.report``: runs and their tests side by side. Imports neither torch nor Lightning."""
