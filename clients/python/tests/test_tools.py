"""Without a server: given/when/then, types from contracts, classes of errors, statements; and that
sync/ is what aio/ makes of it.
"""
import subprocess
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

from ecommerce_client import (BusError, Decider, NewEvent, NoEndpoint, Rejected, SagaConflict,
                              StoreError)
from ecommerce_client import errors
from ecommerce_client.statements import Context, beginning, call, literal
from ecommerce_client.testing import given
from ecommerce_client.types import to_python

TAKEN = NewEvent("Taken", {"guest": "ann"})


class Full(Exception):
    pass


def take(guest):
    def decide(taken, at):
        if taken > 1:
            raise Full("full")
        return NewEvent("Taken", {"guest": guest}) if guest else None
    return decide


ROOM = Decider(0, lambda taken, event: taken + (event.type == "Taken"), take("dan"))


class Testing(unittest.TestCase):
    def test_given_when_then(self):
        given(ROOM, TAKEN).when(take("bob")).then(NewEvent("Taken", {"guest": "bob"}))
        given(ROOM).when(take("")).then_nothing()
        given(ROOM).when().then(NewEvent("Taken", {"guest": "dan"}))
        given(ROOM, TAKEN, TAKEN).when(take("cid")).then_fails(Full, "full")
        self.assertEqual(given(ROOM, TAKEN, NewEvent("Other")).state, 1)

    def test_fails_when_it_should(self):
        for check in (lambda: given(ROOM).when(take("bob")).then(TAKEN),
                      lambda: given(ROOM).when(take("bob")).then(),
                      lambda: given(ROOM).when(take("bob")).then_nothing(),
                      lambda: given(ROOM).when(take("bob")).then_fails(Full),
                      lambda: given(ROOM, TAKEN, TAKEN).when().then_fails(ValueError),
                      lambda: given(ROOM, TAKEN, TAKEN).when().then_fails(Full, "empty")):
            self.assertRaises(AssertionError, check)
        with self.assertRaises(Full):
            given(ROOM, TAKEN, TAKEN).when().then_nothing()


class Types(unittest.TestCase):
    def test_to_python(self):
        def ref(name):
            return {"$ref": f"#/components/schemas/{name}"}
        text = to_python({"components": {
            "schemas": {
                "envelope": {},
                "public.odd": {"type": "object", "required": ["a"], "description": "It's odd.",
                               "properties": {"a": {"type": "integer"},
                                              "m": {"oneOf": [ref("public.later"),
                                                              {"type": "null"}]},
                                              "l": {"type": ["array", "null"],
                                                    "items": ref("public.later")}}},
                "public.dash": {"type": "object", "required": [],
                                "properties": {"b-c": {"enum": ["x"], "type": "string"},
                                               "class": {}}},
                "public.later": {"type": "object", "properties": {}}},
            "messages": {"Odd.v1": {"name": "Odd", "payload": ref("public.later")},
                         "Odd.v2": {"name": "Odd", "payload": ref("public.odd"),
                                    "x-current": True}}}})
        self.assertEqual(text, '''"""Written by ecommerce_client.types from \
event_store.asyncapi(): do not edit."""
from typing import Any, Literal, NotRequired, TypedDict


PublicDash = TypedDict('PublicDash', {'b-c': NotRequired[Literal['x']], 'class': NotRequired[Any]})


class PublicLater(TypedDict):
    pass


class PublicOdd(TypedDict):
    "It's odd."
    a: int
    m: NotRequired['PublicLater | None']
    l: NotRequired[list['PublicLater'] | None]


CONTRACTS = {
    'Odd': PublicOdd,
}
''')
        compiled = {}
        exec(text, compiled)
        self.assertEqual(compiled["CONTRACTS"]["Odd"].__required_keys__, {"a"})


class Errors(unittest.TestCase):
    def test_translate(self):
        def raised(state, detail=None):
            error = Exception("x")
            error.sqlstate = state
            error.diag = SimpleNamespace(message_primary="x", message_detail=detail,
                                         message_hint="h")
            return errors.translate(error)
        self.assertIsInstance(raised("MB001"), NoEndpoint)
        self.assertIsInstance(raised("MB001"), BusError)
        self.assertEqual(raised("MB001").hint, "h")
        self.assertIs(type(raised("ST777")), StoreError)
        self.assertIs(type(raised("23505")), Exception)
        self.assertEqual(raised("SG010", '[{"problem": "p"}]').problems, [{"problem": "p"}])
        self.assertEqual(raised("SG002", '{"expected_version": 7}').expected_version, 7)
        self.assertIsInstance(raised("SG002", "no JSON"), SagaConflict)
        for race in ("ST001", "ST020", "MB007"):
            self.assertTrue(errors.lost_race(raised(race)))
        self.assertFalse(errors.lost_race(raised("ST004")))
        self.assertTrue(errors.final_error(raised("23505")))
        self.assertTrue(errors.final_error(Rejected("no")))
        self.assertFalse(errors.final_error(ValueError()))
        self.assertTrue(errors.program_error(raised("42883")))
        self.assertTrue(errors.program_error(NameError()))
        # It may come of what a message says: such a message must end as a dead letter.
        self.assertFalse(errors.program_error(KeyError()))


class Statements(unittest.TestCase):
    def test_text(self):
        self.assertEqual(call("f", {"a": 1, "b": None}), ("f(a => %s)", [1]))
        self.assertEqual(literal("o'neill\\"), " E'o''neill\\\\'")
        self.assertEqual(beginning(), ["BEGIN"])
        self.assertEqual(beginning(Context()), ["BEGIN"])
        self.assertIn("NULL::uuid, 'ann', NULL", beginning(Context(user_id="ann"))[1])
        self.assertRaises(ValueError, beginning, isolation="none")


class Sources(unittest.TestCase):
    def test_sync_is_made_of_aio(self):
        unasync = Path(__file__).resolve().parent.parent / "unasync"
        done = subprocess.run([sys.executable, unasync, "--check"], capture_output=True,
                              text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
