"""Abdominal CTs with liver masks, made from a seed: tissues, anatomy as solids in mm, and the scanner's image of it."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
