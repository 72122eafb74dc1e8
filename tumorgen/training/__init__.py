"""Tumours drawn on the fly: for arrays of any framework, and inside nnU-Net's own training."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
