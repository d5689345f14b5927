-- What gallery.pl shows when all around the shop is wrong.
CREATE TABLE held (n int);
SELECT message_bus.create_endpoint('abroad', forward_to => 'warehouse'),
	message_bus.create_endpoint('to-broker', forward_to => 'rabbit');
SELECT message_bus.send('abroad', 'Pick', '{}') FROM generate_series(1, 3);
SELECT message_bus.create_link('from-warehouse', 'warehouse', 'to-shop'),
	message_bus.create_link('from-billing', 'billing', 'to-shop'),
	message_bus.create_link('from-archive', 'archive', 'to-shop'),
	message_bus.create_link('from-partner', 'partner', 'to-shop');
SELECT message_bus.pause_link('from-archive');
UPDATE message_bus.link SET heard_at = now() - interval '3 hours', created_at = now() - interval '9 days'
WHERE name <> 'from-partner';
INSERT INTO message_bus.link_lane (link_id, lane, position, error_code, error, lost_at)
SELECT l.link_id, 0, 4711, 'MB008', 'the source is older than what was accepted of it', now() - interval '2 hours'
FROM message_bus.link l WHERE l.name = 'from-billing';
SELECT message_bus.create_bridge('rabbit', 'masstransit', '{"endpoint": "to-broker", "queue": "shop"}');
UPDATE message_bus.bridge SET created_at = now() - interval '2 days', heard_out_at = now();
SELECT event_store.create_sink('orders', 'kafka', '{"broker": "kafka"}', 'order'),
	event_store.create_sink('audit', 'jetstream', '{"broker": "nats"}'),
	event_store.create_sink('reports', 'kafka', '{"broker": "kafka"}');
UPDATE event_store.sink SET heard_at = now(), created_at = now() - interval '9 days';
UPDATE event_store.sink SET lost = true, error = 'the topic has position 99, this database is at 12',
	error_at = now() - interval '20 min' WHERE name = 'orders';
UPDATE event_store.sink SET error = 'no broker answers: 10.0.0.7:4222 refused the connection',
	error_at = now() - interval '5 min' WHERE name = 'audit';
ALTER DATABASE shop SET ecommerce.long_transaction = '2s';
ALTER DATABASE shop SET ecommerce.disk_low = 100;
SELECT pg_create_physical_replication_slot('left', true);
ALTER SYSTEM SET archive_command = 'false';
SELECT pg_reload_conf();
