"""The rules of the house, each a function from source text to what breaks the rule in it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs

HOUSE = Path(__file__).parents[2]


@attrs.frozen(order=True)
class Finding:
    """What breaks a rule, and where."""

    line: int
    what: str


def sources(*rooms: str) -> list[str]:
    """Return every Python file of these rooms, as a path from the top of the house."""
    return sorted(
        str(path.relative_to(HOUSE))
        for room in rooms
        for path in (HOUSE / room).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def text_of(path: str) -> str:
    """Return a file's text."""
    return (HOUSE / path).read_text(encoding="utf-8")


def imports(source: str) -> list[Finding]:
    """Return every import, by its full dotted name (`from a import b` is a.b)."""
    return sorted(_imports(ast.parse(source)))


def _imports(tree: ast.AST) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Finding(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Finding(node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _is_of(name: str, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _dotted(node: ast.expr) -> str:
    """Return `a.b.c` of a name or attribute; what is not a name in it becomes `?`."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{_dotted(node.value)}.{node.attr}"
    return "?"


def _full_name(node: ast.expr, aliases: dict[str, str]) -> str:
    """Return what a name stands for; `?.` goes before what was not imported, such as a local variable."""
    head, dot, rest = _dotted(node).partition(".")
    return f"{aliases.get(head, '?' if head == '?' else f'?.{head}')}{dot}{rest}"


def _aliases(tree: ast.AST) -> dict[str, str]:
    """Return what each imported name stands for."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _uses(source: str) -> Iterator[Finding]:
    """Yield every name that is used or imported, in full."""
    tree = ast.parse(source)
    aliases = _aliases(tree)
    yield from _imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            yield Finding(node.lineno, _full_name(node, aliases))


def _calls(source: str) -> Iterator[Finding]:
    tree = ast.parse(source)
    aliases = _aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield Finding(node.lineno, _full_name(node.func, aliases))


# No lock, no thread, nothing that blocks ----------------------------------------------------------

CONCURRENCY = ("threading", "_thread", "multiprocessing", "concurrent", "queue", "subprocess", "signal")
LOCK = re.compile(r"(^|\.)(R?Lock|(Bounded)?Semaphore|Condition|Barrier|mutex|acquire)$")
BLOCKING_MODULES = ("socket", "select", "requests", "urllib", "http", "psycopg", "sqlite3")
BLOCKING_CALLS = frozenset({"?.open", "?.input", "time.sleep", "io.open", "os.system", "gzip.open", "asyncio.run"})


def locks_and_threads(source: str) -> list[Finding]:
    """Return what shares, locks or starts threads and processes."""
    return sorted({use for use in _uses(source) if _is_of(use.what, *CONCURRENCY) or LOCK.search(use.what)})


def blocking(source: str) -> list[Finding]:
    """Return what makes the one loop wait."""
    modules = {use for use in _imports(ast.parse(source)) if _is_of(use.what, *BLOCKING_MODULES)}
    return sorted(modules | {call for call in _calls(source) if call.what in BLOCKING_CALLS})


def asking(source: str) -> list[Finding]:
    """Return where somebody waits for another's answer."""
    return sorted({call for call in _calls(source) if call.what.endswith(".ask")})


# The world comes in by the ports ------------------------------------------------------------------

WORLDLY = ("time", "random", "uuid", "secrets")
WALL_CLOCK = re.compile(r"(^|\.)(datetime|date)\.(now|utcnow|today)$")


def worldly(source: str) -> list[Finding]:
    """Return where time, chance or ids are taken from anywhere but the ports."""
    return sorted({use for use in _uses(source) if _is_of(use.what, *WORLDLY) or WALL_CLOCK.search(use.what)})


def unseeded(source: str) -> list[Finding]:
    """Return where chance is made without a seed."""
    made = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    aliases = _aliases(ast.parse(source))
    bare = (node for node in made if not node.args and not node.keywords)
    return sorted(
        Finding(node.lineno, name)
        for node in bare
        if (name := _full_name(node.func, aliases)) in ("random.Random", "random.SystemRandom")
    )


# Money is exact -----------------------------------------------------------------------------------


def floats(source: str) -> list[Finding]:
    """Return float literals and conversions to float."""
    literals = {
        Finding(node.lineno, repr(node.value))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, float)
    }
    return sorted(literals | {call for call in _calls(source) if call.what == "?.float"})


# Pure modules -------------------------------------------------------------------------------------

PURE_MAY_IMPORT = ("messages", "attrs", "sortedcontainers", "config.settings")
NOT_PURE = (*WORLDLY, *CONCURRENCY, *BLOCKING_MODULES, "asyncio", "os", "sys", "pathlib", "io", "gzip", "shutil")


def impure_imports(source: str) -> list[Finding]:
    """Return imports that a pure module must not have. Its fellow pure modules are welcome."""
    return [one for one in imports(source) if not _is_pure(one.what)]


def _is_pure(name: str) -> bool:
    if _is_of(name, *PURE_MAY_IMPORT):
        return True
    if _is_of(name, "actors"):
        return not _is_of(name, "actors.runtime", "actors.system") and ".actor." not in name
    return name.partition(".")[0] in sys.stdlib_module_names and not _is_of(name, *NOT_PURE)


# Messages are frozen ------------------------------------------------------------------------------

KINDS_OF_MESSAGE = frozenset({"Message", "Command", "Event", "Query"})
FROZEN = "attrs.frozen(kw_only=True)"


def thawed(source: str, *, every_attrs_class: bool) -> list[Finding]:
    """Return messages that are not frozen attrs classes with keyword-only fields.

    With `every_attrs_class` the values that messages are made of are looked at as well.
    """
    return [
        Finding(node.lineno, node.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        and _must_be_frozen(node, every_attrs_class=every_attrs_class)
        and FROZEN not in map(ast.unparse, node.decorator_list)
    ]


def _must_be_frozen(node: ast.ClassDef, *, every_attrs_class: bool) -> bool:
    is_kind_itself = node.name in KINDS_OF_MESSAGE
    is_message = bool(KINDS_OF_MESSAGE & {_dotted(base).rpartition(".")[2] for base in node.bases})
    is_attrs = any(ast.unparse(decorator).startswith("attr") for decorator in node.decorator_list)
    return (is_message and not is_kind_itself) or (every_attrs_class and is_attrs)


# SQL lives in one room ----------------------------------------------------------------------------

SQL = re.compile(r"\b(SELECT\s+[\w*(]|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|(CREATE|ALTER|DROP)\s+TABLE)")


def sql(source: str) -> list[Finding]:
    """Return SQL and whatever speaks it."""
    drivers = {use for use in _imports(ast.parse(source)) if _is_of(use.what, "asyncpg", "sqlalchemy", "alembic")}
    texts = {
        Finding(node.lineno, found.group())
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (found := SQL.search(node.value))
    }
    return sorted(drivers | texts)


def persistence_imports(source: str) -> list[Finding]:
    """Return imports of the database's room, its protocol apart."""
    return [
        one
        for one in imports(source)
        if _is_of(one.what, "persistence") and not _is_of(one.what, "persistence.protocol")
    ]
