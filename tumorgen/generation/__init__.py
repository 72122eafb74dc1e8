"""A run: scans times variants over processes into one dataset, and its continuation, merging, replay and proof."""
