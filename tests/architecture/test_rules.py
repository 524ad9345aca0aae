"""The house keeps its rules. Every exception is named here with its reason, and one that is no longer needed fails.

Each rule is first shown to catch what breaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from tests.architecture import rules
from tests.architecture.rules import Finding, sources, text_of

Rule = Callable[[str], list[Finding]]
Allowed = Mapping[tuple[str, str], str]

DISPATCHERS = "actors/runtime/dispatchers.py"
PACER = "actors/runtime/pacer.py"

CONCURRENCY_ALLOWED: Allowed = {
    (DISPATCHERS, "threading"): "to ask which thread this is",
    (DISPATCHERS, "threading.get_ident"): "what is told on the loop's own thread needs no detour",
    (DISPATCHERS, "queue"): "pykka's own inbox",
    (DISPATCHERS, "queue.Queue"): "the inbox of an actor that has a thread of its own, as pykka makes it",
    (PACER, "threading"): "to ask which thread this is",
    (PACER, "threading.get_ident"): "timers may be set from any thread, and wake the pacer on its own",
}
BLOCKING_ALLOWED: Allowed = {
    ("actors/market/files.py", "gzip.open"): "recorded prices are read between ticks, by the source and not an actor",
}
ASKING_ALLOWED: Allowed = {
    ("actors/engine.py", "?.actor_ref.ask"): "the door for those outside: the shell, the command line, tests",
    ("actors/harness.py", "?.self.engine.ask"): "stands outside, and goes in by that door",
}
WORLDLY_ALLOWED: Allowed = {
    ("actors/runtime/clock.py", "time"): "the clock itself",
    ("actors/runtime/clock.py", "time.monotonic_ns"): "the clock itself",
    ("actors/runtime/typed_actor.py", "time"): "handling is timed",
    ("actors/runtime/typed_actor.py", "time.perf_counter_ns"): "handling is timed, and nothing is decided by it",
    ("actors/runtime/ids.py", "random"): "the port for ids, from a seed in a replay",
    ("actors/runtime/ids.py", "random.Random"): "the port for ids, from a seed in a replay",
    ("actors/runtime/ids.py", "uuid"): "the port for ids",
    ("actors/runtime/ids.py", "uuid.uuid4"): "the port for ids",
    ("actors/exchange/kraken/rest.py", "time"): "nonces follow the wall clock, whatever the prices' clock says",
    ("actors/exchange/kraken/rest.py", "time.time_ns"): "the same",
    ("actors/market/random_walk.py", "random"): "a price source, from a seed",
    ("actors/market/random_walk.py", "random.Random"): "a price source, from a seed",
    ("actors/runtime/simulation/pace.py", "random.Random"): "drawn from the seed that is handed in",
    ("actors/runtime/simulation/scheduler.py", "random.Random"): "what happens next is drawn, from the seed handed in",
    ("actors/exchange/wire/faults.py", "random"): "misfortune, from a seed",
    ("actors/exchange/wire/faults.py", "random.Random"): "misfortune, from a seed",
    ("actors/simulator/workload.py", "random.Random"): "a story is drawn from its seed",
    ("actors/simulator/situations.py", "random.Random"): "the same",
    ("actors/simulator/rarities.py", "random.Random"): "the same",
    ("actors/simulator/episodes.py", "random.Random"): "drawn from the seed that is handed in",
    ("actors/simulator/stage.py", "random.Random"): "the scheduler's chance, from the story's seed",
    ("actors/simulator/exercised.py", "random.Random"): "for a machine that never starts: only its parts are looked at",
}
FLOATS_ALLOWED: Allowed = {
    ("config/loader.py", "0.75"): "how much a misspelt file name is like the one that was meant",
}
SQL_ALLOWED: Allowed = {}
PERSISTENCE_ALLOWED: Allowed = {
    ("actors/harness.py", "persistence.memory.MemoryJournal"): "puts the engine in a box, for stories and tests",
    ("actors/simulator/stage.py", "persistence.memory.MemoryJournal"): "the database that outlives the engine",
    ("actors/simulator/stage.py", "persistence.unreliable.Outage"): "it fails as a database does",
    ("actors/simulator/stage.py", "persistence.unreliable.UnreliableJournal"): "it fails as a database does",
    ("actors/simulator/faults.py", "persistence.unreliable.Outage"): "what a story makes go wrong",
    ("actors/simulator/watch.py", "persistence.memory.MemoryJournal"): "looks at every row as it is kept",
    ("actors/simulator/promises.py", "persistence.memory.MemoryJournal"): "the same",
    ("actors/simulator/alarms.py", "persistence.memory.MemoryJournal"): "the same",
    ("actors/simulator/quiet.py", "persistence.memory.MemoryJournal"): "the same",
    ("actors/simulator/peace.py", "persistence.memory.MemoryJournal"): "the same",
    ("actors/simulator/exercised.py", "persistence.memory.MemoryJournal"): "for a machine that never starts",
}


def check(rule: Rule, paths: list[str], allowed: Allowed) -> None:
    """Fail with every finding that is not allowed, and with every allowance that finds nothing."""
    found = {(path, finding.what): finding.line for path in paths for finding in rule(text_of(path))}
    broken = [f"{path}:{line} {what}" for (path, what), line in found.items() if (path, what) not in allowed]
    assert broken == []
    assert set(allowed) <= set(found), "an exception that nothing needs"


BROKEN: list[tuple[Rule, str]] = [
    (rules.locks_and_threads, "import threading\nlock = threading.Lock()"),
    (rules.locks_and_threads, "from threading import RLock as Key\nkey = Key()"),
    (rules.locks_and_threads, "import asyncio\nlock = asyncio.Lock()"),
    (rules.locks_and_threads, "from concurrent.futures import ThreadPoolExecutor"),
    (rules.locks_and_threads, "def close(self):\n    with self.mutex:\n        pass"),
    (rules.locks_and_threads, "if True:\n    import multiprocessing as m"),
    (rules.blocking, "import time\ntime.sleep(1)"),
    (rules.blocking, "from time import sleep as rest\nrest(1)"),
    (rules.blocking, "text = open('prices').read()"),
    (rules.blocking, "import urllib.request"),
    (rules.asking, "reply = self.order.ask(GetState())"),
    (rules.worldly, "from datetime import datetime\nnow = datetime.now()"),
    (rules.worldly, "import datetime as d\nnow = d.datetime.utcnow()"),
    (rules.worldly, "import datetime\nday = datetime.date.today()"),
    (rules.worldly, "from uuid import uuid4\nid_ = uuid4()"),
    (rules.worldly, "import random"),
    (rules.worldly, "def f():\n    import time\n    return time.time()"),
    (rules.unseeded, "from random import Random\nchance = Random()"),
    (rules.unseeded, "import random\nchance = random.SystemRandom()"),
    (rules.floats, "fee = 0.26"),
    (rules.floats, "price = float(text)"),
    (rules.floats, "x = Decimal(1e-8)"),
    (rules.impure_imports, "import pykka"),
    (rules.impure_imports, "from loguru import logger"),
    (rules.impure_imports, "import asyncio"),
    (rules.impure_imports, "from actors.runtime.typed_actor import TypedActor"),
    (rules.impure_imports, "from actors.order.actor import OrderActor"),
    (rules.impure_imports, "from config.loader import load_settings"),
    (rules.impure_imports, "from persistence.protocol import Journal"),
    (rules.sql, "QUERY = 'SELECT id FROM orders'"),
    (rules.sql, "QUERY = f'''INSERT INTO {table} VALUES (1)'''"),
    (rules.sql, "import asyncpg"),
    (rules.persistence_imports, "from persistence import database"),
    (rules.persistence_imports, "import persistence.journal"),
]

SOUND: list[tuple[Rule, str]] = [
    (rules.locks_and_threads, "queue = self._queue\ncommits = queue.commits"),
    (rules.blocking, "self.open()\nposition.open(1)"),
    (rules.worldly, "now_us = self.now_us\ntime = 5\nrandom = time"),
    (rules.worldly, "from datetime import datetime\nmoment = datetime.fromtimestamp"),
    (rules.unseeded, "from random import Random\nchance = Random(seed)"),
    (rules.floats, "from decimal import Decimal\nfee = Decimal('0.26')\nn = 10_000"),
    (rules.impure_imports, "import attrs\nimport heapq\nfrom messages.orders import Order\nimport sortedcontainers"),
    (rules.impure_imports, "from actors.position.profit import realised\nfrom config.settings import OrderSettings"),
    (rules.sql, '"""Select the orders and update what is set."""'),
    (rules.persistence_imports, "from persistence.protocol import Journal, JournalUnavailableError"),
]


@pytest.mark.parametrize(("rule", "source"), BROKEN)
def test_a_rule_catches_what_breaks_it(rule: Rule, source: str) -> None:
    assert rule(source) != []


@pytest.mark.parametrize(("rule", "source"), SOUND)
def test_a_rule_lets_pass_what_is_sound(rule: Rule, source: str) -> None:
    assert rule(source) == []


def test_no_exception_is_kept_that_nothing_needs() -> None:
    with pytest.raises(AssertionError, match="nothing needs"):
        check(rules.asking, ["actors/bus/actor.py"], {("actors/bus/actor.py", "?.ask"): "once needed"})


def test_there_is_something_to_look_at() -> None:
    assert len(sources("actors")) > 50
    assert len(sources("messages")) > 10


def test_i10_no_locks_and_no_threads_in_actors() -> None:
    check(rules.locks_and_threads, sources("actors", "messages"), CONCURRENCY_ALLOWED)


def test_i10_nothing_blocks_in_actors() -> None:
    check(rules.blocking, sources("actors", "messages"), BLOCKING_ALLOWED)


def test_actors_tell_and_never_ask() -> None:
    check(rules.asking, sources("actors", "messages"), ASKING_ALLOWED)


def test_time_ids_and_chance_come_in_by_the_ports() -> None:
    check(rules.worldly, sources("actors", "messages"), WORLDLY_ALLOWED)


def test_chance_comes_from_a_seed() -> None:
    check(rules.unseeded, sources("actors", "messages"), {})


def test_i8_no_float_where_money_is() -> None:
    check(rules.floats, sources("actors", "messages", "persistence", "config"), FLOATS_ALLOWED)


# Shells, and the sources of prices and the stores, which are I/O by their nature. The simulator is no actor: it runs
# them all, and what it takes from the world is held to the rules above, by name. The wire mock is no actor either: it
# is a server that talks HTTP on the loop it is lent, and is held to the same rules.
WIRES = frozenset({"actors/exchange/kraken/rest.py", "actors/exchange/kraken/socket.py"})
PRICE_SOURCES = frozenset({"actors/market/files.py", "actors/market/random_walk.py", "actors/market/sources.py"})


def pure_modules() -> list[str]:
    """Every module in actors/<name>/ that is not a shell, a store, a price source or a wire."""
    return [
        path
        for path in sources("actors")
        if path.count("/") >= 2
        and not path.startswith(("actors/runtime/", "actors/simulator/", "actors/exchange/wire/"))
        and not path.endswith(("/actor.py", "/store.py", "/__init__.py"))
        and "/shell/" not in path
        and path not in PRICE_SOURCES | WIRES
    ]


def test_the_pure_modules_are_found() -> None:
    assert {"actors/rate_limiter/token_bucket.py", "actors/order/sizing.py"} <= set(pure_modules())


def test_pure_modules_import_no_world() -> None:
    check(rules.impure_imports, pure_modules(), {})


def test_sql_and_its_drivers_live_in_one_room() -> None:
    # The benchmarks measure their floors on a bare connection: that is what they are for.
    rooms = [path for path in sources("actors", "messages", "config", "scripts") if "/benchmarks/" not in path]
    check(rules.sql, rooms, SQL_ALLOWED)


def test_actors_know_of_the_database_nothing_but_the_protocol() -> None:
    check(rules.persistence_imports, sources("actors", "messages", "config"), PERSISTENCE_ALLOWED)


@pytest.mark.parametrize(
    "source",
    [
        "class PlaceOrder(Command):\n    order_id: str",
        "@attrs.frozen\nclass PlaceOrder(Command):\n    order_id: str",
        "@attrs.define(kw_only=True)\nclass Fill:\n    price: int",
        "@attrs.mutable(kw_only=True)\nclass Filled(base.Event):\n    price: int",
    ],
)
def test_a_thawed_message_is_caught(source: str) -> None:
    assert rules.thawed(source, every_attrs_class=True) != []


def test_messages_and_their_values_are_frozen() -> None:
    check(lambda source: rules.thawed(source, every_attrs_class=True), sources("messages"), {})


def test_messages_of_one_actor_to_itself_are_frozen_too() -> None:
    check(lambda source: rules.thawed(source, every_attrs_class=False), sources("actors"), {})
