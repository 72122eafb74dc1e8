"""What a field is, said once: `name: Annotated[type, About(...)]` in the frozen dataclass that has it.

From the declaration derive the check of what a record holds, records from TOML and from rows of tables, the schemas and
the dictionary of columns, and what `--help` says of a setting. It imports little, so that `--help` stays quick.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import sys
import types
import typing
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, MISSING, dataclass, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from .errors import TumorgenError

T = TypeVar("T")

FINITE = (-sys.float_info.max, sys.float_info.max)  # domain of any number but NaN and the infinities
_SCALARS = (str, int, float, bool)  # what a cell of a table may hold
_LIST = re.compile(r"\[\n((?: +[^\s\[\]{}]+,\n)+) *\]")  # as tomli_w writes a list of words and numbers
_LARGEST = 10**18  # of whole numbers in TOML; every domain is narrower, and not all survive as floats


@dataclass(frozen=True, slots=True)
class About:
    """What is said of a field, beside its name, type and default.

    Attributes
    ----------
    meaning
        What it is, in words; no full stop at its end.
    unit
        Unit of its numbers; empty where they have none.
    low, high
        Lowest and highest value, of each number in it where it holds several; None where any will do, NaN among them.
    odd
        Whether its numbers are odd.
    ascending
        Whether its numbers do not fall from one to the next: a table of quantiles.
    choices
        The texts that it may hold; empty where it may be any.
    symbol, source
        What the paper calls it (Hu et al., CVPR 2023), and the equation, table or section that it stands in.
    """

    meaning: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    _: KW_ONLY
    odd: bool = False
    ascending: bool = False
    choices: tuple[str, ...] = ()
    symbol: str = ""
    source: str = ""

    @property
    def text(self) -> str:
        """Symbol, meaning and source in one phrase."""
        named = f"{self.symbol}, {self.meaning}" if self.symbol else self.meaning
        return f"{named} ({self.source})" if self.source else named


@dataclass(frozen=True, slots=True)
class Field:
    """A declared field: its type without what is said of it, whether it may be None, and its default or MISSING."""

    name: str
    kind: Any
    optional: bool
    about: About
    default: Any


@cache
def declared(kind: type) -> tuple[Field, ...]:
    """The fields of a dataclass; kept, since looking up types takes longer than reading a row."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return tuple(_declared(field, hints[field.name]) for field in dataclasses.fields(kind))


def _declared(field: dataclasses.Field[Any], hint: Any) -> Field:
    bare, *said = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
    optional = typing.get_origin(bare) in (types.UnionType, typing.Union)
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return Field(
        field.name, typing.get_args(bare)[0] if optional else bare, optional, said[0] if said else About(""), default
    )


@cache
def column_fields(kind: type) -> tuple[Field, ...]:
    """Those fields of a dataclass that are cells of a table."""
    return tuple(field for field in declared(kind) if field.kind in _SCALARS)


@cache
def columns(kind: type) -> tuple[str, ...]:
    """Names of a dataclass's columns."""
    return tuple(field.name for field in column_fields(kind))


@cache
def required_columns(kind: type) -> tuple[str, ...]:
    """Columns without a default. A table may lack the others: it may be older than they are."""
    return tuple(field.name for field in column_fields(kind) if field.default is MISSING)


@cache
def blank_columns(kind: type) -> tuple[str, ...]:
    """Columns that are empty where there is nothing to say, by their default."""
    return tuple(field.name for field in column_fields(kind) if field.default in ("", None))


def find_field(kind: type, name: str) -> Field:
    """A field by its dotted name, `intensity.model`.

    Raises
    ------
    KeyError
        There is none.
    """
    first, _, rest = name.partition(".")
    field = {field.name: field for field in declared(kind)}[first]
    return find_field(field.kind, rest) if rest else field


def help_of(kind: type, name: str) -> str:
    """What `--help` says of a setting: its meaning as a sentence."""
    text = find_field(kind, name).about.text
    return f"{text[0].upper()}{text[1:]}."


