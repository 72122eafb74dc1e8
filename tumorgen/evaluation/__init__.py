"""Predictions against references: scores of cases and lesions, intervals over patients, and their summary."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
