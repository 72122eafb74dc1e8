"""The robustness benchmark: what is dialled in a tumour and how far, its test sets, and samples of the worst cases."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
