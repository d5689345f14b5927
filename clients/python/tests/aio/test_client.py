"""The client on a server: streams, transactions, subscriptions, endpoints, sagas."""
from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg

from ecommerce_client import (ANY, NEW, Context, Decider, EndpointFull, InvalidDefinition,
                              InvalidEvent, NewEvent, NoEndpoint, PoolTooSmall, Rejected,
                              RequestTimeout, SagaConflict, TransactionAborted, TransactionEnded,
                              VersionConflict)

from .support import KIND, TestCase, connect, sleep, together, until

ADDED = NewEvent("Added", {"by": 1})
COUNTER: Decider[int] = Decider(
    0, lambda total, event: total + event.data["by"],
    lambda total, at: NewEvent("Added", {"by": 1, "was": total}) if total < 40 else None)


class Base(TestCase):
    """Each test has a client, and names that no other has."""

    def name(self, name: str) -> str:
        return f"{name}_{KIND}"

    async def open(self, **options: Any) -> Any:
        db = connect(**{"max_size": 8, "source": "tests", **options})
        self.addCleanup(db.close) if KIND == "sync" else self.addAsyncCleanup(db.close)
        await db.query("SELECT pg_advisory_lock(1); CREATE TABLE IF NOT EXISTS effect "
                       "(name text, n int); SELECT pg_advisory_unlock(1)")
        return db

    async def effects(self, db: Any, name: str) -> list[int]:
        return [row["n"] for row in await db.query(
            "SELECT n FROM effect WHERE name = %s ORDER BY n", [name])]

    async def dead(self, db: Any, name: str) -> list[str]:
        return [row["error_code"] for row in await db.query(
            "SELECT error_code FROM message_bus.dead_letters WHERE endpoint = %s "
            "ORDER BY error_code", [name])]


async def note(tx: Any, name: str, n: int) -> None:
    await tx.query("INSERT INTO effect VALUES (%s, %s)", [name, n])


class StoreTest(Base):
    async def test_append_and_read(self) -> None:
        db, stream = await self.open(), self.name("read") + "-1"
        first = await db.store.append(stream, NEW, [
            NewEvent("A", {"n": 1}, metadata={"user_id": "ann"}), NewEvent("B", {"n": 2})])
        self.assertEqual(first.version, 2)
        events = await db.store.read(stream)
        self.assertEqual([(e.type, e.version, e.data) for e in events],
                         [("A", 1, {"n": 1}), ("B", 2, {"n": 2})])
        self.assertEqual(events[1].position, first.position)
        self.assertEqual([e.version for e in await db.store.read(
            stream, from_version=2, backward=True, max_count=2)], [2, 1])
        self.assertEqual(len(await db.store.read_all(
            after=first.position - 2, category=self.name("read"), types=["B"])), 1)
        with self.assertRaises(VersionConflict) as caught:
            await db.store.append(stream, NEW, ADDED)
        self.assertEqual((caught.exception.stream, caught.exception.expected_version,
                          caught.exception.actual_version), (stream, 0, 2))
        self.assertIn("Read the stream again", caught.exception.hint)
        with self.assertRaises(InvalidEvent):
            await db.store.append(stream, ANY, NewEvent("A", []))  # type: ignore[arg-type]
        with self.assertRaises(psycopg.errors.DivisionByZero):
            await db.query("SELECT 1 / 0")

    async def test_rivals(self) -> None:
        db, stream = await self.open(), self.name("counter") + "-1"
        handled = await together(*[
            lambda: db.store.handle(stream, COUNTER, retries=200)] * 22)
        handled += await together(*[
            lambda: db.store.handle(stream, COUNTER, context=Context(user_id="ann"),
                                    retries=200)] * 22)
        self.assertEqual(sum(len(h.events) for h in handled), 40)
        self.assertEqual([e.data["was"] for e in await db.store.read(stream)], list(range(40)))

    async def test_transaction(self) -> None:
        db, stream = await self.open(), self.name("tx") + "-1"
        context = Context(correlation_id=str(uuid4()), user_id="o'neill\\",
                          conversation_id=str(uuid4()))

        async def good(tx: Any) -> Any:
            await tx.store.append(stream, NEW, ADDED)
            return tx

        async def bad(tx: Any) -> None:
            await tx.store.append(stream, 1, ADDED)
            raise RuntimeError("undo")

        async def hidden(tx: Any) -> None:
            await tx.store.append(stream, 1, ADDED)
            try:
                await tx.query("SELECT 1 / 0")
            except psycopg.Error:
                pass

        tx = await db.tx(context, good)
        with self.assertRaises(RuntimeError):
            await db.tx(context, bad)
        with self.assertRaises(TransactionAborted):
            await db.tx(context, hidden)
        [event] = await db.store.read(stream)
        self.assertEqual((event.metadata["user_id"], event.metadata["correlation_id"],
                          event.metadata["conversation_id"], event.metadata["source"]),
                         (context.user_id, context.correlation_id, context.conversation_id,
                          "tests"))
        with self.assertRaises(TransactionEnded):
            await tx.query("SELECT 1")
        with self.assertRaises(ValueError):
            await db.tx(None, good, isolation="x; DROP TABLE y")


