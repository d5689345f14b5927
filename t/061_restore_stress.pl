# A dump restored into a running server, whose worker starts in the middle and whose
# consumers keep polling, loses, doubles, reorders and passes over nothing: messages that
# wait, are scheduled, leased, retrying, dead; segments of the ring; events of a
# subscription and of projections; sagas with their timers, those that come due meanwhile
# and those that are far away. However it is restored. RESTORES=100 does so a hundred times.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
max_connections = 60
message_bus.dedupe_window = '300ms'
saga.log_transitions = off
EOT
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('postgres', 'ALTER DATABASE shop SET saga.workers = 0');
$node->safe_psql('shop', <<'EOT');
CREATE EXTENSION ecommerce;
SELECT message_bus.create_endpoint('plain', 4,
	'{"kind": "interval", "limit": 5, "interval": "1 ms"}', '{"kind": "none"}'),
	message_bus.create_endpoint('bulk', 4), message_bus.create_endpoint('unread'),
	message_bus.create_endpoint('later', 2,
		'{"kind": "interval", "limit": 5, "interval": "1 day"}');
SELECT message_bus.subscribe('plain', 'Happened');
SELECT event_store.create_subscription('mailer', 'letter', partitions => 2);
CREATE TABLE tally (stream text PRIMARY KEY, n int);
CREATE TABLE tally_inline (LIKE tally INCLUDING ALL);
CREATE FUNCTION tally(event event_store.event) RETURNS void LANGUAGE sql
AS $$ INSERT INTO public.tally AS t VALUES ((event).stream, 1)
	ON CONFLICT (stream) DO UPDATE SET n = t.n + 1 $$;
CREATE FUNCTION tally_inline(event event_store.event) RETURNS void LANGUAGE sql
AS $$ INSERT INTO public.tally_inline AS t VALUES ((event).stream, 1)
	ON CONFLICT (stream) DO UPDATE SET n = t.n + 1 $$;
SELECT event_store.create_projection('tally', 'tally(event_store.event)', 'letter',
	tables => '{tally}');
SELECT event_store.create_projection('inline', 'tally_inline(event_store.event)', 'letter',
	mode => 'inline', tables => '{tally_inline}');
SELECT event_store.append('letter-' || n % 10, -1, 'Written', '{}')
	FROM generate_series(1, 500) n;
SELECT saga.define('alarm', '{"endpoint": "alarm", "initial": "Waiting",
	"events": {"Set": {"correlate": "$.message.id"}},
	"start": {"Set": {"goto": "Waiting", "schedule": [{"timer": "alarm",
		"delay": {"$path": "$.message.delay", "default": "1 ms"}}]}},
	"states": {"Waiting": {"default": "ignore", "on": {"timer:alarm": {"goto": "Rung"}}},
		"Rung": {"kind": "final", "default": "ignore"}}}');
EOT
ok( $node->poll_query_until('shop',
		"SELECT lag_events = 0 FROM event_store.projections WHERE name = 'tally'"),
	'the projection is up to date');
