-- Waiting for what a process consumes, and for a projection to follow.

CREATE PROCEDURE event_store.wait_subscription(name text, timeout interval,
	INOUT ready boolean DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'event_store_wait_subscription';
COMMENT ON PROCEDURE event_store.wait_subscription(text, interval, boolean) IS
'Waits until fetch() has something to give on a partition that nobody holds: ready says whether. Woken by appends, and by consumers that let go of a partition. '
'Now and then ready is true and fetch() gives nothing: it has moved a checkpoint over events of others. At top level in autocommit only (25001); holds no snapshot meanwhile. SB001: no such subscription.';

CREATE PROCEDURE event_store.wait_projection(name text, at_position bigint, timeout interval,
	INOUT reached boolean DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'event_store_wait_projection';
COMMENT ON PROCEDURE event_store.wait_projection(text, bigint, interval, boolean) IS
'Waits until a projection has handled every event up to a position, such as the one that append() returned, so that who has written reads what he wrote: reached says whether, or the timeout has passed. '
'At top level in autocommit only (25001), after the append has committed; holds no snapshot meanwhile. ST012: no such projection.';

CREATE PROCEDURE ecommerce.wait(subscriptions text[], endpoints text[], timeout interval,
	INOUT ready text[] DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'ecommerce_wait';
COMMENT ON PROCEDURE ecommerce.wait(text[], text[], interval, text[]) IS
'Waits on one connection for all that a process consumes: until some subscription has something to fetch() or some endpoint something to receive(). ready: the names of those, in the order given, subscriptions first; empty at the timeout. '
'Woken by events, messages, timers of the bus, and by consumers that let go of a partition or a lane; it does not poll. Several processes may be woken for one thing, and the later ones get nothing. '
'At top level in autocommit only (25001); holds no snapshot meanwhile. SB001, MB001: no such subscription, endpoint. 22023: nothing is named.';
