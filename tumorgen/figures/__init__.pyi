from .preview import preview_dataset
from .report import images_beside, write_report
from .views import to_lps

__all__ = [
    "images_beside",
    "preview_dataset",
    "to_lps",
    "write_report",
]