# Each in a transaction of its own.
$node->safe_psql('shop', $_) for (
	"SELECT event_store.pause_projection('tally')",
	q{SELECT event_store.append('letter-' || n % 10, -1, 'Written', '{}')
		FROM generate_series(1, 2500) n},
	# Two segments and a bit, consumed in part.
	(   map {
			(qq{SELECT count(message_bus.send(e, 'T', jsonb_build_object('n', n,
					'text', repeat('x', 300)), partition_key => (n % 16)::text))
				FROM generate_series($_ * 3000 + 1, $_ * 3000 + 3000) n,
					unnest('{bulk,unread}'::text[]) e},
				q{SELECT count(message_bus.ack(delivery_id))
				FROM message_bus.receive('bulk', 2000)})
		} 0, 1),
	q{SELECT message_bus.send('plain', 'T', '{}') FROM generate_series(1, 20)},
	q{SELECT message_bus.ack(delivery_id) FROM message_bus.receive('plain', 3)},
	q{SELECT message_bus.fail(delivery_id, 'E', 'dead', false)
		FROM message_bus.receive('plain', 1)},
	q{SELECT count(*) FROM message_bus.receive('plain', 2, '1 s')},
	q{SELECT message_bus.fail(delivery_id, 'E', 'later') FROM message_bus.receive('plain', 2)},
	q{SELECT message_bus.send('plain', 'T', '{}', deliver_at => clock_timestamp() + '10 ms')
		FROM generate_series(1, 5)},
	q{SELECT count(message_bus.publish('Set', jsonb_build_object('id', md5('far' || n)::uuid,
			'delay', '1 day'))) FROM generate_series(1, 5) n},
	'SELECT saga.run(100)',
	q{SELECT count(message_bus.publish('Set', jsonb_build_object('id', md5(n::text)::uuid)))
		FROM generate_series(1, 20) n},
	'SELECT saga.run(10)',
	# What nobody touches, and must be as it was.
	q{SELECT message_bus.send('later', 'T', jsonb_build_object('n', n), partition_key => n::text)
		FROM generate_series(1, 20) n},
	q{SELECT message_bus.fail(delivery_id, 'E', 'later') FROM message_bus.receive('later', 4)},
	q{SELECT message_bus.fail(delivery_id, 'E', 'dead', false)
		FROM message_bus.receive('later', 2)},
	q{SELECT count(*) FROM message_bus.receive('later', 3, '1 day')},
	q{SELECT message_bus.send('later', 'T', jsonb_build_object('n', n),
			deliver_at => clock_timestamp() + '1 day') FROM generate_series(100, 104) n},
	# As a dump finds it while it runs.
	q{UPDATE event_store.projection_progress SET paused = false WHERE name = 'tally'});
my $waiting = $node->safe_psql('shop', q{SELECT sum(depth + scheduled + retrying)
	FROM message_bus.endpoints WHERE name IN ('plain', 'bulk')});
my $unread = $node->safe_psql('shop',
	q{SELECT depth FROM message_bus.endpoints WHERE name = 'unread'});
# Message by message: where it is, how often it was tried, when it comes.
my $later = q{SELECT string_agg(concat_ws(' ', p.state, p.message_id, p.lane, p.attempt, p.due_at,
		p.leased_until, p.error_code), E'\n' ORDER BY p.message_id)
	FROM message_bus.peek('later', max => 1000) p
	UNION ALL SELECT string_agg(concat_ws(' ', d.message_id, d.reason, d.error_code, d.attempts),
		E'\n' ORDER BY d.message_id) FROM message_bus.dead_letters d WHERE d.endpoint = 'later'
	UNION ALL SELECT string_agg(concat_ws(' ', t.correlation_id, t.timer, t.due_at), E'\n'
		ORDER BY t.correlation_id) FROM saga.timers t WHERE t.due_at > now() + interval '1 h'};
my $as_it_was = $node->safe_psql('shop', $later);
my %states;
$states{ (split ' ')[0] }++ for split /\n/, $as_it_was;
is_deeply([ @states{qw(leased retrying scheduled)} ], [ 3, 4, 5 ],
	'messages are leased, wait for a retry, are scheduled');
is(scalar(() = $as_it_was =~ / alarm /g), 5, 'and timers are far away');

my $custom = $node->basedir . '/shop.dump';
my $plain = $node->basedir . '/shop.sql';
my $directory = $node->basedir . '/shop.directory';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $custom, '-d', $node->connstr('shop') ], 'pg_dump');
$node->command_ok([ 'pg_dump', '-Fd', '-f', $directory, '-d', $node->connstr('shop') ],
	'pg_dump -Fd');
$node->command_ok([ 'pg_dump', '-f', $plain, '-d', $node->connstr('shop') ], 'pg_dump, plain');

