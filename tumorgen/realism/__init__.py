"""How real synthetic tumours are: lesions measured in real and in synthetic scans, and the two sets compared."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
