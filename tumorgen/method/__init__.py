"""The paper, equation by equation: settings, a prepared scan, a drawn plan, and what rendering the plan changes.

Drawing a plan is separate from rendering it: the first takes a random generator, the second takes none.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
