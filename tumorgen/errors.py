"""The one exception that users are meant to read."""

_PLAIN = str.maketrans({"\n": " ", "\t": " "})


class TumorgenError(Exception):
    """What is wrong with which file, and what to do about it, in one line.

    The command line prints the message and exits non-zero; library users catch this class. Everything else that
    escapes is a bug. What no terminal should get (the names of hostile files are in messages) is shown as its code.
    """

    def __str__(self) -> str:
        return printable(super().__str__().translate(_PLAIN))


def printable(text: str) -> str:
    """A text with every character that is not for print (line ends, escape codes, half of a surrogate) as its code."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
