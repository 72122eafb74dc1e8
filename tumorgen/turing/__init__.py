"""The Visual Turing Test: a reader study whose cases do not say which are real, its page, its answers, its score."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
