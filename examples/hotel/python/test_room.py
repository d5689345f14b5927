"""The room's decisions, without a database: python3 -m unittest"""
import unittest

from ecommerce_client import NewEvent
from ecommerce_client.testing import given
from hotel import Refused, free, hold, room_that

ANN = {"booking": "a", "room": "1", "night": "2027-01-01", "guest": "ann", "key": "k"}
BOB = {**ANN, "booking": "b", "guest": "bob"}
OPENED = NewEvent("RoomOpened", {"beds": 1})
HELD = NewEvent("NightHeld", {"booking": "a", "night": "2027-01-01",
                              "guest": {"name": "ann", "language": "en"}})
FREED = NewEvent("NightFreed", {"booking": "a", "night": "2027-01-01"})
ROOM = room_that(None)


class Room(unittest.TestCase):
    def test_hold(self):
        given(ROOM, OPENED).when(hold(ANN).decide).then(HELD)
        given(ROOM, OPENED, HELD).when(hold(BOB).decide).then_fails(Refused)
        given(ROOM, OPENED, HELD).when(hold(ANN).decide).then_nothing()
        given(ROOM, OPENED, HELD, FREED).when(hold(ANN).decide).then(HELD)
        given(ROOM).when(hold(ANN).decide).then_fails(Refused, "no such room")

    def test_free(self):
        given(ROOM, OPENED, HELD).when(free(ANN).decide).then(FREED)
        given(ROOM, OPENED, HELD).when(free(BOB).decide).then_nothing()
