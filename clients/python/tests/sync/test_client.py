# Made by unasync of aio/test_client.py: do not edit.
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

    def open(self, **options: Any) -> Any:
        db = connect(**{"max_size": 8, "source": "tests", **options})
        self.addCleanup(db.close) if KIND == "sync" else self.addAsyncCleanup(db.close)
        db.query("SELECT pg_advisory_lock(1); CREATE TABLE IF NOT EXISTS effect "
                       "(name text, n int); SELECT pg_advisory_unlock(1)")
        return db

    def effects(self, db: Any, name: str) -> list[int]:
        return [row["n"] for row in db.query(
            "SELECT n FROM effect WHERE name = %s ORDER BY n", [name])]

    def dead(self, db: Any, name: str) -> list[str]:
        return [row["error_code"] for row in db.query(
            "SELECT error_code FROM message_bus.dead_letters WHERE endpoint = %s "
            "ORDER BY error_code", [name])]


def note(tx: Any, name: str, n: int) -> None:
    tx.query("INSERT INTO effect VALUES (%s, %s)", [name, n])


class StoreTest(Base):
    def test_append_and_read(self) -> None:
        db, stream = self.open(), self.name("read") + "-1"
        first = db.store.append(stream, NEW, [
            NewEvent("A", {"n": 1}, metadata={"user_id": "ann"}), NewEvent("B", {"n": 2})])
        self.assertEqual(first.version, 2)
        events = db.store.read(stream)
        self.assertEqual([(e.type, e.version, e.data) for e in events],
                         [("A", 1, {"n": 1}), ("B", 2, {"n": 2})])
        self.assertEqual(events[1].position, first.position)
        self.assertEqual([e.version for e in db.store.read(
            stream, from_version=2, backward=True, max_count=2)], [2, 1])
        self.assertEqual(len(db.store.read_all(
            after=first.position - 2, category=self.name("read"), types=["B"])), 1)
        with self.assertRaises(VersionConflict) as caught:
            db.store.append(stream, NEW, ADDED)
        self.assertEqual((caught.exception.stream, caught.exception.expected_version,
                          caught.exception.actual_version), (stream, 0, 2))
        self.assertIn("Read the stream again", caught.exception.hint)
        with self.assertRaises(InvalidEvent):
            db.store.append(stream, ANY, NewEvent("A", []))  # type: ignore[arg-type]
        with self.assertRaises(psycopg.errors.DivisionByZero):
            db.query("SELECT 1 / 0")

    def test_rivals(self) -> None:
        db, stream = self.open(), self.name("counter") + "-1"
        handled = together(*[
            lambda: db.store.handle(stream, COUNTER, retries=200)] * 22)
        handled += together(*[
            lambda: db.store.handle(stream, COUNTER, context=Context(user_id="ann"),
                                    retries=200)] * 22)
        self.assertEqual(sum(len(h.events) for h in handled), 40)
        self.assertEqual([e.data["was"] for e in db.store.read(stream)], list(range(40)))

    def test_transaction(self) -> None:
        db, stream = self.open(), self.name("tx") + "-1"
        context = Context(correlation_id=str(uuid4()), user_id="o'neill\\",
                          conversation_id=str(uuid4()))

        def good(tx: Any) -> Any:
            tx.store.append(stream, NEW, ADDED)
            return tx

        def bad(tx: Any) -> None:
            tx.store.append(stream, 1, ADDED)
            raise RuntimeError("undo")

        def hidden(tx: Any) -> None:
            tx.store.append(stream, 1, ADDED)
            try:
                tx.query("SELECT 1 / 0")
            except psycopg.Error:
                pass

        tx = db.tx(context, good)
        with self.assertRaises(RuntimeError):
            db.tx(context, bad)
        with self.assertRaises(TransactionAborted):
            db.tx(context, hidden)
        [event] = db.store.read(stream)
        self.assertEqual((event.metadata["user_id"], event.metadata["correlation_id"],
                          event.metadata["conversation_id"], event.metadata["source"]),
                         (context.user_id, context.correlation_id, context.conversation_id,
                          "tests"))
        with self.assertRaises(TransactionEnded):
            tx.query("SELECT 1")
        with self.assertRaises(ValueError):
            db.tx(None, good, isolation="x; DROP TABLE y")