class SubscriptionTest(Base):
    async def test_shaky(self) -> None:
        db, name = await self.open(), self.name("shaky")
        await db.store.create_subscription(name, category=name, partitions=4)
        calls: list[int] = []

        async def handler(event: Any, tx: Any) -> None:
            await note(tx, name, event.position)
            calls.append(event.version)
            if len(calls) % 9 == 0:
                raise RuntimeError("shaky")

        subscription = db.store.subscribe(name, handler, category=name, concurrency=2, batch=10,
                                          retries=50, wait=600)
        for stream in range(5):
            await db.store.append(f"{name}-{stream}", NEW, [ADDED] * 8)

        async def all_seen() -> bool:
            return len(await self.effects(db, name)) >= 40

        await until("all are seen", all_seen)
        await subscription.stop()
        self.assertEqual(len(set(await self.effects(db, name))), 40)
        self.assertEqual(len(await self.effects(db, name)), 40)

    async def test_stop_on_error(self) -> None:
        db, name = await self.open(), self.name("strict")
        await db.store.create_subscription(name, category=name)

        async def handler(event: Any, tx: Any) -> None:
            if event.version == 4:
                raise RuntimeError("four")
            await note(tx, name, event.version)

        await db.store.append(f"{name}-1", NEW, [ADDED] * 6)
        with self.assertRaisesRegex(RuntimeError, "four"):
            await db.store.subscribe(name, handler, category=name, retries=1).join()
        self.assertEqual(await self.effects(db, name), [1, 2, 3])

    async def test_park_and_replay(self) -> None:
        db, name = await self.open(), self.name("parking")
        await db.store.create_subscription(name, category=name)
        mended: list[bool] = []

        async def handler(event: Any, tx: Any) -> None:
            if event.version == 2 and not mended:
                raise RuntimeError("two")
            await note(tx, name, event.version)

        async def seen(expected: list[int]) -> bool:
            return await self.effects(db, name) == expected

        async def waits() -> bool:
            return bool(await db.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = "
                                       "'Extension' AND query LIKE 'CALL event_store.wait%%'"))

        subscription = db.store.subscribe(name, handler, retries=2, on_error="park", wait=600)
        await db.store.append(f"{name}-1", NEW, [ADDED] * 4)
        await until("the others are seen", lambda: seen([1, 3, 4]))
        await until("it waits", waits)
        parked = await db.query("SELECT stream, error, attempts FROM event_store.parked_events "
                                "WHERE subscription = %s", [name])
        self.assertEqual(parked, [{"stream": f"{name}-1", "error": "two", "attempts": 3}])
        mended.append(True)
        await db.query("SELECT event_store.replay_parked(%s)", [name])
        await until("a replay wakes it", lambda: seen([1, 2, 3, 4]))
        await subscription.stop()
        self.assertFalse(await db.query("SELECT 1 FROM event_store.parked_events "
                                        "WHERE subscription = %s", [name]))

    async def test_parked_by_the_server(self) -> None:
        db, name = await self.open(), self.name("deadly")
        await db.store.create_subscription(name, category=name, park_after=2)
        tries: list[int] = []

        async def handler(event: Any, tx: Any) -> None:
            if event.version == 1:
                tries.append(event.attempt)
                raise RuntimeError("one")
            await note(tx, name, event.version)

        async def seen() -> bool:
            return await self.effects(db, name) == [2, 3]

        await db.store.append(f"{name}-1", NEW, [ADDED] * 3)
        for _ in range(2):
            with self.assertRaisesRegex(RuntimeError, "one"):
                await db.store.subscribe(name, handler, batch=1, retries=0).join()
        subscription = db.store.subscribe(name, handler, batch=1, retries=0)
        await until("the others are seen", seen)
        await subscription.stop()
        self.assertEqual(tries, [1, 2])

    async def test_deleted_streams(self) -> None:
        db, name = await self.open(), self.name("erased")
        await db.store.create_subscription(name, category=name, types=["*", "$deleted"])
        seen: list[str] = []

        async def handler(event: Any, tx: Any) -> None:
            seen.append(f"{event.type} {event.version}")

        async def has(n: int) -> bool:
            return len(seen) == n

        subscription = db.store.subscribe(name, handler)
        await db.store.append(f"{name}-1", NEW, [ADDED] * 2)
        await until("they are seen", lambda: has(2))
        await db.query("SELECT event_store.delete_stream(%s, 2)", [f"{name}-1"])
        await db.store.append(f"{name}-1", 2, ADDED)
        await until("all are seen", lambda: has(4))
        self.assertEqual(seen, ["Added 1", "Added 2", "$deleted 2", "Added 3"])
        await subscription.stop()


