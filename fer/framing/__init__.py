"""Where faces stand in pictures: detectors, crops, and the framing of a model's training images. No torch."""
