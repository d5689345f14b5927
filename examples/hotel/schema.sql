-- The hotel's contracts, read model and endpoints; psql -f schema.sql, once.

CREATE SCHEMA hotel;

-- Events of a room, and the messages about bookings.
CREATE DOMAIN hotel.name AS text NOT NULL CHECK (VALUE <> '');
CREATE DOMAIN hotel.day AS date NOT NULL;
CREATE DOMAIN hotel.id AS uuid NOT NULL;
CREATE TYPE hotel.room_opened AS (beds int);
CREATE TYPE hotel.night_held AS (booking hotel.id, night hotel.day, guest hotel.name);
CREATE TYPE hotel.night_freed AS (booking hotel.id, night hotel.day);
CREATE TYPE hotel.booking_requested AS (booking hotel.id, room hotel.name, night hotel.day,
	guest hotel.name, card text);
CREATE TYPE hotel.room_command AS (booking hotel.id, room hotel.name, night hotel.day,
	guest text, key hotel.id);
CREATE TYPE hotel.charge_card AS (booking hotel.id, card text, key hotel.id);
CREATE TYPE hotel.answer AS (booking hotel.id, key hotel.id);
SELECT event_store.register_event_type(type, contract::regtype) FROM (VALUES
	('RoomOpened', 'hotel.room_opened'), ('NightHeld', 'hotel.night_held'),
	('NightFreed', 'hotel.night_freed'), ('BookingRequested', 'hotel.booking_requested'),
	('HoldRoom', 'hotel.room_command'), ('FreeRoom', 'hotel.room_command'),
	('ChargeCard', 'hotel.charge_card'), ('RoomHeld', 'hotel.answer'),
	('RoomRefused', 'hotel.answer'), ('RoomFreed', 'hotel.answer'),
	('CardCharged', 'hotel.answer'), ('CardRefused', 'hotel.answer')) t (type, contract);

-- A projection in SQL: the database keeps it up to date. How often a room was booked.
CREATE TABLE hotel.demand (room text PRIMARY KEY, bookings int NOT NULL);
CREATE FUNCTION hotel.project_demand(event event_store.event) RETURNS void LANGUAGE sql AS $$
	INSERT INTO hotel.demand AS d VALUES (event.stream, 1)
	ON CONFLICT (room) DO UPDATE SET bookings = d.bookings + 1
$$;
SELECT event_store.create_projection('demand', 'hotel.project_demand(event_store.event)',
	category => 'room', event_types => '{NightHeld}', tables => '{hotel.demand}');

-- Kept by the subscription of the programs.
CREATE TABLE hotel.occupancy (room text, night date, guest text NOT NULL,
	PRIMARY KEY (room, night));
