"""Tumours drawn on the fly: for arrays of any framework, and inside nnU-Net's own training."""
