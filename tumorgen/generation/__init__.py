"""A run: scans times variants over processes into one dataset; continuing, merging, replaying and verifying it."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
