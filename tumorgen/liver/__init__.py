"""Finding the liver: an nnU-Net model, the checks of what it found, and the model that comes along.

With `training.trainers` the only place that knows nnU-Net and torch, and it imports them where they are used.
"""
