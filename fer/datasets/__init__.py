"""The datasets, one file each: LightningDataModules that share :mod:`fer.data.base`."""
