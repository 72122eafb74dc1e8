from .series import SERIES_FLAGS, Series, convert_series, find_scans

__all__ = [
    "SERIES_FLAGS",
    "Series",
    "convert_series",
    "find_scans",
]
