"""From the YAML files to Settings: strict, exact, and every mistake is one line that says where it is.

The text of each scalar is read by the type that the setting wants, so money never passes through a float.
Read in order: load_settings(), _overlaid(), _Reader; what the values must be to each other is in `checks.py`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import attrs
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from config.checks import contradictions
from config.errors import ConfigurationError
from config.settings import ExecutionSettings, InstrumentSettings, RiskSettings, Settings
from messages.base import Currency, Symbol
from messages.market import Instrument

PACKAGED = Path(__file__).parent
FILES: Mapping[str, type[Any]] = {"execution.yaml": ExecutionSettings, "risk.yaml": RiskSettings}
REPLACED_WHOLE = frozenset({"paper.balances"})
"""Mappings that a given file replaces: merged, a currency of the defaults could never be taken out."""

WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
SYMBOL = re.compile(r"[A-Z0-9.]{1,12}/[A-Z0-9.]{1,12}")
CURRENCY = re.compile(r"[A-Z0-9.]{1,12}")
NUMBER_MAX = Decimal("1e18")
NUMBER_MIN = Decimal("1e-18")
_NULL = "tag:yaml.org,2002:null"
_STRING = "tag:yaml.org,2002:str"
_TRUTH = {"true": True, "false": False}
T = TypeVar("T")

_Given = dict[str, Node]


def load_settings(directory: Path | None = None) -> Settings:
    """Return the settings of `directory` on top of the packaged ones; None for the packaged ones alone.

    Files and keys that are left out keep their defaults. Raises ConfigurationError.
    """
    if directory is not None:
        _check_directory(directory)
    execution = _load(directory, "execution.yaml", ExecutionSettings)
    risk = _load(directory, "risk.yaml", RiskSettings)
    settings = Settings(execution=execution, risk=risk)
    for problem in contradictions(settings):
        where = directory or PACKAGED
        raise ConfigurationError(f"{where / problem.file}: {problem.text}")
    return settings


def _check_directory(directory: Path) -> None:
    """Refuse what is no directory, and a file whose name is a misspelling: it would silently not count."""
    if not directory.is_dir():
        raise ConfigurationError(f"{directory}: no such configuration directory; name one with execution.yaml in it")
    for path in sorted(directory.iterdir()):
        if path.suffix in {".yaml", ".yml"} and path.name not in FILES:
            meant = difflib.get_close_matches(path.name, FILES, n=1, cutoff=0.75)
            if meant:
                raise ConfigurationError(f"{path}: this file is not read; rename it to {meant[0]}")


def _load(directory: Path | None, file: str, kind: type[T]) -> T:
    node = _composed(PACKAGED / file)
    if directory is not None and (directory / file).exists():
        node = _overlaid(node, _composed(directory / file), ())
    return _read_section(node, kind, ())


# The text as a tree of nodes, each of which knows its file and line ---------------------------------


def _composed(path: Path) -> Node:
    """Parse one file. An empty one gives an empty mapping."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {_one_line(error)}") from error
    loader.name = str(path)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigurationError(f"{path}, line {line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not valid YAML: {_one_line(error)}") from error
    finally:
        loader.dispose()
    if node is None:
        start = loader.get_mark()
        return MappingNode("tag:yaml.org,2002:map", [], start, start)
    return node


def _overlaid(defaults: Node, given: Node, path: tuple[str, ...]) -> Node:
    """Return `defaults` with what `given` says instead, key by key."""
    if _is_empty(given) and isinstance(defaults, MappingNode):
        return defaults
    if not (isinstance(defaults, MappingNode) and isinstance(given, MappingNode)) or ".".join(path) in REPLACED_WHOLE:
        return given
    merged = dict(_entries(defaults, path))
    keys = {_key(key): key for key, _value in (*defaults.value, *given.value)}
    for name, node in _entries(given, path).items():
        merged[name] = _overlaid(merged[name], node, (*path, name)) if name in merged else node
    pairs = [(keys[name], node) for name, node in merged.items()]
    return MappingNode(given.tag, pairs, given.start_mark, given.end_mark)


def _entries(node: MappingNode, path: tuple[str, ...]) -> _Given:
    entries: _Given = {}
    for key, value in node.value:
        name = _key(key)
        if name in entries:
            raise _error(key, (*path, name), "stands twice; leave one")
        entries[name] = value
    return entries


