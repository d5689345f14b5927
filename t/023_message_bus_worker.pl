# What the background worker does for the bus: timers, expiry, leases, notifications,
# and a ring that stays small under somebody else's snapshot.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
message_bus.dedupe_window = 500ms
log_statement = none
EOT
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION ecommerce;
	SELECT message_bus.create_endpoint('q', 4,
		'{"kind": "interval", "limit": 5, "interval": "300 ms"}'),
		message_bus.create_endpoint('idle')});

sub sql { return $node->safe_psql('postgres', @_); }

# ---------------------------------------------------------------- timers

# A waiting consumer is woken by a commit, and by a message that becomes due.
my $waiter = $node->background_psql('postgres');
sub wait_and_get
{
	my ($send) = @_;
	my $timer = IPC::Run::timer(60);
	$waiter->query_safe('SELECT pg_backend_pid()') =~ /(\d+)/;
	my $pid = $1;

	$waiter->query_until(qr/^waits$/m, "\\echo waits\nCALL message_bus.wait('q', '30 s');\n");
	ok( $node->poll_query_until('postgres',
			"SELECT wait_event = 'Extension' AND backend_xmin IS NULL FROM pg_stat_activity
				WHERE pid = $pid"),
		'the consumer waits, without a snapshot');
	sql($send);
	return $waiter->query_safe(q{
		SELECT extract(epoch FROM clock_timestamp() - coalesce(r.deliver_at, r.sent_at)),
			message_bus.ack(r.delivery_id) FROM message_bus.receive('q') r});
}

my $got = wait_and_get(q{SELECT message_bus.send('q', 'T', '{}')});
like($got, qr/\|1$/m, 'sent: it was woken and got the message');
$got = wait_and_get(q{SELECT message_bus.send('q', 'T', '{}',
	deliver_at => clock_timestamp() + '500 ms')});
like($got, qr/^0\.\d+\|1$/m, 'scheduled: it was woken when the message was due, not before');
$waiter->quit;

# ---------------------------------------------------------------- notifications

my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN "message_bus.q"');
sql(q{SELECT message_bus.send('q', 'T', '{}') FROM generate_series(1, 3)});
like($listener->query_until(qr/notification/, "SELECT pg_sleep(0.1);\n" x 100),
	qr/Asynchronous notification "message_bus.q" with payload "3"/,
		'listeners are told how much there is');
is(sql(q{SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('q')}), '3',
	'and it is there');
sql(q{SELECT message_bus.send('q', 'T', '{}', deliver_at => clock_timestamp() + '300 ms')});
like($listener->query_until(qr/payload "1"/, "SELECT pg_sleep(0.1);\n" x 100),
	qr/payload "1"/, 'also when a scheduled message becomes due');
is(sql(q{SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('q')}), '1',
	'and it is there');
$listener->quit;

# ---------------------------------------------------------------- expiry, leases

sql(q{
	SELECT message_bus.send('q', 'T', '{}', expires_at => clock_timestamp() + '200 ms')
		FROM generate_series(1, 3);
	SELECT message_bus.send('q', 'T', '{}', expires_at => clock_timestamp() + '200 ms',
		deliver_at => '2100-01-01');
	SELECT message_bus.send('q', 'Stays', '{}')});
ok( $node->poll_query_until('postgres',
		q{SELECT dead = 4 AND depth = 1 AND scheduled = 0 FROM message_bus.endpoints
			WHERE name = 'q'}),
	'expired messages become dead letters, though nobody receives');
is( sql(q{SELECT reason, count(*), bool_and(last_failed_at >= (message).expires_at)
	FROM message_bus.dead_letters GROUP BY 1}),
	'expired|4|t', 'and not before their time');
is(sql(q{SELECT message_type, message_bus.ack(delivery_id) FROM message_bus.receive('q')}),
	'Stays|1', 'the others are received');
is(sql(q{SELECT depth FROM message_bus.endpoints WHERE name = 'q'}), '0',
	'what has expired counts no more');
is(sql(q{SELECT count(*) FROM message_bus.passed}), '0',
	'and is forgotten when the cursor has passed it');

sql(q{SELECT message_bus.send('q', 'T', '{}')});
sql(q{SELECT count(*) FROM message_bus.receive('q', 1, '200 ms')});
ok( $node->poll_query_until('postgres', q{SELECT retrying + depth = 1 AND in_flight = 0
	FROM message_bus.endpoints WHERE name = 'q'}),
	'a lease that has expired is a failed attempt');
ok( $node->poll_query_until('postgres', q{SELECT depth = 1 FROM message_bus.endpoints
	WHERE name = 'q'}),
	'and is retried in its time');
is(sql(q{SELECT attempt, message_bus.ack(delivery_id) FROM message_bus.receive('q')}), '2|1',
	'as the second one');

# ---------------------------------------------------------------- the ring

# A snapshot that is held open keeps nothing from being truncated.
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
my $segments = join ' UNION ALL ', map { "SELECT pg_table_size('message_bus.ring_$_') AS size" } 0
	.. 7;
my $most = 0;
for my $round (1 .. 12)
{
	sql(q{SELECT count(message_bus.send('q', 'T', jsonb_build_object('text', repeat('x', 100)),
		partition_key => i::text)) FROM generate_series(1, 10000) i});
	is(sql(q{WITH r AS MATERIALIZED (SELECT delivery_id FROM message_bus.receive('q', 20000))
		SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM r}), '10000',
			"round $round is consumed");
	my $used = sql("SELECT count(*) FROM ($segments) s WHERE size > 100000");
	$most = $used if $used > $most;
	sql(q{SELECT pg_sleep(0.3)});
}
cmp_ok($most, '<=', 3, 'few segments are in use at any time');
ok( $node->poll_query_until('postgres', "SELECT sum(size) < 10000000 FROM ($segments) s"),
	'what is consumed is truncated, the snapshot notwithstanding');
cmp_ok(sql(q{SELECT pg_total_relation_size('message_bus.lane') +
	pg_total_relation_size('message_bus.ack_0') + pg_total_relation_size('message_bus.ack_1')}),
	'<', 1000000, 'cursors do not pile up');

# Whoever reads nothing must not hold the ring up: his messages are carried along.
sql(q{SELECT message_bus.send('idle', 'T', jsonb_build_object('n', i), partition_key => 'k')
	FROM generate_series(1, 5) i});
my $filler = q{SELECT count(message_bus.send('q', 'T', jsonb_build_object('text', repeat('x',
	100)))) FROM generate_series(1, 10000) i;
	WITH r AS MATERIALIZED (SELECT delivery_id FROM message_bus.receive('q', 20000))
		SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM r;};
$old->query_safe('COMMIT');
sql($filler);
my $where = join ' UNION ALL ', map { "SELECT $_ AS segment FROM message_bus.ring_$_
	JOIN message_bus.endpoint USING (endpoint_id) WHERE name = 'idle'" } 0 .. 7;
my $first = sql("SELECT DISTINCT segment FROM ($where) w");
like($first, qr/^\d$/, 'messages of the idle endpoint lie in one segment');
my $moved = 0;
for (1 .. 60)
{
	sql($filler);
	sql(q{SELECT pg_sleep(0.2)});
	$moved = sql("SELECT count(*) = 5 AND bool_and(segment <> $first) FROM ($where) w") eq 't';
	last if $moved;
}
ok($moved, 'they have moved, and the segment was truncated');
is( sql(q{SELECT string_agg(body->>'n', ' ' ORDER BY delivery_id)
	FROM message_bus.receive('idle')}),
	'1 2 3 4 5', 'and are delivered once, in order');
$old->quit;

# Who has nothing to do costs nothing.
my ($pid) = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecommerce worker'
	AND datname = 'postgres'});
ok($pid, 'there is a worker');
$node->stop;
done_testing();
