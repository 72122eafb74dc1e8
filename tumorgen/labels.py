"""The values of a label map, said once: nnU-Net's `labels` in dataset.json, and what every voxel of a label holds."""

BACKGROUND, LIVER, TUMOR = 0, 1, 2
LABELS = {"background": BACKGROUND, "liver": LIVER, "tumor": TUMOR}
