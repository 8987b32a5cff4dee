"""The command line: from what was typed to a checked config; hints, resuming and sweeps."""
