"""Synthetic liver tumours in healthy CT scans, written as nnU-Net training data.

Arrays are (z, y, x), lengths in mm, intensities in HU throughout; points in space are ITK's (x, y, z), LPS mm.
"""

from importlib.metadata import version as _version

__version__ = _version("tumorgen")
