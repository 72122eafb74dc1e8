from .page import save_figure
from .preview import preview_dataset
from .report import images_beside, write_report
from .views import to_lps

__all__ = [
    "images_beside",
    "preview_dataset",
    "save_figure",
    "to_lps",
    "write_report",
]