# What others see while somebody fills a table.
my $filler = $node->background_psql('shop', on_error_stop => 1);
$filler->query_safe('INSERT INTO message_bus.lease TABLE message_bus.lease LIMIT 0');
my $pid = $filler->query_safe('SELECT pg_backend_pid()');
like($node->safe_psql('shop', 'SELECT pid, application_name FROM ecommerce.restores'), qr/^$pid\|/,
	'a session that fills a table shows');
is( $node->safe_psql('shop', q{
		SELECT count(*) FROM message_bus.receive('plain');
		SELECT count(*) FROM event_store.fetch('mailer');
		CALL message_bus.wait('plain', '10 ms')}),
	"0\n0\nf", 'nobody gets anything');
for my $call (
	q{message_bus.send('plain', 'T', '{}')},
	q{event_store.append('letter-1', -1, 'Written', '{}')},
	q{message_bus.create_endpoint('more')}, q{saga.create('alarm', gen_random_uuid())})
{
	my ($code, $out, $error) = $node->psql('shop', "\\set VERBOSITY sqlstate\nSELECT $call");
	like($error, qr/55006/, "$call is refused");
}
my $handling = $node->background_psql('shop', on_error_stop => 0);
$node->safe_psql('shop', 'SELECT ecommerce.restore_done()');
is($node->safe_psql('shop', 'SELECT count(*) FROM ecommerce.restores'), 0,
	'it can be ended by hand');
$handling->query_safe("BEGIN; SELECT count(*) FROM message_bus.receive('plain', 1)");
$filler->query_safe('INSERT INTO message_bus.lease TABLE message_bus.lease LIMIT 0');
$filler->quit;
ok($node->poll_query_until('shop', 'SELECT count(*) = 0 FROM ecommerce.restores'),
	'or ends with the session');
like(($handling->query('COMMIT'))[0] . $handling->{stderr}, qr/have been restored meanwhile/,
	'who received before cannot settle afterwards');
$handling->quit;
is($node->safe_psql('shop', q{SELECT sum(depth + scheduled + retrying) FROM message_bus.endpoints
	WHERE name IN ('plain', 'bulk')}), $waiting, 'all is loaded anew');

# Consumers that have always been there.
$node->safe_psql('postgres', 'CREATE DATABASE polled');
$node->safe_psql('polled', <<'EOT');
CREATE SCHEMA poll;
CREATE TABLE poll.stop (at timestamptz);
CREATE TABLE poll.got (id bigserial, endpoint text, message_id uuid, key text, n int);
CREATE TABLE poll.event (id bigserial, stream text, position bigint);
CREATE PROCEDURE poll.run() LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT EXISTS (SELECT FROM poll.stop) LOOP
		BEGIN
			WITH r AS MATERIALIZED (
				SELECT r.* FROM unnest('{plain,bulk}'::text[]) e, message_bus.receive(e, 100) r),
			a AS MATERIALIZED (SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM r
				HAVING count(*) > 0)
			INSERT INTO poll.got (endpoint, message_id, key, n)
				SELECT r.endpoint, r.message_id, r.partition_key, (r.body ->> 'n')::int FROM r, a
				ORDER BY r.delivery_id;
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
		COMMIT;
		BEGIN
			WITH f AS MATERIALIZED (SELECT f.stream, f.position
				FROM event_store.fetch('mailer', 100) f),
			a AS MATERIALIZED (SELECT event_store.advance('mailer', max(f.position)) FROM f
				HAVING count(*) > 0)
			INSERT INTO poll.event (stream, position) SELECT f.stream, f.position FROM f, a
				ORDER BY f.position;
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
		COMMIT;
	END LOOP;
END $$;
EOT

my @ways = (
	[ 'pg_restore', '--exit-on-error', $custom ],
	[ 'pg_restore', '--exit-on-error', '-j', '4', $directory ],
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $plain ],
	[ 'pg_restore', '--exit-on-error', '-j', '2', $custom ],
	[ 'pg_restore', '--exit-on-error', '--single-transaction', $custom ],
	[ 'pg_restore', '--exit-on-error', '-j', '8', $directory ],
	[   'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '--single-transaction',
		'-f', $plain ]);
