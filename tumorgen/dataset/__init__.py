"""A dataset on disk: nnU-Net's raw layout, its provenance, its lock, and its repair after a crash."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