def check_domains(record: Any, prefix: str = "") -> None:
    """Refuse what a record's fields, or those of the records in it, may not hold; `prefix` is for the message.

    Raises
    ------
    TumorgenError
        A number outside its domain, NaN among them, a text that is none of its choices, or a value twice in a list.
    """
    kind: type = type(record)
    numbers, others = _checked(kind)
    for name, low, high, about in numbers:
        value = getattr(record, name)
        if value is not None and not low <= value <= high:
            raise TumorgenError(_refusal(f"{prefix}{name}", str(value), "a value from", about))
    for field in others:
        _check(field.kind, getattr(record, field.name), f"{prefix}{field.name}", field.about)


@cache
def _checked(kind: type) -> tuple[tuple[tuple[str, float, float, About], ...], tuple[Field, ...]]:
    """Fields that are plain numbers with a domain, which a row has many of, and the others that are checked."""
    numbers, others = [], []
    for field in declared(kind):
        low, high = field.about.low, field.about.high
        if field.kind in (int, float) and not field.about.odd:
            if low is not None and high is not None:
                numbers.append((field.name, low, high, field.about))
        elif field.about.choices or field.about.odd or _holds_values(field.kind):
            others.append(field)
    return tuple(numbers), tuple(others)


def _holds_values(kind: Any) -> bool:
    """Whether a field holds several values; records in a tuple have checked themselves."""
    arguments = typing.get_args(kind)
    return is_dataclass(kind) or bool(arguments and not is_dataclass(arguments[0]))


def _check(kind: Any, value: Any, name: str, about: About) -> None:
    """Check a field's value, or each value in it."""
    arguments = typing.get_args(kind)
    if is_dataclass(value):
        check_domains(value, f"{name}.")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check(arguments[1], item, f"{name}.{key}", about)
    elif isinstance(value, tuple) and arguments[-1] is Ellipsis:
        if about.ascending:
            _check_ascending(name, value)
        else:
            refuse_twins(name, value)
        for item in value:
            check_value(name, item, about)
    else:
        check_value(name, value, about)


def _check_ascending(name: str, values: Sequence[float]) -> None:
    """Refuse a table of quantiles that is empty, or whose values fall."""
    if not values:
        raise TumorgenError(f"{name} is empty; at least one value is needed")
    for before, after in itertools.pairwise(values):
        if before > after:
            raise TumorgenError(f"{name}: {after:g} comes after {before:g}; quantiles must not fall")


def check_value(name: str, value: Any, about: About) -> None:
    """Refuse a text, a number or an interval that lies outside a domain.

    Raises
    ------
    TumorgenError
        It says what is needed.
    """
    if isinstance(value, str):
        if about.choices:
            check_choice(name, (value,), about.choices)
    elif isinstance(value, tuple):
        if not _within(value[0], value[1], about):
            raise TumorgenError(_refusal(name, f"{value[0]:g} to {value[1]:g}", "an interval within", about))
    elif not _within(value, value, about) or (about.odd and value % 2 == 0):
        raise TumorgenError(_refusal(name, str(value), "an odd number from" if about.odd else "a value from", about))


def check_choice(what: str, values: Iterable[str], choices: Sequence[str]) -> None:
    """Refuse a text that is none of some choices.

    Raises
    ------
    TumorgenError
        It says which there are.
    """
    for value in values:
        if value not in choices:
            raise TumorgenError(f"unknown {what} {value!r}; choose from {', '.join(choices)}")


def _within(low: float, high: float, about: About) -> bool:
    return about.low is None or about.high is None or about.low <= low <= high <= about.high


def _refusal(name: str, value: str, what: str, about: About) -> str:
    if (about.low, about.high) == FINITE:
        return f"{name} is {value}; a finite number is needed"
    return f"{name} is {value}; {what} {about.low:g} to {about.high:g} is needed"


def refuse_twins(what: str, values: Iterable[Hashable], remedy: str = "") -> None:
    """Refuse a value that is there twice.

    Raises
    ------
    TumorgenError
        It says which, and what to do where a remedy is given.
    """
    seen = set()
    for value in values:
        if value in seen:
            raise TumorgenError(f"{what} {value!r} is there twice{remedy and f'; {remedy}'}")
        seen.add(value)


