"""A dataset on disk: nnU-Net's raw layout, what it was made with, who writes to it, what a crash may leave of it."""
