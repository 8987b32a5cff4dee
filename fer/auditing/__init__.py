"""Behind ``fer.audit``: what is wrong with a dataset, and what to leave out."""
