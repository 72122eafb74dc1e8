from .preview import preview_dataset
from .report import images_beside, write_report

__all__ = [
    "images_beside",
    "preview_dataset",
    "write_report",
]
