"""CSV tables and back without loss: the manifest of samples and tumours, the table of scans, the sources of samples."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
