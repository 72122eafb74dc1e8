from .series import FLAGS, Series, convert_series, find_scans

__all__ = [
    "FLAGS",
    "Series",
    "convert_series",
    "find_scans",
]
