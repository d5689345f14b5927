"""A hotel: rooms are booked by a saga, which holds the night and charges the card, and frees the
night again when the card is refused. Usage: python3 hotel.py
    install | open ROOM BEDS | book ROOM NIGHT GUEST CARD | serve
"""
import json
import sys
from pathlib import Path
from uuid import uuid4

from ecommerce_client import NEW, Context, Decider, NewEvent, connect


# ------------------------------------------------------------------ the room, an aggregate
class Refused(Exception):
    pass


def evolve(room, event):
    data = event.data
    if event.type == "RoomOpened":
        return {**room, "open": True}
    if event.type == "NightHeld":
        return {**room, "nights": {**room["nights"], data["night"]: data["booking"]}}
    nights = {night: b for night, b in room["nights"].items() if night != data["night"]}
    return {**room, "nights": nights}


def room_that(decide):
    return Decider({"open": False, "nights": {}}, evolve, decide)


def hold(command):
    """The same booking again gives the same answer: a command may come twice."""
    booking, night = command["booking"], command["night"]

    def decide(room, at):
        if not room["open"]:
            raise Refused("there is no such room")
        if room["nights"].get(night) == booking:
            return None
        if night in room["nights"]:
            raise Refused("that night is taken")
        return NewEvent("NightHeld", {"booking": booking, "night": night, "guest": {
            "name": command["guest"], "language": "en"}})
    return room_that(decide)


def free(command):
    booking, night = command["booking"], command["night"]
    return room_that(lambda room, at: NewEvent("NightFreed", {
        "booking": booking, "night": night}) if room["nights"].get(night) == booking else None)


# ------------------------------------------------------------------ services that the saga asks
def answer(tx, type, body):
    tx.bus.publish(type, {"booking": body["booking"], "key": body["key"]}, key=body["booking"])


def hold_room(message, tx):
    body = message.body
    try:
        tx.store.handle(f"room-{body['room']}", hold(body))
        answer(tx, "RoomHeld", body)
    except Refused:
        answer(tx, "RoomRefused", body)


def free_room(message, tx):
    tx.store.handle(f"room-{message.body['room']}", free(message.body))
    answer(tx, "RoomFreed", message.body)


def charge_card(message, tx):
    stolen = message.body["card"] == "stolen"
    answer(tx, "CardRefused" if stolen else "CardCharged", message.body)


def occupy(event, tx):
    if event.type == "NightHeld":
        tx.query("INSERT INTO hotel.occupancy VALUES (%s, %s, %s)",
                 [event.stream, event.data["night"], event.data["guest"]["name"]])
    elif event.type == "NightFreed":
        tx.query("DELETE FROM hotel.occupancy WHERE room = %s AND night = %s",
                 [event.stream, event.data["night"]])


# ------------------------------------------------------------------ the programs
def install(db):
    db.bus.create_endpoint("rooms")
    db.bus.create_endpoint("cards")
    db.store.create_subscription("occupancy", category="room", partitions=8)
    definition = Path(__file__).resolve().parent.parent / "booking.json"
    db.saga.define("booking", json.loads(definition.read_text()))


def open_room(db, name, beds):
    db.store.append(f"room-{name}", NEW, NewEvent("RoomOpened", {"beds": int(beds)}))


def book(db, name, night, guest, card):
    booking = str(uuid4())
    db.tx(Context(correlation_id=booking, user_id=guest), lambda tx: tx.bus.publish(
        "BookingRequested", {"booking": booking, "room": name, "night": night, "guest": guest,
                             "card": card}))
    print(booking)


def serve(db):
    db.bus.consume("rooms", {"HoldRoom": hold_room, "FreeRoom": free_room}, concurrency=2)
    db.bus.consume("cards", {"ChargeCard": charge_card})
    db.store.subscribe("occupancy", occupy, category="room", concurrency=2)
    db.until_signal()


COMMANDS = {"install": install, "open": open_room, "book": book, "serve": serve}

if __name__ == "__main__":
    with connect(max_size=12, source="hotel") as client:
        COMMANDS[sys.argv[1]](client, *sys.argv[2:])
