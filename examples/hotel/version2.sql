-- Version 2 of NightHeld: a guest has a name and a language. Events of version 1 stay as they are,
-- and are read as version 2. Run it before the programs that write version 2 are started.

CREATE TYPE hotel.guest AS (name hotel.name, language text);
CREATE TYPE hotel.night_held_2 AS (booking hotel.id, night hotel.day, guest hotel.guest);
SELECT event_store.register_event_type('NightHeld', 'hotel.night_held_2', 2);
CREATE FUNCTION hotel.night_held_to_2(data jsonb) RETURNS jsonb LANGUAGE sql
RETURN data || jsonb_build_object('guest', jsonb_build_object('name', data -> 'guest',
	'language', null));
SELECT event_store.register_upcaster('NightHeld', 1, 'hotel.night_held_to_2(jsonb)');
