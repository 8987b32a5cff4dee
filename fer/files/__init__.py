"""What one command writes and another reads. Imports nothing slow."""
