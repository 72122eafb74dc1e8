from ._version import __version__
from .errors import TumorgenError
from .imaging.geometry import Geometry, Volume
from .imaging.mask_labels import LabelChoice
from .imaging.reading import read_volume, write_volume
from .method.patch import Patch
from .method.plan import Plan, Tumor
from .method.recipes import load_recipe
from .method.rendering import render
from .method.sampling import draw_plan, draw_variant
from .method.scan import Scan, load_scan
from .method.settings import Settings, load_settings
from .tables.manifest import read_manifest, write_manifest
from .training.arrays import add_tumors

__all__ = [
    "Geometry",
    "LabelChoice",
    "Patch",
    "Plan",
    "Scan",
    "Settings",
    "Tumor",
    "TumorgenError",
    "Volume",
    "__version__",
    "add_tumors",
    "draw_plan",
    "draw_variant",
    "load_recipe",
    "load_scan",
    "load_settings",
    "read_manifest",
    "read_volume",
    "render",
    "write_manifest",
    "write_volume",
]