class SubscriptionTest(Base):
    def test_shaky(self) -> None:
        db, name = self.open(), self.name("shaky")
        db.store.create_subscription(name, category=name, partitions=4)
        calls: list[int] = []

        def handler(event: Any, tx: Any) -> None:
            note(tx, name, event.position)
            calls.append(event.version)
            if len(calls) % 9 == 0:
                raise RuntimeError("shaky")

        subscription = db.store.subscribe(name, handler, category=name, concurrency=2, batch=10,
                                          retries=50, wait=600)
        for stream in range(5):
            db.store.append(f"{name}-{stream}", NEW, [ADDED] * 8)

        def all_seen() -> bool:
            return len(self.effects(db, name)) >= 40

        until("all are seen", all_seen)
        subscription.stop()
        self.assertEqual(len(set(self.effects(db, name))), 40)
        self.assertEqual(len(self.effects(db, name)), 40)

    def test_stop_on_error(self) -> None:
        db, name = self.open(), self.name("strict")
        db.store.create_subscription(name, category=name)

        def handler(event: Any, tx: Any) -> None:
            if event.version == 4:
                raise RuntimeError("four")
            note(tx, name, event.version)

        db.store.append(f"{name}-1", NEW, [ADDED] * 6)
        with self.assertRaisesRegex(RuntimeError, "four"):
            db.store.subscribe(name, handler, category=name, retries=1).join()
        self.assertEqual(self.effects(db, name), [1, 2, 3])

    def test_park_and_replay(self) -> None:
        db, name = self.open(), self.name("parking")
        db.store.create_subscription(name, category=name)
        mended: list[bool] = []

        def handler(event: Any, tx: Any) -> None:
            if event.version == 2 and not mended:
                raise RuntimeError("two")
            note(tx, name, event.version)

        def seen(expected: list[int]) -> bool:
            return self.effects(db, name) == expected

        def waits() -> bool:
            return bool(db.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = "
                                       "'Extension' AND query LIKE 'CALL event_store.wait%%'"))

        subscription = db.store.subscribe(name, handler, retries=2, on_error="park", wait=600)
        db.store.append(f"{name}-1", NEW, [ADDED] * 4)
        until("the others are seen", lambda: seen([1, 3, 4]))
        until("it waits", waits)
        parked = db.query("SELECT stream, error, attempts FROM event_store.parked_events "
                                "WHERE subscription = %s", [name])
        self.assertEqual(parked, [{"stream": f"{name}-1", "error": "two", "attempts": 3}])
        mended.append(True)
        db.query("SELECT event_store.replay_parked(%s)", [name])
        until("a replay wakes it", lambda: seen([1, 2, 3, 4]))
        subscription.stop()
        self.assertFalse(db.query("SELECT 1 FROM event_store.parked_events "
                                        "WHERE subscription = %s", [name]))

    def test_parked_by_the_server(self) -> None:
        db, name = self.open(), self.name("deadly")
        db.store.create_subscription(name, category=name, park_after=2)
        tries: list[int] = []

        def handler(event: Any, tx: Any) -> None:
            if event.version == 1:
                tries.append(event.attempt)
                raise RuntimeError("one")
            note(tx, name, event.version)

        def seen() -> bool:
            return self.effects(db, name) == [2, 3]

        db.store.append(f"{name}-1", NEW, [ADDED] * 3)
        for _ in range(2):
            with self.assertRaisesRegex(RuntimeError, "one"):
                db.store.subscribe(name, handler, batch=1, retries=0).join()
        subscription = db.store.subscribe(name, handler, batch=1, retries=0)
        until("the others are seen", seen)
        subscription.stop()
        self.assertEqual(tries, [1, 2])

    def test_deleted_streams(self) -> None:
        db, name = self.open(), self.name("erased")
        db.store.create_subscription(name, category=name, types=["*", "$deleted"])
        seen: list[str] = []

        def handler(event: Any, tx: Any) -> None:
            seen.append(f"{event.type} {event.version}")

        def has(n: int) -> bool:
            return len(seen) == n

        subscription = db.store.subscribe(name, handler)
        db.store.append(f"{name}-1", NEW, [ADDED] * 2)
        until("they are seen", lambda: has(2))
        db.query("SELECT event_store.delete_stream(%s, 2)", [f"{name}-1"])
        db.store.append(f"{name}-1", 2, ADDED)
        until("all are seen", lambda: has(4))
        self.assertEqual(seen, ["Added 1", "Added 2", "$deleted 2", "Added 3"])
        subscription.stop()


