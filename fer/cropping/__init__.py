"""Behind ``fer.faces``: photographs in class folders become a dataset of faces. No torch."""
