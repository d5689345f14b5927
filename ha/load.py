#!/usr/bin/python3
# Clients that go through failovers: each repeats what was not acknowledged, with the same
# id, on whatever server takes it, and writes down what was acknowledged and what it saw.
# Usage: load.py write|read DIRECTORY    until SIGTERM
# SHOP and STOCK are connection strings of libpq with all servers in them.
import json
import os
import signal
import sys
import threading
import time
import uuid

import psycopg

STOPPING = threading.Event()
DIRECTORY = sys.argv[2]
PRIMARY = {db: os.environ[db] + " target_session_attrs=read-write" for db in ("SHOP", "STOCK")}
STANDBY = os.environ["SHOP"] + " target_session_attrs=prefer-standby"


class Notes:
    """Lines in a file of one client, written when they are true."""

    def __init__(self, name):
        self.file = open(f"{DIRECTORY}/{name}", "a", buffering=1)

    def add(self, *words):
        self.file.write(" ".join(map(str, words)) + "\n")


def connected(name, conninfo, turn):
    """Calls turn(connection) until the end; connects again as long as nobody is there."""
    errors = Notes(f"errors.{name}")
    while not STOPPING.is_set():
        try:
            with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
                while not STOPPING.is_set():
                    turn(connection)
        except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction):
            STOPPING.wait(0.1)
        except Exception as error:
            errors.add(repr(error))
            STOPPING.wait(0.1)


def identity(*words):
    return uuid.uuid5(uuid.NAMESPACE_OID, " ".join(map(str, words)))


def appender(number):
    """Appends to a stream of its own, one event after the other."""
    stream, notes, last = f"account-{number}", Notes(f"appended.{number}"), 0

    def turn(connection):
        nonlocal last
        try:
            append(connection)
        except psycopg.Error as error:
            if error.sqlstate == "ST001":   # what it knows has been lost
                last = json.loads(error.diag.message_detail)["actual_version"]
            raise

    def append(connection):
        nonlocal last
        version, position = connection.execute(
            "SELECT version, position FROM event_store.append(%s, %s, 'Counted', %s,"
            " event_id => %s)",
            (stream, last, json.dumps({"n": last + 1}), identity(stream, last + 1)),
        ).fetchone()
        last += 1
        notes.add(stream, last, version, position, time.time())
        STOPPING.wait(0.005)

    connected(f"appender{number}", PRIMARY["SHOP"], turn)


def sender(number, endpoint, message_type):
    """Sends numbered messages of one key."""
    name = f"{endpoint}.{number}"
    notes, last = Notes(f"sent.{name}"), 0

    def turn(connection):
        nonlocal last
        connection.execute(
            "SELECT message_bus.send(%s, %s, %s, %s, partition_key => %s)",
            (endpoint, message_type, json.dumps({"key": name, "n": last + 1, "trip_id": str(
                identity(name, last + 1))}), identity(name, last + 1), name),
        )
        last += 1
        notes.add(name, last)
        STOPPING.wait(0.01)

    connected(f"sender.{name}", PRIMARY["SHOP"], turn)


def consumer(number, database, endpoint, function):
    """Handles messages by a function that acknowledges them in its transaction."""
    name = f"{endpoint}.{number}"
    seen, handled = Notes(f"received.{name}"), Notes(f"handled.{name}")

    def turn(connection):
        with connection.transaction():
            rows = connection.execute(f"SELECT key, n FROM ha.{function}(%s)",
                                      (endpoint,)).fetchall()
            for row in rows:
                seen.add(*row)
        for row in rows:
            handled.add(*row)
        if not rows:
            STOPPING.wait(0.05)

    connected(f"consumer.{name}", PRIMARY[database], turn)


def reader(name, conninfo):
    """Reads the store from where it was, on whatever server it finds."""
    notes, position = Notes(f"read.{name}"), 0

    def turn(connection):
        nonlocal position
        rows = connection.execute(
            "SELECT position, stream, version FROM event_store.read_all(%s, 500)",
            (position,)).fetchall()
        for row in rows:
            notes.add(*row)
            position = row[0]
        if not rows:
            STOPPING.wait(0.02)

    connected(f"reader.{name}", conninfo, turn)


WRITERS = [(appender, i) for i in range(3)] + [
    (sender, 0, "work", "Counted"),
    (sender, 1, "work", "Counted"),
    (sender, 0, "to-stock", "Counted"),
    (sender, 1, "to-stock", "Counted"),
    (sender, 0, "trip", "TripRequested"),
]
READERS = [
    (consumer, 0, "SHOP", "work", "consume"),
    (consumer, 1, "SHOP", "work", "consume"),
    (consumer, 0, "STOCK", "in", "consume"),
    (consumer, 0, "SHOP", "flights", "book"),
    (reader, "primary", PRIMARY["SHOP"]),
    (reader, "standby", STANDBY),
]

signal.signal(signal.SIGTERM, lambda *_: STOPPING.set())
threads = [threading.Thread(target=role, args=arguments)
           for role, *arguments in (WRITERS if sys.argv[1] == "write" else READERS)]
for thread in threads:
    thread.start()
while not STOPPING.is_set():
    STOPPING.wait(0.5)
for thread in threads:
    thread.join()