def load_toml(kind: type[T], path: Path, base: T | None = None) -> T:
    """Read a record from a TOML file; what it does not name keeps its default, or what it is in `base`.

    A list, or a table of plain values, is given whole.

    Raises
    ------
    TumorgenError
        No such file, not TOML, an unknown key, a value of the wrong type or outside its domain.
    """
    data = read_toml(path)
    try:
        return from_plain(kind, data, base)
    except TumorgenError as error:
        raise TumorgenError(f"{path}: {error}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says, as it stands.

    Raises
    ------
    TumorgenError
        No such file, or not TOML.
    """
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TumorgenError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # of a number with thousands of digits too
        raise TumorgenError(f"{path}: not a TOML file ({error})") from error


def dump_toml(record: Any) -> str:
    """TOML text of a record, each list in one line; `load_toml` gives it back unchanged."""
    import tomli_w

    return _LIST.sub(lambda found: f"[{' '.join(found[1].split())[:-1]}]", tomli_w.dumps(to_plain(record)))


def to_plain(value: Any) -> Any:
    """Nested dictionaries and lists of a record, in the order of its fields."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, tuple) else value


def from_plain(kind: type[T], data: Mapping[str, Any], base: T | None = None) -> T:
    """A record from nested dictionaries and lists, such as TOML gives; the rest is that of `base` or its default.

    Raises
    ------
    TumorgenError
        An unknown key, a value of the wrong type or outside its domain.
    """
    return typing.cast(T, _build(kind, data, "", MISSING if base is None else base))


def _build(kind: Any, value: Any, name: str, default: Any) -> Any:
    """Turn a plain value into a field's type; `name` is dotted, `default` is its value where nothing is given."""
    if is_dataclass(kind):
        return _build_record(typing.cast(type, kind), value, name, default)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return _build_tuple(arguments, value, name)
    if origin is Mapping:
        _require_table(value, name)
        # Records of a table can be changed one by one; a table of plain values, like a list, is what is given.
        kept = default if is_dataclass(arguments[1]) else {}
        built = {
            key: _build(arguments[1], item, f"{name}.{key}", kept.get(key, MISSING)) for key, item in value.items()
        }
        return {**kept, **built}
    if type(value) is int and abs(value) > _LARGEST:
        raise TumorgenError(f"{name}: a number of {len(str(value))} digits is out of any range")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TumorgenError(f"{name}: {repr(value)[:80]} is not of type {kind.__name__}")
    return value


def _build_record(kind: type, value: Any, name: str, default: Any) -> Any:
    _require_table(value, name)
    known = {field.name: field for field in declared(kind)}
    for key in value:
        if key not in known:
            raise TumorgenError(f"unknown setting {f'{name}.{key}'.strip('.')!r}; choose from {', '.join(known)}")
    given = {
        key: _build(
            known[key].kind,
            item,
            f"{name}.{key}".strip("."),
            known[key].default if default is MISSING else getattr(default, key),
        )
        for key, item in value.items()
    }
    if default is not MISSING:
        return dataclasses.replace(default, **given)
    missing = [field.name for field in known.values() if field.default is MISSING and field.name not in given]
    if missing:
        raise TumorgenError(f"{name}: {', '.join(missing)} missing")
    return kind(**given)


def _require_table(value: Any, name: str) -> None:
    if not isinstance(value, Mapping):
        raise TumorgenError(f"{name}: a table is needed, not {value!r}")


def _build_tuple(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TumorgenError(f"{name}: a list is needed, not {value!r}")
    if arguments[-1] is Ellipsis:
        return tuple(_build(arguments[0], item, name, MISSING) for item in value)
    if len(value) != len(arguments):
        raise TumorgenError(f"{name}: {len(arguments)} values are needed, not {len(value)}")
    return tuple(_build(kind, item, name, MISSING) for kind, item in zip(arguments, value, strict=True))
