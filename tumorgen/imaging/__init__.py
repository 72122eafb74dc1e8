"""Images as voxels with their geometry, boxes of voxels, and all reading and writing of image files.

Every header is checked before a library sees the file. Files are read whole or refused, and written whole or not at
all. Of livers and tumours it knows which labels and names of labels mean them, and nothing else.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
