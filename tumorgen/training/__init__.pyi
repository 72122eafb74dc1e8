from .arrays import add_tumors, patch_with_tumors, prepare_arrays
from .healthy import write_healthy_dataset

__all__ = [
    "add_tumors",
    "patch_with_tumors",
    "prepare_arrays",
    "write_healthy_dataset",
]
