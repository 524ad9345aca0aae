"""The mock exchange's books: the same in memory and in PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.exchange.mock.store import BookChanges, BookStore, Document, MemoryStore, Progress
from persistence.database import Database
from persistence.paper import PostgresBookStore
from tests.persistence.samples import T0


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest, account: str) -> BookStore:
    if request.param == "memory":
        return MemoryStore()
    return PostgresBookStore(request.getfixturevalue("database").connect, account)


async def close(store: BookStore) -> None:
    if isinstance(store, PostgresBookStore):
        await store.close()


def changes(sequence: int, *documents: Document) -> BookChanges:
    return BookChanges(documents=documents, progress=Progress(sequence=sequence, at_us=T0 + sequence))


def test_documents_are_kept_replaced_and_taken_out(store: BookStore) -> None:
    exact = '{"a": "1.50",  "ü": "漢"}'

    async def story() -> None:
        assert await store.load() == ()
        assert await store.progress() == Progress()
        await store.save(changes(1, Document("order", "b", "1"), Document("order", "a", exact)))
        await store.save(
            changes(2, Document("lot", "z", "2"), Document("order", "b", None), Document("order", "c", "3"))
        )
        await store.save(changes(3))
        assert await store.load() == (
            Document("lot", "z", "2"),
            Document("order", "a", exact),
            Document("order", "c", "3"),
        )
        assert await store.progress() == Progress(sequence=3, at_us=T0 + 3)
        await close(store)

    asyncio.run(story())


def test_the_last_word_on_a_key_counts(store: BookStore) -> None:
    async def story() -> None:
        await store.save(
            changes(
                1, Document("o", "a", "1"), Document("o", "a", "2"), Document("o", "b", "1"), Document("o", "b", None)
            )
        )
        assert await store.load() == (Document("o", "a", "2"),)
        await store.save(changes(2, Document("o", "a", None), Document("o", "a", "3")))
        assert await store.load() == (Document("o", "a", "3"),)
        await close(store)

    asyncio.run(story())


def test_keys_come_in_the_order_of_their_characters(store: BookStore) -> None:
    keys = ["B", "a", "Z", "é", "10", "9", "_", "漢"]

    async def story() -> None:
        await store.save(changes(1, *[Document("k", key, "1") for key in keys]))
        assert [document.key for document in await store.load()] == sorted(keys)
        await close(store)

    asyncio.run(story())


def test_only_the_newest_trades_are_read_back(database: Database, account: str) -> None:
    store = PostgresBookStore(database.connect, account)

    async def story() -> None:
        await store.save(changes(1, *[Document("trade", f"T{number:06d}", "1") for number in range(10_005)]))
        await store.save(changes(1, Document("order", "o", "1")))
        found = await store.load()
        assert len(found) == 10_001
        assert found[1].key == "T000005"
        assert found[-1].key == "T010004"
        await store.close()

    asyncio.run(story())


def test_accounts_have_books_of_their_own(database: Database, account: str) -> None:
    async def story() -> None:
        store, other = (PostgresBookStore(database.connect, name) for name in (account, f"{account}-other"))
        await store.save(changes(1, Document("k", "a", "1")))
        assert await other.load() == ()
        await store.close()
        await other.close()

    asyncio.run(story())


def test_a_save_waits_for_a_server_that_has_died(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistence.paper.RETRY_S", 0)

    async def story() -> None:
        database = await Database.open(None, state_dir)
        store = PostgresBookStore(database.connect, "main")
        await store.save(changes(1, Document("k", "a", "1")))
        assert database._embedded is not None
        database._embedded._stop_server()
        await asyncio.gather(*[store.save(changes(number, Document("k", "a", str(number)))) for number in range(2, 9)])
        assert await store.load() == (Document("k", "a", "8"),)
        assert await store.progress() == Progress(sequence=8, at_us=T0 + 8)
        await store.close()
        await database.stop()

    asyncio.run(story())
