"""The one exception that users are meant to read."""


class TumorgenError(Exception):
    """What is wrong with which file, and what to do about it, in one line.

    The command line prints the message and exits non-zero; library users catch this class. Everything else that
    escapes is a bug.
    """
