"""Datasets: one file each, all of them LightningDataModules that share :mod:`fer.data.base`."""
