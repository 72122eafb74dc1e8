"""`python -m tumorgen`, where the script is not on the path."""

from .cli import main  # type: ignore[import-not-found]  # cli/ lies beside the library, and is installed into it

if __name__ == "__main__":
    main(prog_name="python -m tumorgen")
