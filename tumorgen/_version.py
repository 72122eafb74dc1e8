"""The installed version, in a module of its own: asking for it takes most of the time of a bare `import tumorgen`."""

from importlib.metadata import version

__version__ = version("tumorgen")
