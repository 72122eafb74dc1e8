"""Real, synthetic and healthy scans as one dataset of nnU-Net's, in which no image is copied."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
