"""The installed version, in a module of its own: asking for it takes most of the time of a bare `import tumorgen`."""

import re
from importlib.metadata import distribution

_VERSION = re.compile(r"^Version: *(\S+)", re.MULTILINE)


def installed_version(name: str) -> str:
    """Version of an installed distribution, without reading all that is told of it, in a fifth of the time.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        It is not installed.
    """
    found = distribution(name)
    told = _VERSION.search(found.read_text("METADATA") or "")
    return told[1] if told else found.version


__version__ = installed_version("tumorgen")