my $rounds = $ENV{RESTORES} || @ways;

sub restore
{
	my ($round) = @_;
	my ($command, @arguments) = @{ $ways[ $round % @ways ] };
	my $name = "copy$round";
	my $what = "round $round, " . join ' ', $command, grep { !m{/} } @arguments;
	my @pollers;
	my $problems = 0;

	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE polled");
	for (1 .. 2)
	{
		my $poller = $node->background_psql($name, on_error_die => 1);

		$poller->query_until(qr/polling/, "\\echo polling\nCALL poll.run();\n");
		push @pollers, $poller;
	}
	my ($out, $err) = run_command([ $command, '-d', $node->connstr($name), @arguments ]);

	is($err, '', "$what: without an error");
	# All comes, soon or never: what is lost is so by now.
	my %wanted = (
		'messages that waited' => [ 'SELECT count(*) FROM poll.got', $waiting ],
		'events of the subscription' => [ 'SELECT count(*) FROM poll.event', 3000 ],
		'the async projection' => [ "SELECT sum(n) FROM tally", 3000 ],
		'sagas and their timers' =>
		  [ "SELECT count(*) FROM saga.instances WHERE current_state = 'Rung'", 20 ]);

	for my $thing (sort keys %wanted)
	{
		my ($query, $right) = @{ $wanted{$thing} };

		$node->poll_query_until($name, "SELECT ($query) >= $right") if !$problems;
		is($node->safe_psql($name, $query), $right, "$what: $thing") or $problems++;
	}
	$node->safe_psql($name, 'INSERT INTO poll.stop VALUES (now())');
	$_->quit for @pollers;
	is( $node->safe_psql($name, q{SELECT count(*) - count(DISTINCT (endpoint, message_id))
			FROM poll.got UNION ALL SELECT count(*) - count(DISTINCT position) FROM poll.event}),
		"0\n0", "$what: nothing twice");
	# Of a key in the order of sending, of a stream in that of positions. What was leased, or
	# failed, at plain may come later.
	is( $node->safe_psql($name, q{
			SELECT key, before, n FROM (SELECT key, n, lag(n) OVER (PARTITION BY key ORDER BY id)
				AS before FROM poll.got WHERE endpoint = 'bulk') b WHERE n < before
			UNION ALL SELECT stream, before, position FROM (SELECT stream, position,
				lag(position) OVER (PARTITION BY stream ORDER BY id) AS before
				FROM poll.event) e WHERE position < before}),
		'', "$what: nothing out of its order");
	is($node->safe_psql($name, $later), $as_it_was, "$what: what has time is as it was");
	is( $node->safe_psql($name, q{SELECT saga.fire_due(now() + interval '2 days');
			SELECT count(*) FROM saga.instances WHERE current_state = 'Rung'}) =~ s/.*\n//sr,
		25, "$what: and timers fire when they are due");
	is($node->safe_psql($name, 'SELECT sum(n) FROM tally_inline'), 3000,
		"$what: the inline projection");
	# The worker goes through the ring a few times.
	$node->safe_psql($name, q{SELECT message_bus.maintain() FROM generate_series(1, 3)});
	is( $node->safe_psql($name, q{SELECT name, depth + scheduled + retrying, dead
			FROM message_bus.endpoints WHERE name NOT IN ('alarm', 'later') ORDER BY name}),
		"bulk|0|0\nplain|0|1\nunread|$unread|0", "$what: what nobody has read is still there");
	is( $node->safe_psql($name, q{SELECT * FROM event_store.verify()
			UNION ALL SELECT * FROM message_bus.verify()}),
		'', "$what: all fits together");
	is($node->safe_psql($name, 'SELECT count(*) FROM ecommerce.restores'), 0,
		"$what: no restore goes on");
	$node->safe_psql('postgres', "DROP DATABASE $name");
	return;
}

restore($_) for 0 .. $rounds - 1;
$node->stop;
done_testing();
