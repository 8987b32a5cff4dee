"""Behind ``fer.test``: one checkpoint on one split of any dataset."""
