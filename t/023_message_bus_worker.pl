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
message_bus.dedupe_window = 1h
log_statement = none
EOT
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION ecommerce;
	SELECT message_bus.create_endpoint('q', 4,
		'{"kind": "interval", "limit": 5, "interval": "300 ms"}'),
		message_bus.create_endpoint('later', 1,
			'{"kind": "interval", "limit": 5, "interval": "1 h"}'),
		message_bus.create_endpoint('idle'), message_bus.create_endpoint('leased', 1)});

sub sql { return $node->safe_psql('postgres', @_); }

sub session { return $node->background_psql('postgres', @_); }

# How long acked messages are known, and so how long the ring keeps them.
sub set_window
{
	my ($window) = @_;

	sql("ALTER SYSTEM SET message_bus.dedupe_window = '$window'");
	sql('SELECT pg_reload_conf()');
	ok( $node->poll_query_until('postgres',
			"SELECT current_setting('message_bus.dedupe_window') = '$window'"),
		"messages are known for $window");
	return;
}

# ---------------------------------------------------------------- timers

# A waiting consumer is woken by a commit, and by a message that becomes due.
my $waiter = session();
sub wait_and_get
{
	my ($send) = @_;
	my $timer = IPC::Run::timer(60);
	$waiter->query_safe('SELECT pg_backend_pid()') =~ /(\d+)/;
	my $pid = $1;

	$waiter->query_until(qr/^waits$/m, "\\echo waits\nCALL message_bus.wait('q', '10 min');\n");
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
like($got, qr/^\d+\.\d+\|1$/m, 'scheduled: it was woken when the message was due, not before');

# Whoever waits at a paused endpoint is woken when it can know that it is no longer
# paused: not yet when that is committed, but when other processes have heard of it.
sql(q{SELECT message_bus.create_endpoint('rested', 1), message_bus.pause('rested')});
sql(q{SELECT message_bus.send('rested', 'T', '{}')});
{
	my $state = q{SELECT count(*) = 1 FROM pg_stat_activity WHERE };
	my ($stopper, $resumer) = (session(), session());

	$waiter->query_until(qr/^waits$/m, "\\echo waits\nCALL message_bus.wait('rested', '1 h');\n");
	ok( $node->poll_query_until('postgres',
			$state . q{query LIKE '%wait(''rested''%' AND wait_event = 'Extension'}),
		'a consumer waits at a paused endpoint');
	$stopper->query_safe("SELECT pg_advisory_lock(hashtext('bus_committed')::bigint)");
	$resumer->query_until(qr/^resumes$/m, "\\echo resumes\nSELECT message_bus.resume('rested');\n");
	ok( $node->poll_query_until('postgres',
			$state . q{query LIKE '%resume(''rested''%' AND wait_event = 'advisory'}),
		'it is resumed by somebody who is held up at the end of his commit');
	sql('SELECT 1') for 1 .. 20;
	$stopper->query_safe("SELECT pg_advisory_unlock(hashtext('bus_committed')::bigint)");
	ok( $node->poll_query_until('postgres',
			$state . q{query LIKE '%wait(''rested''%' AND state = 'idle'}),
		'and the consumer is woken');
	like($waiter->query_safe(
			q{SELECT message_bus.ack(delivery_id) FROM message_bus.receive('rested')}),
		qr/^1$/m, 'and gets what there is');
	$_->quit for $stopper, $resumer;
}

# Also one that was scheduled before a restart, at its time or, if that was then, at once.
sql(q{SELECT message_bus.send('q', 'T', '{}', deliver_at => clock_timestamp() + '2 s')});
$waiter->quit;
$node->restart;
sql(q{CALL message_bus.wait('q', '10 min')});
is( sql(q{SELECT deliver_at <= clock_timestamp(), message_bus.ack(delivery_id)
	FROM message_bus.receive('q')}), 't|1', 'scheduled before a restart: it comes after it');

# ---------------------------------------------------------------- notifications

my $listener = session();
$listener->query_safe('LISTEN "message_bus.q"');

# Everything the listener hears until it matches; psql tells of it after a statement.
sub hear
{
	my ($pattern) = @_;
	my $heard = '';

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$heard .= $listener->query('SELECT pg_sleep(0.1)') . "\n";
		last if $heard =~ $pattern;
	}
	return $heard;
}
sql(q{SELECT message_bus.send('q', 'T', '{}') FROM generate_series(1, 3)});
like(hear(qr/notification/),
	qr/Asynchronous notification "message_bus.q" with payload "3"/,
		'listeners are told how much there is');
is(sql(q{SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('q')}), '3',
	'and it is there');
sql(q{SELECT message_bus.send('q', 'T', '{}', deliver_at => clock_timestamp() + '300 ms')});
like(hear(qr/payload "1"/),
	qr/payload "1"/, 'also when a scheduled message becomes due');
