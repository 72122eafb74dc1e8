"""CT series in folders of DICOM files: which slices make a volume, and that volume.

No other package knows DICOM. Compressed slices are decoded in a process of their own, since the decoder may crash.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
