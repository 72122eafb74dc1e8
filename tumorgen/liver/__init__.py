"""Finding the liver: the nnU-Net model that ships or any other, and the checks of the masks that it makes.

It knows nnU-Net and torch, as `training.trainers` does, and imports them where they are used.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
