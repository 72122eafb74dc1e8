"""Trainers that nnU-Net finds through the environment variable `nnUNet_extTrainer`; nothing imports this package."""
