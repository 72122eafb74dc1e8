"""What nnU-Net's trainer reads, made of a dataset of tumorgen's for the price of what its tumours touch."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
