# A dump restored into a running server, whose worker starts in the middle and whose
# consumers keep polling, loses, doubles and passes over nothing: messages that wait, are
# scheduled, leased, retrying, dead; segments of the ring; events of a subscription and of
# projections; sagas with their timers. However it is restored. RESTORES=100 does so a
# hundred times.
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
	message_bus.create_endpoint('bulk', 4), message_bus.create_endpoint('unread');
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
	"start": {"Set": {"goto": "Waiting", "schedule": [{"timer": "alarm", "delay": "1 ms"}]}},
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
	(   q{SELECT count(message_bus.send(e, 'T', jsonb_build_object('text', repeat('x', 300))))
			FROM generate_series(1, 3000) n, unnest('{bulk,unread}'::text[]) e},
		q{SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('bulk', 2000)}) x 2,
	q{SELECT message_bus.send('plain', 'T', '{}') FROM generate_series(1, 20)},
	q{SELECT message_bus.ack(delivery_id) FROM message_bus.receive('plain', 3)},
	q{SELECT message_bus.fail(delivery_id, 'E', 'dead', false)
		FROM message_bus.receive('plain', 1)},
	q{SELECT count(*) FROM message_bus.receive('plain', 2, '1 s')},
	q{SELECT message_bus.fail(delivery_id, 'E', 'later') FROM message_bus.receive('plain', 2)},
	q{SELECT message_bus.send('plain', 'T', '{}', deliver_at => clock_timestamp() + '10 ms')
		FROM generate_series(1, 5)},
	q{SELECT count(message_bus.publish('Set', jsonb_build_object('id', md5(n::text)::uuid)))
		FROM generate_series(1, 20) n},
	'SELECT saga.run(10)',
	# As a dump finds it while it runs.
	q{UPDATE event_store.projection_progress SET paused = false WHERE name = 'tally'});
my $waiting = $node->safe_psql('shop', q{SELECT sum(depth + scheduled + retrying)
	FROM message_bus.endpoints WHERE name IN ('plain', 'bulk')});
my $unread = $node->safe_psql('shop',
	q{SELECT depth FROM message_bus.endpoints WHERE name = 'unread'});

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
CREATE TABLE poll.got (endpoint text, message_id uuid);
CREATE TABLE poll.event (position bigint);
CREATE PROCEDURE poll.run() LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT EXISTS (SELECT FROM poll.stop) LOOP
		BEGIN
			WITH r AS MATERIALIZED (
				SELECT r.* FROM unnest('{plain,bulk}'::text[]) e, message_bus.receive(e, 100) r),
			a AS MATERIALIZED (SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM r
				HAVING count(*) > 0)
			INSERT INTO poll.got SELECT r.endpoint, r.message_id FROM r, a;
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
		COMMIT;
		BEGIN
			WITH f AS MATERIALIZED (SELECT f.position FROM event_store.fetch('mailer', 100) f),
			a AS MATERIALIZED (SELECT event_store.advance('mailer', max(f.position)) FROM f
				HAVING count(*) > 0)
			INSERT INTO poll.event SELECT f.position FROM f, a;
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
	[ 'pg_restore', '--exit-on-error', '-j', '8', $directory ]);
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
	is($node->safe_psql($name, 'SELECT sum(n) FROM tally_inline'), 3000,
		"$what: the inline projection");
	# The worker goes through the ring a few times.
	$node->safe_psql($name, q{SELECT message_bus.maintain() FROM generate_series(1, 3)});
	is( $node->safe_psql($name, q{SELECT name, depth + scheduled + retrying, dead
			FROM message_bus.endpoints WHERE name <> 'alarm' ORDER BY name}),
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