class BusTest(Base):
    def test_failures(self) -> None:
        db, name = self.open(), self.name("failing")
        db.query("CREATE TABLE IF NOT EXISTS once (name text, n int, "
                       "UNIQUE (name, n) DEFERRABLE INITIALLY DEFERRED)")
        db.query("INSERT INTO once VALUES (%s, 18)", [name])
        db.bus.create_endpoint(name, subscribe=[name], retry={
            "kind": "interval", "limit": 2, "interval": "10 ms"})

        def work(message: Any, tx: Any) -> None:
            n = message.body["n"]
            note(tx, name, n)
            if n % 10 == 0 and message.attempt < 3:
                raise RuntimeError("not yet")
            if n == 15:
                tx.query("INSERT INTO effect VALUES (1, 2, 3)")
            if n == 16:
                raise Rejected("bad_number", "sixteen")
            if n == 17:
                tx.query("SELECT 1 / 0")
            if n == 18:
                tx.query("INSERT INTO once VALUES (%s, %s)", [name, n])

        for n in range(1, 41):
            db.bus.publish(name, {"n": n})
        consumer = db.bus.consume(name, {name: work}, concurrency=2, batch=10)

        def finished() -> bool:
            return (len(self.effects(db, name)) == 36
                    and len(self.dead(db, name)) == 3)

        until("all but four are done, and three are dead", finished)
        consumer.stop()
        self.assertEqual(self.effects(db, name),
                         [n for n in range(1, 41) if n not in (15, 16, 17, 18)])
        self.assertEqual(self.dead(db, name), ["22012", "23505", "bad_number"])

    def test_slow(self) -> None:
        db, name = self.open(), self.name("slow")
        db.bus.create_endpoint(name, retry={"kind": "none"})

        def work(message: Any, tx: Any) -> None:
            n = message.body["n"]
            note(tx, name, n)
            if n == 1:
                sleep(1)
            if n == 2:
                tx.query("SELECT pg_sleep(600)")

        for n in (1, 2, 3):
            db.bus.send(name, "Work", {"n": n}, key="k")
        consumer = db.bus.consume(name, {"*": work}, timeout=0.4)

        def finished() -> bool:
            return (len(self.effects(db, name)) == 1
                    and len(self.dead(db, name)) == 2)

        until("one is done, two are dead", finished)
        consumer.stop()
        self.assertEqual(self.effects(db, name), [3])
        self.assertIn("timeout", self.dead(db, name))

    def test_cut(self) -> None:
        db, name = self.open(), self.name("cut")
        db.bus.create_endpoint(name, lanes=2)
        cut: list[int] = []

        def work(message: Any, tx: Any) -> None:
            n = message.body["n"]
            note(tx, name, n)
            if n % 25 == 0 and n not in cut:
                cut.append(n)
                tx.query("SELECT pg_terminate_backend(pg_backend_pid())")

        for n in range(1, 101):
            db.bus.send(name, "Work", {"n": n})
        consumer = db.bus.consume(name, {"Work": work}, batch=10)

        def finished() -> bool:
            return len(self.effects(db, name)) >= 100

        until("all are done", finished)
        consumer.stop()
        self.assertEqual(self.effects(db, name), list(range(1, 101)))
        self.assertEqual(sorted(cut), [25, 50, 75, 100])

    def test_deadly(self) -> None:
        db, name = self.open(), self.name("deadly")
        db.bus.create_endpoint(name, retry={"kind": "none"})
        db.bus.send(name, "Work", {})

        def work(message: Any, tx: Any) -> None:
            tx.query("SELECT pg_terminate_backend(pg_backend_pid())")

        consumer = db.bus.consume(name, {"Work": work})

        def is_dead() -> bool:
            return self.dead(db, name) == ["crash"]

        until("it is dead, though there is no other", is_dead)
        consumer.stop()

    def test_request(self) -> None:
        db, name = self.open(), self.name("adder")
        db.bus.create_endpoint(name)

        def add(message: Any, tx: Any) -> None:
            if "a" in message.body:
                tx.bus.reply(message, "Sum", {"sum": message.body["a"] + 1})

        db.bus.consume(name, {"Add": add}, wait=600)
        answers = together(*[lambda: db.bus.request(name, "Add", {"a": 1})] * 5)
        self.assertEqual([a.body["sum"] for a in answers], [2] * 5)
        with self.assertRaises(RequestTimeout):
            db.bus.request(name, "Add", {}, timeout=0.1)
        with self.assertRaises(NoEndpoint):
            db.bus.request("nowhere", "Add", {})

    def test_limits(self) -> None:
        db, name = self.open(max_size=2), self.name("full")
        db.bus.create_endpoint(name, order="strict", breaker="default")
        id = str(uuid4())
        self.assertEqual(db.bus.send(name, "Work", {}, id=id), id)
        db.bus.send(name, "Work", {}, id=id)
        db.query("SELECT message_bus.alter_endpoint(%s, max_depth => 1)", [name])
        with self.assertRaises(EndpointFull):
            db.bus.send(name, "Work", {})
        with self.assertRaises(PoolTooSmall):
            db.bus.consume(name, {}, concurrency=2)