class BusTest(Base):
    async def test_failures(self) -> None:
        db, name = await self.open(), self.name("failing")
        await db.query("CREATE TABLE IF NOT EXISTS once (name text, n int, "
                       "UNIQUE (name, n) DEFERRABLE INITIALLY DEFERRED)")
        await db.query("INSERT INTO once VALUES (%s, 18)", [name])
        await db.bus.create_endpoint(name, subscribe=[name], retry={
            "kind": "interval", "limit": 2, "interval": "10 ms"})

        async def work(message: Any, tx: Any) -> None:
            n = message.body["n"]
            await note(tx, name, n)
            if n % 10 == 0 and message.attempt < 3:
                raise RuntimeError("not yet")
            if n == 15:
                await tx.query("INSERT INTO effect VALUES (1, 2, 3)")
            if n == 16:
                raise Rejected("bad_number", "sixteen")
            if n == 17:
                await tx.query("SELECT 1 / 0")
            if n == 18:
                await tx.query("INSERT INTO once VALUES (%s, %s)", [name, n])

        for n in range(1, 41):
            await db.bus.publish(name, {"n": n})
        consumer = db.bus.consume(name, {name: work}, concurrency=2, batch=10)

        async def finished() -> bool:
            return (len(await self.effects(db, name)) == 36
                    and len(await self.dead(db, name)) == 3)

        await until("all but four are done, and three are dead", finished)
        await consumer.stop()
        self.assertEqual(await self.effects(db, name),
                         [n for n in range(1, 41) if n not in (15, 16, 17, 18)])
        self.assertEqual(await self.dead(db, name), ["22012", "23505", "bad_number"])

    async def test_slow(self) -> None:
        db, name = await self.open(), self.name("slow")
        await db.bus.create_endpoint(name, retry={"kind": "none"})

        async def work(message: Any, tx: Any) -> None:
            n = message.body["n"]
            await note(tx, name, n)
            if n == 1:
                await sleep(1)
            if n == 2:
                await tx.query("SELECT pg_sleep(600)")

        for n in (1, 2, 3):
            await db.bus.send(name, "Work", {"n": n}, key="k")
        consumer = db.bus.consume(name, {"*": work}, timeout=0.4)

        async def finished() -> bool:
            return (len(await self.effects(db, name)) == 1
                    and len(await self.dead(db, name)) == 2)

        await until("one is done, two are dead", finished)
        await consumer.stop()
        self.assertEqual(await self.effects(db, name), [3])
        self.assertIn("timeout", await self.dead(db, name))

    async def test_cut(self) -> None:
        db, name = await self.open(), self.name("cut")
        await db.bus.create_endpoint(name, lanes=2)
        cut: list[int] = []

        async def work(message: Any, tx: Any) -> None:
            n = message.body["n"]
            await note(tx, name, n)
            if n % 25 == 0 and n not in cut:
                cut.append(n)
                await tx.query("SELECT pg_terminate_backend(pg_backend_pid())")

        for n in range(1, 101):
            await db.bus.send(name, "Work", {"n": n})
        consumer = db.bus.consume(name, {"Work": work}, batch=10)

        async def finished() -> bool:
            return len(await self.effects(db, name)) >= 100

        await until("all are done", finished)
        await consumer.stop()
        self.assertEqual(await self.effects(db, name), list(range(1, 101)))
        self.assertEqual(sorted(cut), [25, 50, 75, 100])

    async def test_deadly(self) -> None:
        db, name = await self.open(), self.name("deadly")
        await db.bus.create_endpoint(name, retry={"kind": "none"})
        await db.bus.send(name, "Work", {})

        async def work(message: Any, tx: Any) -> None:
            await tx.query("SELECT pg_terminate_backend(pg_backend_pid())")

        consumer = db.bus.consume(name, {"Work": work})

        async def is_dead() -> bool:
            return await self.dead(db, name) == ["crash"]

        await until("it is dead, though there is no other", is_dead)
        await consumer.stop()

    async def test_request(self) -> None:
        db, name = await self.open(), self.name("adder")
        await db.bus.create_endpoint(name)

        async def add(message: Any, tx: Any) -> None:
            if "a" in message.body:
                await tx.bus.reply(message, "Sum", {"sum": message.body["a"] + 1})

        db.bus.consume(name, {"Add": add}, wait=600)
        answers = await together(*[lambda: db.bus.request(name, "Add", {"a": 1})] * 5)
        self.assertEqual([a.body["sum"] for a in answers], [2] * 5)
        with self.assertRaises(RequestTimeout):
            await db.bus.request(name, "Add", {}, timeout=0.1)
        with self.assertRaises(NoEndpoint):
            await db.bus.request("nowhere", "Add", {})

    async def test_limits(self) -> None:
        db, name = await self.open(max_size=2), self.name("full")
        await db.bus.create_endpoint(name, order="strict", breaker="default")
        id = str(uuid4())
        self.assertEqual(await db.bus.send(name, "Work", {}, id=id), id)
        await db.bus.send(name, "Work", {}, id=id)
        await db.query("SELECT message_bus.alter_endpoint(%s, max_depth => 1)", [name])
        with self.assertRaises(EndpointFull):
            await db.bus.send(name, "Work", {})
        with self.assertRaises(PoolTooSmall):
            db.bus.consume(name, {}, concurrency=2)


