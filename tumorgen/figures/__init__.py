"""What people look at: contact sheets and overviews of a dataset, charts and the report of an evaluation."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
