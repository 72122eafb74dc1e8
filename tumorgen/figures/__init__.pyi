from .livers import LiverPictures, draw_livers
from .markup import page_environment
from .page import (
    FAINT,
    INK,
    MARGIN,
    MUTED,
    PICTURE_MARKS,
    WIDTH,
    new_figure,
    place_axes,
    save_figure,
    shorten,
    write_text,
)
from .panels import WINDOW_HU
from .plots import new_plot, style_axes, svg_of
from .preview import preview_dataset
from .report import images_beside, write_report
from .views import to_lps

__all__ = [
    "FAINT",
    "INK",
    "MARGIN",
    "MUTED",
    "PICTURE_MARKS",
    "WIDTH",
    "WINDOW_HU",
    "LiverPictures",
    "draw_livers",
    "images_beside",
    "new_figure",
    "new_plot",
    "page_environment",
    "place_axes",
    "preview_dataset",
    "save_figure",
    "shorten",
    "style_axes",
    "svg_of",
    "to_lps",
    "write_report",
    "write_text",
]
