"""Behind ``fer.export``: a trained model as a file for other programs, compared with torch, with a model card."""