class SagaTest(Base):
    async def test_saga(self) -> None:
        db, name, id = await self.open(), self.name("question"), str(uuid4())
        definition: dict[str, Any] = {
            "initial": "Waiting",
            "events": {f"Asked_{name}": {"correlate": "$.message.id"},
                       f"Answered_{name}": {"correlate": "$.message.id"}},
            "start": {f"Asked_{name}": {"set": {"id": "$.message.id"}, "goto": "Waiting"}},
            "states": {
                "Waiting": {"default": "ignore", "timer": "none",
                            "on": {f"Answered_{name}": {"goto": "Done"}}},
                "Done": {"kind": "final", "default": "ignore"}}}
        self.assertEqual(await db.saga.define(name, definition), 1)
        self.assertEqual(await db.saga.define(name, definition), 1)
        with self.assertRaises(InvalidDefinition) as caught:
            await db.saga.define(name, {**definition, "states": {}})
        self.assertTrue(caught.exception.problems)
        await db.bus.publish(f"Asked_{name}", {"id": id}, key=id)
        await db.bus.publish(f"Answered_{name}", {"id": id}, key=id)

        async def done() -> bool:
            instance = await db.saga.get(name, id)
            return instance is not None and instance.state == "Done"

        await until("it is done", done)
        self.assertEqual([h["to_state"] for h in await db.saga.history(name, id)],
                         ["Waiting", "Done"])
        self.assertIn("stateDiagram", await db.saga.diagram(name))
        other = str(uuid4())
        self.assertIsNone(await db.saga.get(name, other))
        await db.saga.create(name, other, {"id": other})
        self.assertEqual(await db.saga.update(name, other, 1, "Waiting", {"id": other}), 2)
        with self.assertRaises(SagaConflict):
            await db.saga.update(name, other, 1, "Waiting", {})