def _key(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return str(node.value)
    raise _error(node, (), "a key must be plain text")


def _is_empty(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == _NULL


# From nodes to typed values --------------------------------------------------------------------------


def _read_section(node: Node, kind: type[T], path: tuple[str, ...]) -> T:
    """Return the attrs class `kind` with one field for each key."""
    if not isinstance(node, MappingNode):
        raise _error(node, path, "must be a section with keys of its own")
    entries = _entries(node, path)
    hints = get_type_hints(kind)
    fields = {field.name: field for field in attrs.fields(kind)}  # type: ignore[arg-type]
    _check_keys(node, path, known=fields)
    missing = [name for name, field in fields.items() if name not in entries and field.default is attrs.NOTHING]
    if missing:
        raise _error(node, path, f"lacks {', '.join(missing)}")
    values: dict[str, Any] = {}
    for name, entry in entries.items():
        value = _read(entry, hints[name], (*path, name))
        _validate(fields[name], value, entry, (*path, name))
        values[name] = value
    return kind(**values)


def _check_keys(node: MappingNode, path: tuple[str, ...], known: Iterable[str]) -> None:
    names = list(known)
    for key, _value in node.value:
        name = _key(key)
        if name not in names:
            meant = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {meant[0]}?" if meant else f"known here: {', '.join(names)}"
            raise _error(key, (*path, name), f"unknown key; {hint}")


def _validate(field: attrs.Attribute[Any], value: Any, node: Node, path: tuple[str, ...]) -> None:
    if field.validator is None:
        return
    try:
        field.validator(None, field, value)
    except (ValueError, TypeError) as error:
        raise _error(node, path, str(error.args[0])) from error


def _read(node: Node, kind: Any, path: tuple[str, ...]) -> Any:
    """Return the value of `node` as a `kind`, which is the annotation of a field."""
    kind = getattr(kind, "__supertype__", kind) if kind not in _CHECKED_TEXT else kind
    origin = get_origin(kind)
    if origin is not None and origin is not UnionType:
        return _read_many(node, origin, get_args(kind), path)
    if attrs.has(kind):
        return _read_section(node, kind, path)
    return _read_scalar(node, kind, path)


def _read_many(node: Node, origin: Any, arguments: tuple[Any, ...], path: tuple[str, ...]) -> Any:
    if origin is tuple:
        if not isinstance(node, SequenceNode):
            raise _error(node, path, "must be a list, such as [USD, USDT]")
        return tuple(_read(item, arguments[0], (*path, str(place))) for place, item in enumerate(node.value))
    if not isinstance(node, MappingNode):
        raise _error(node, path, "must be a section with keys of its own")
    key_kind, value_kind = arguments
    values = {}
    for key, entry in node.value:
        name = _checked_text(key, key_kind, (*path, _key(key)))
        values[name] = _read_entry(entry, name, value_kind, (*path, name))
    _entries(node, path)  # Refuses a key that stands twice.
    return values


def _read_entry(node: Node, name: str, kind: Any, path: tuple[str, ...]) -> Any:
    if kind is Instrument:
        return _read_section(node, InstrumentSettings, path).named(Symbol(name))
    value = _read(node, kind, path)
    if isinstance(value, Decimal) and value < 0:
        raise _error(node, path, f"is {value}; it must not be negative")
    return value


def _read_scalar(node: Node, kind: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(node, ScalarNode):
        raise _error(node, path, f"must be one value, not a {'list' if isinstance(node, SequenceNode) else 'section'}")
    if _is_empty(node):
        raise _error(node, path, "has no value; give one or leave the key out")
    text = str(node.value)
    if kind is Decimal:
        return _number(node, text, path)
    if kind is int:
        return _whole_number(node, text, path)
    if kind is bool:
        if text.lower() not in _TRUTH or node.style is not None:
            raise _error(node, path, f"is {text!r}; it must be true or false")
        return _TRUTH[text.lower()]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _member(node, text, kind, path)
    return _text(node, kind, path)


def _number(node: Node, text: str, path: tuple[str, ...]) -> Decimal:
    plain = text.replace("_", "")
    try:
        value = Decimal(plain) if NUMBER.fullmatch(plain) else None
    except InvalidOperation:
        value = None
    if value is None:
        raise _error(node, path, f"is {text!r}; it must be a finite decimal number")
    if value and not NUMBER_MIN <= abs(value) <= NUMBER_MAX:
        raise _error(node, path, f"is {text!r}; its size must be between {NUMBER_MIN} and {NUMBER_MAX}")
    return value


def _whole_number(node: ScalarNode, text: str, path: tuple[str, ...]) -> int:
    if not WHOLE_NUMBER.fullmatch(text) or node.style is not None:
        raise _error(node, path, f"is {text!r}; it must be a whole number")
    value = int(text) if len(text) < 40 else None
    if value is None or abs(value) > NUMBER_MAX:
        raise _error(node, path, f"is {text!r}; its size must not be above {NUMBER_MAX}")
    return value


def _member(node: Node, text: str, kind: type[Enum], path: tuple[str, ...]) -> Enum:
    try:
        return kind(text)
    except ValueError:
        words = " or ".join(str(member.value) for member in kind)
        raise _error(node, path, f"is {text!r}; it must be {words}") from None


def _text(node: Node, kind: Any, path: tuple[str, ...]) -> str:
    if node.tag != _STRING:
        raise _error(node, path, f"is {node.value}; it must be text (put quotation marks around it)")
    return _checked_text(node, kind, path)


_CHECKED_TEXT = {
    Symbol: (SYMBOL, "a pair such as BTC/USDT"),
    Currency: (CURRENCY, "a currency in capitals such as USDT"),
}


def _checked_text(node: Node, kind: Any, path: tuple[str, ...]) -> str:
    text = str(node.value)
    if kind in _CHECKED_TEXT:
        pattern, wanted = _CHECKED_TEXT[kind]
        if not pattern.fullmatch(text):
            raise _error(node, path, f"is {text!r}; it must be {wanted}")
    return text


def _error(node: Node, path: tuple[str, ...], problem: str) -> ConfigurationError:
    mark = node.start_mark
    subject = f"{'.'.join(path)}: " if path else ""
    return ConfigurationError(f"{mark.name}, line {mark.line + 1}: {subject}{problem}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
