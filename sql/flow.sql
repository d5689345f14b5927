-- Who sends what to whom, how fast, and where it fails; and what is wrong, asked for once.
CREATE EXTENSION ecommerce;
SELECT message_bus.create_endpoint('orders'), message_bus.create_endpoint('payment'),
	message_bus.create_endpoint('mail');

-- Nothing was sent.
SELECT count(*) FROM message_bus.flow();
SELECT message_bus.flow(0);
SELECT message_bus.flow(NULL);
SELECT message_bus.flow(1001);

-- The shop sends an order; what answers it names what it answers, and so is known to consume.
BEGIN;
SET LOCAL ecommerce.source = 'Shop';
SELECT count(message_bus.send('orders', 'OrderSubmitted', '{}')) FROM generate_series(1, 3);
COMMIT;
DO $$
DECLARE
	m record;
BEGIN
	PERFORM set_config('ecommerce.source', 'OrderService', true);
	FOR m IN SELECT * FROM message_bus.receive('orders', 10) LOOP
		PERFORM ecommerce.set_context(m.correlation_id, m.message_id);
		PERFORM message_bus.send('payment', 'ProcessPayment', '{}');
		PERFORM message_bus.ack(m.delivery_id);
	END LOOP;
END
$$;
DO $$
DECLARE
	m record;
BEGIN
	FOR m IN SELECT * FROM message_bus.receive('payment', 2) LOOP
		PERFORM message_bus.fail(m.delivery_id, 'away', 'the provider is away', false);
	END LOOP;
END
$$;
SELECT source, consumes, endpoint, message_type, messages, per_s > 0 AS goes,
	now() - newest_at < interval '5 min' AS lately, dead, dead_capped, newest_error
FROM message_bus.flow();

-- Settled messages count, given up ones do not fail.
SELECT result, count(*) FROM message_bus.discard_matching('{"endpoint": "payment"}') GROUP BY 1;
SELECT endpoint, message_type, messages, dead FROM message_bus.flow();

-- A monitor may look, PUBLIC may not.
CREATE ROLE regress_flow_monitor IN ROLE ecommerce_monitor;
CREATE ROLE regress_flow_nobody;
SET ROLE regress_flow_monitor;
SELECT count(*) FROM message_bus.flow();
SET ROLE regress_flow_nobody;
SELECT count(*) FROM message_bus.flow();
RESET ROLE;
DROP ROLE regress_flow_monitor, regress_flow_nobody;

-- What is wrong is counted as it is given, and asked for if it is not.
SELECT problems_error, problems_warning
FROM ecommerce.overview('[{"severity": "error"}, {"severity": "error"}, {"severity": "warning"}]');
SELECT labels ->> 'severity' AS severity, value
FROM ecommerce.metrics('[{"severity": "error"}]') WHERE name = 'ecommerce_problems';
SELECT count(*) AS before FROM ecommerce.problems WHERE severity = 'error' \gset
SELECT problems_error AS found FROM ecommerce.overview() \gset
SELECT :found BETWEEN :before AND count(*) AS asked FROM ecommerce.problems
WHERE severity = 'error';

-- Many pages reach back over several tables of the ring.
SELECT message_bus.create_endpoint('many', lanes => 1);
SELECT count(message_bus.send('many', 'Many', '{}')) FROM generate_series(1, 3000);
SELECT endpoint, messages BETWEEN 20 AND 200 AS few FROM message_bus.flow(1) ORDER BY 1;
SELECT endpoint, sum(messages) FROM message_bus.flow(1000) GROUP BY 1 ORDER BY 1;