is(sql(q{SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('q')}), '1',
	'and it is there');

# Nobody listens to what a link carries away: it waits for commits.
sql(q{SELECT message_bus.create_endpoint('away', 1, forward_to => 'shop')});
$listener->query_safe('LISTEN "message_bus.away"');
sql("SELECT message_bus.send('$_', 'T', '{}')") for 'away', 'q';
unlike(hear(qr/bus.q" with payload "1"/), qr/bus.away/, 'nobody is told of what is carried away');
sql(q{SELECT message_bus.ack(delivery_id) FROM message_bus.receive('q');
	SELECT message_bus.drop_endpoint('away', true)});

# What somebody has in hand is not deliverable.
sql(q{SELECT message_bus.send('q', 'T', '{}') FROM generate_series(1, 3)});
like(hear(qr/payload "3"/), qr/payload "3"/, 'three are deliverable');
my $holder = session();
is( $holder->query_safe(q{BEGIN; SELECT count(*) FROM message_bus.receive('q')}), '3',
	'a consumer takes them');
sql(q{SELECT message_bus.send('q', 'T', '{}') FROM generate_series(1, 2)});
like(hear(qr/payload "[25]"/), qr/payload "2"/, 'two more are, while he has them');
$holder->query_safe('ROLLBACK');
$holder->quit;
is(sql(q{SELECT count(message_bus.ack(delivery_id)) FROM message_bus.receive('q')}), '5',
	'when he gives them back there are five');

# However many commits there are, at most one notification per 10 ms. The clock is stopped
# after the last, so a slow machine only makes room for more.
my $began = sql('SELECT extract(epoch FROM clock_timestamp())');
sql(q{DO $$ BEGIN FOR i IN 1 .. 500 LOOP
	PERFORM message_bus.send('q', 'T', '{}'); COMMIT; END LOOP; END $$});
my $heard = hear(qr/payload "500"/);
my $count = () = $heard =~ /Asynchronous notification/g;
cmp_ok($count, '<=', 2 + 100 * (sql('SELECT extract(epoch FROM clock_timestamp())') - $began),
	"500 commits make $count notifications");
is(sql(q{SELECT sum(n) FROM (SELECT message_bus.ack(delivery_id) AS n
	FROM message_bus.receive('q', 1000)) a}), '500', 'and they are all there');
$listener->quit;

# A long name's channel is cut off for both sides.
my $long = 'x' x 200;
sql("SELECT message_bus.create_endpoint('$long', 1)");
$listener = session(on_error_stop => 0);
$listener->query("LISTEN \"message_bus.$long\"");
sql("SELECT message_bus.send('$long', 'T', '{}')");
like(hear(qr/notification/),
	qr/"message_bus\.x{51}" with payload "1"/, 'an endpoint with a long name notifies');
$listener->quit;
sql("SELECT message_bus.drop_endpoint('$long', true)");

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
	'expired|4|t', 'after their time');
is(sql(q{SELECT message_type, message_bus.ack(delivery_id) FROM message_bus.receive('q')}),
	'Stays|1', 'the others are received');
is(sql(q{SELECT depth FROM message_bus.endpoints WHERE name = 'q'}), '0',
	'what has expired counts no more');
is(sql(q{SELECT count(*) FROM message_bus.passed}), '0',
	'and is forgotten when the cursor has passed it');

sql(q{SELECT message_bus.send(e, 'T', '{}') FROM unnest('{q,later}'::text[]) e});
sql("SELECT count(*) FROM message_bus.receive('$_', 1, '200 ms')") for qw(q later);
ok( $node->poll_query_until('postgres', q{SELECT retrying = 1 AND in_flight = 0
	FROM message_bus.endpoints WHERE name = 'later'}),
	'a lease that has expired is a failed attempt');
ok( $node->poll_query_until('postgres', q{SELECT depth = 1 FROM message_bus.endpoints
	WHERE name = 'q'}),
	'and is retried in its time');
is(sql(q{SELECT attempt, message_bus.ack(delivery_id) FROM message_bus.receive('q')}), '2|1',
	'as the second one');

# ---------------------------------------------------------------- the ring

# As long as the window is open, acked messages are known, however many follow them.
my $filler = q{SELECT count(message_bus.send('q', 'T', jsonb_build_object('text', repeat('x',
	100)))) FROM generate_series(1, 10000) i;
	WITH r AS MATERIALIZED (SELECT delivery_id FROM message_bus.receive('q', 20000))
		SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM r;};
my $known = q{SELECT message_bus.send('q', 'Known', '{}',
	'00000000-0000-4000-8000-000000000001')};
sql($known);
sql($filler) for 1 .. 2;
sql('SELECT message_bus.maintain()') for 1 .. 3;
sql($known);
is(sql(q{SELECT depth FROM message_bus.endpoints WHERE name = 'q'}), '0',
	'an acked message is known while the window lasts');
set_window('500ms');
ok( $node->poll_query_until('postgres', "SELECT depth = 1 FROM message_bus.endpoints,
		(SELECT 1 FROM ($known) k) s WHERE name = 'q'"),
	'and forgotten when its segment has been truncated');
is(sql(q{SELECT message_type, message_bus.ack(delivery_id) FROM message_bus.receive('q')}),
	'Known|1', 'then the id is new');

# A snapshot that is held open keeps nothing from being truncated.
my $old = session();
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
my $segments = join ' UNION ALL ', map { "SELECT pg_table_size('message_bus.ring_$_') AS size" } 0
	.. 7;
my $most = 0;
for my $round (1 .. 8)
{
	sql(q{SELECT count(message_bus.send('q', 'T', jsonb_build_object('text', repeat('x', 100)),
		partition_key => i::text)) FROM generate_series(1, 10000) i});
	is(sql(q{WITH r AS MATERIALIZED (SELECT delivery_id FROM message_bus.receive('q', 20000))
		SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM r}), '10000',
			"round $round is consumed");
	my $used = sql("SELECT count(*) FROM ($segments) s WHERE size > 100000");
	$most = $used if $used > $most;
	# So that the worker has its turns in between.
	sql(q{SELECT pg_sleep(0.3)});
}
cmp_ok($most, '<=', 3, 'few segments are in use at any time');
ok( $node->poll_query_until('postgres', "SELECT sum(size) < 10000000 FROM ($segments) s"),
	'what is consumed is truncated, the snapshot notwithstanding');
cmp_ok(sql(q{SELECT pg_total_relation_size('message_bus.lane') +
	pg_total_relation_size('message_bus.ack_0') + pg_total_relation_size('message_bus.ack_1')}),
	'<', 1000000, 'cursors do not pile up');

$old->query_safe('COMMIT');

# Who has read the ring's tables in a transaction that is open keeps them from being
# truncated, but nobody waits for him: other segments are written.
my $all = join ', ', map { "(SELECT count(*) FROM message_bus.ring_$_)" } 0 .. 7;
$old->query_safe("BEGIN; SELECT $all");
for my $round (1 .. 3)
{
	sql("SET lock_timeout = '1 min'; $filler SELECT message_bus.maintain()");
	sql(q{SELECT pg_sleep(0.6)});
}
is(sql(q{SELECT depth FROM message_bus.endpoints WHERE name = 'q'}), '0',
	'a reader of the tables holds up neither senders nor consumers');
$old->query_safe('COMMIT');
ok( $node->poll_query_until('postgres', "SELECT sum(size) < 10000000 FROM ($segments) s"),
	'when he has gone, the ring is small again');

# Whoever reads nothing must not hold the ring up: his messages are carried along.
set_window('1h');
sql(q{SELECT message_bus.send('idle', 'T', jsonb_build_object('n', i), partition_key => 'k')
	FROM generate_series(1, 5) i});
# So are those that are leased.
sql(q{SELECT message_bus.send('leased', 'T', jsonb_build_object('n', i))
	FROM generate_series(1, 2) i});
is(sql(q{SELECT count(*) FROM message_bus.receive('leased', 2, '1 h')}), '2', 'two are leased');
sql($filler);
my $where = join ' UNION ALL ', map { "SELECT $_ AS segment FROM message_bus.ring_$_
	JOIN message_bus.endpoint USING (endpoint_id) WHERE name = 'idle'" } 0 .. 7;
my $first = sql("SELECT DISTINCT segment FROM ($where) w");
like($first, qr/^\d$/, 'messages of the idle endpoint lie in one segment');
set_window('500ms');
my $moved = 0;
for (1 .. 600)
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
is( sql(q{SELECT message_bus.ack(min(delivery_id)) FROM message_bus.lease;
	SELECT message_bus.fail(max(delivery_id), 'E', 'e', false) FROM message_bus.lease;
	SELECT (message).body FROM message_bus.dead_letters WHERE endpoint = 'leased'}),
	"1\n\n{\"n\": 2}", 'leased messages have moved too, and their receipts are good');
$old->quit;

# Rates are those of the last seconds. Each look sends a message and acks the one before.
ok( $node->poll_query_until('postgres', q{
		WITH r AS MATERIALIZED (SELECT message_bus.ack(delivery_id) FROM message_bus.receive('q')),
			s AS MATERIALIZED (SELECT message_bus.send('q', 'T', '{}'))
		SELECT sent_per_s > 0 AND acked_per_s > 0 FROM message_bus.endpoints,
			(SELECT count(*) FROM r) r, (SELECT count(*) FROM s) s WHERE name = 'q'}),
	'an endpoint shows its rates');

# A turn that fails on the way loses no due time.
sql(q{SELECT message_bus.create_endpoint('expiring')});
sql(q{SELECT message_bus.send('expiring', 'T', '{}', expires_at => clock_timestamp() + '4 s')});
my $locker = session();
$locker->query_safe(q{BEGIN; LOCK TABLE message_bus.aside IN ACCESS EXCLUSIVE MODE});
my ($failed, $output, $complaint) =
  $node->psql('postgres', q{SET statement_timeout = '100 ms'; SELECT message_bus.maintain()});
like($complaint, qr/statement timeout/, 'maintain() fails');
($failed, $output, $complaint) = $node->psql('postgres', q{
	SET lock_timeout = '100 ms';
	DO $$ BEGIN
		PERFORM message_bus.maintain();
	EXCEPTION WHEN lock_not_available THEN
		RAISE NOTICE 'caught';
	END $$});
like($complaint, qr/caught/, 'and fails in a block that catches it');
$locker->query_safe('COMMIT');
$locker->quit;
ok($node->poll_query_until('postgres',
		q{SELECT dead = 1 FROM message_bus.endpoints WHERE name = 'expiring'}),
	'what was due is done all the same');

# What was leased or due at an endpoint that has been dropped is nobody's business any more.
sql(q{SELECT message_bus.create_endpoint('dropped');
	SELECT message_bus.send('dropped', 'T', '{}') FROM generate_series(1, 2)});
my $until = sql(q{SELECT leased_until FROM message_bus.receive('dropped', 1, '1 s')});
sql(q{SELECT message_bus.drop_endpoint('dropped', true)});
ok($node->poll_query_until('postgres', "SELECT clock_timestamp() > '$until'"),
	'a lease would have run out');

# Who has nothing to do costs nothing: the worker sleeps, and is not woken by itself.
sql(q{SELECT message_bus.ack(delivery_id) FROM message_bus.receive('q', 1000)});
set_window('1h');
my $pid = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecommerce worker'
	AND datname = 'postgres'});

# How often the worker has gone to sleep so far.
sub naps
{
	return slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : die;
}
SKIP:
{
	skip 'no /proc here', 1 unless -r "/proc/$pid/status";
	my $woken = 2;
	for (1 .. 30)
	{
		my $before = naps();
		$node->safe_psql('template1', 'SELECT pg_sleep(2)');
		$woken = naps() - $before;
		last if $woken < 2;
	}
	cmp_ok($woken, '<', 2, 'a worker with nothing to do sleeps');
}
# So many leases that their lanes are more than the server has locks for end all the same.
$node->append_conf('postgresql.conf', "max_locks_per_transaction = 10\nmax_connections = 20\n");
$node->restart;
sql(qq{SELECT message_bus.create_endpoint('wide-$_', 256, '{"kind": "none"}')}) for 1 .. 6;
my $sweeper = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecommerce worker'
	AND datname = 'postgres'};
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($sweeper) w"), 'a worker');
$sweeper = sql($sweeper);
# It is to find all of them at once.
kill 'STOP', $sweeper;
sql(join ";\n", map { (
	qq{SELECT count(message_bus.send('wide-$_', 'T', '{}', partition_key => n::text))
		FROM generate_series(1, 1000) n},
	(qq{SELECT count(*) FROM message_bus.receive('wide-$_', 300, '5 s')}) x 5) } 1 .. 6);
