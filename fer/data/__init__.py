"""What every dataset shares: decoding, cache, labels, splits, sampling, augmentation, copies."""
