"""The recipe of a small nnU-Net v2 model that finds the liver: data, training, export and measurement.

It is not part of the product: `make liver-model` runs it, and docs/liver-model.md describes the result.
"""