cmp_ok(sql(q{SELECT count(DISTINCT (endpoint_id, lane)) FROM message_bus.lease}), '>', 1000,
	'there are leases on many lanes');
ok($node->poll_query_until('postgres',
	q{SELECT bool_and(leased_until < clock_timestamp()) FROM message_bus.lease}),
	'all of which have run out');
kill 'CONT', $sweeper;
ok($node->poll_query_until('postgres',
		q{SELECT bool_and(in_flight = 0) FROM message_bus.endpoints WHERE name ~ '^wide'}),
	'leases on more lanes than there are locks end');
unlike(slurp_file($node->logfile), qr/out of shared memory/, 'without running out of them');

# While the server's queue of notifications is nearly full ours are left out, and all
# else goes on.
$node->stop;
{
	local $ENV{ECOMMERCE_BREAK} = 'notify_queue_full';
	$node->start;
}
$listener = session();
$listener->query_safe('LISTEN "message_bus.later"');
sql(q{SELECT message_bus.send('later', 'T', '{}', expires_at => clock_timestamp() + '0.2 s')});
ok( $node->poll_query_until('postgres', q{SELECT dead = 1 FROM message_bus.endpoints
		WHERE name = 'later'}),
	'with a full queue of notifications the worker goes on');
$node->wait_for_log(qr/WARNING:  notifications of events and messages are left out/);
is( $listener->query('SELECT 1'), '1', 'and listeners hear nothing');
$listener->quit;

$node->stop;
done_testing();
