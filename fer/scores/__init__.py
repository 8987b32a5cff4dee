"""What a model is measured by, and what is said of how it was measured."""
