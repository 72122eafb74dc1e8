"""The installed version; a module of its own, since asking for it takes longer than all else that `import tumorgen` does."""

from importlib.metadata import version

__version__ = version("tumorgen")
