"""A training on disk: its folder, checkpoints, numbers, exports and loop."""