class SagaTest(Base):
    def test_saga(self) -> None:
        db, name, id = self.open(), self.name("question"), str(uuid4())
        definition: dict[str, Any] = {
            "initial": "Waiting",
            "events": {f"Asked_{name}": {"correlate": "$.message.id"},
                       f"Answered_{name}": {"correlate": "$.message.id"}},
            "start": {f"Asked_{name}": {"set": {"id": "$.message.id"}, "goto": "Waiting"}},
            "states": {
                "Waiting": {"default": "ignore", "timer": "none",
                            "on": {f"Answered_{name}": {"goto": "Done"}}},
                "Done": {"kind": "final", "default": "ignore"}}}
        self.assertEqual(db.saga.define(name, definition), 1)
        self.assertEqual(db.saga.define(name, definition), 1)
        with self.assertRaises(InvalidDefinition) as caught:
            db.saga.define(name, {**definition, "states": {}})
        self.assertTrue(caught.exception.problems)
        db.bus.publish(f"Asked_{name}", {"id": id}, key=id)
        db.bus.publish(f"Answered_{name}", {"id": id}, key=id)

        def done() -> bool:
            instance = db.saga.get(name, id)
            return instance is not None and instance.state == "Done"

        until("it is done", done)
        self.assertEqual([h["to_state"] for h in db.saga.history(name, id)],
                         ["Waiting", "Done"])
        self.assertIn("stateDiagram", db.saga.diagram(name))
        other = str(uuid4())
        self.assertIsNone(db.saga.get(name, other))
        db.saga.create(name, other, {"id": other})
        self.assertEqual(db.saga.update(name, other, 1, "Waiting", {"id": other}), 2)
        with self.assertRaises(SagaConflict):
            db.saga.update(name, other, 1, "Waiting", {})
