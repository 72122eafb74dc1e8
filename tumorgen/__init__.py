"""Synthetic liver tumours in healthy CT scans, written as nnU-Net training data.

Arrays are (z, y, x), lengths in mm, intensities in HU throughout; points in space are ITK's (x, y, z), LPS mm.

The names below are the library's face, and `__init__.pyi` says where each is defined. A module is imported when one of
its names is first used (Scientific Python's SPEC 1), so that `import tumorgen` takes no time.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
