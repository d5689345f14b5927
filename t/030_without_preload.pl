# Without shared_preload_libraries: everything works, nothing runs by itself, a worker
# can be started by hand, and the order of positions is as safe as it is preloaded.
use strict;
use warnings;

use EventStress;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
log_statement = none
fsync = on
restart_after_crash = on
message_bus.dedupe_window = 100ms
EOT
$node->start;

my ($status, $stdout, $stderr) = $node->psql('postgres', 'CREATE EXTENSION ecommerce');
is($status, 0, 'CREATE EXTENSION');
like($stderr, qr/WARNING:  ecommerce is not in shared_preload_libraries.*HINT:  .*start_worker/s,
	'it says what is missing and what to type');
is($node->safe_psql('postgres', 'SELECT ecommerce.preloaded()'), 'f', 'preloaded() says so');

my $workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'ecommerce%'";
is($node->safe_psql('postgres', $workers), '0', 'no worker runs');

# Append, read and wait need none.
is($node->safe_psql('postgres', q{SELECT version FROM event_store.append('cart-1', 0, 'Opened',
	'{}')}),
	'1', 'append');
is($node->safe_psql('postgres', q{SELECT stream, version FROM event_store.read_all()}),
	'cart-1|1', 'read_all');
my $position = $node->safe_psql('postgres', 'SELECT event_store.high_water_mark()');
is($node->safe_psql('postgres', "CALL event_store.wait($position, '1 ms')"), $position,
	'wait until the timeout');
my $waiter = $node->background_psql('postgres');
$waiter->{stdin} .= "CALL event_store.wait($position, '1 hour');\n\\echo woken\n";
$waiter->{run}->pump_nb;
ok($node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CALL%1 hour%'
			AND wait_event = 'Extension'"),
	'a waiter sleeps');
$node->safe_psql('postgres', q{SELECT event_store.append('cart-1', 1, 'Closed', '{}')});
like($waiter->query_until(qr/woken/, ''), qr/^\d+\nwoken/, 'and is woken by an append');
$waiter->quit;
$node->safe_psql('postgres', q{SELECT event_store.create_subscription('s')});
is( $node->safe_psql('postgres', q{
		BEGIN;
		SELECT count(*) FROM event_store.fetch('s');
		SELECT event_store.advance('s', event_store.high_water_mark());
		COMMIT;
		SELECT count(*) FROM event_store.fetch('s')}),
	"2\n\n0", 'a subscription');
$node->safe_psql('postgres', q{SELECT event_store.drop_subscription('s')});

# What a savepoint has buried, and gives back, still counts.
$node->safe_psql('postgres', q{
	SELECT message_bus.create_endpoint('brief');
	SELECT message_bus.send('brief', 'T', '{}', expires_at => '2000-01-01 UTC')});
my $counts = q{SELECT depth, dead FROM message_bus.endpoints WHERE name = 'brief'};
$node->safe_psql('postgres', $_)
	for 'BEGIN; SELECT message_bus.maintain(); ROLLBACK',
	'BEGIN; SAVEPOINT s; SELECT message_bus.maintain(); ROLLBACK TO s; COMMIT';
is($node->safe_psql('postgres', $counts), '1|0', 'buried and given back: it counts');
$node->safe_psql('postgres', 'SELECT message_bus.maintain()');
is($node->safe_psql('postgres', $counts), '0|1', 'buried: it does not');
$node->safe_psql('postgres', q{SELECT message_bus.drop_endpoint('brief', true)});

# A segment of the ring is free when the truncation has committed, and not before.
$node->safe_psql('postgres', q{
	SELECT message_bus.create_endpoint('many', 1);
	SELECT count(message_bus.send('many', 'T', jsonb_build_object('text', repeat('x', 200))))
		FROM generate_series(1, 6000);
	SELECT message_bus.ack(VARIADIC array_agg(delivery_id))
		FROM message_bus.receive('many', 6000)});
my $drained = q{SELECT segment FROM message_bus.ring WHERE state = 'drained'};
ok($node->poll_query_until('postgres', "WITH m AS MATERIALIZED (SELECT message_bus.maintain())
		SELECT count(r.segment) = 1 FROM m LEFT JOIN ($drained) r ON true"),
	'a segment is to be truncated');
my $segment = $node->safe_psql('postgres', $drained);
ok($node->poll_query_until('postgres', "SELECT since + interval '100 ms' < clock_timestamp()
		FROM message_bus.ring WHERE segment = $segment"), 'now');
my $small = "SELECT pg_relation_size('message_bus.ring_$segment') = 0";
my $state = "SELECT state FROM message_bus.ring WHERE segment = $segment";
for my $way ([ 'BEGIN', 'ROLLBACK' ], [ 'BEGIN; SAVEPOINT s', 'ROLLBACK TO s; COMMIT' ])
{
	my ($begin, $end) = @$way;

	is($node->safe_psql('postgres', "$begin; SELECT message_bus.maintain(); $small; $end"),
		"\nt", "$begin: it is");
	is($node->safe_psql('postgres', "$small; $state"), "f\ndrained", "$end: it is not");
}
is($node->safe_psql('postgres', "SELECT message_bus.maintain(); $small; $state"), "\nt\nfree",
	'truncated and committed it is free');
$node->safe_psql('postgres', q{SELECT message_bus.drop_endpoint('many', true)});

# The rebuild of an inline projection never waits for an open append, also when somebody else
# begins it between a look and the lock.
$node->safe_psql('postgres', q{
	CREATE TABLE got (at bigint);
	CREATE FUNCTION note(event event_store.event) RETURNS void LANGUAGE sql
	AS $$ INSERT INTO public.got VALUES ((event).position) $$;
	SELECT event_store.create_projection('noted', 'note(event_store.event)', 'noted',
		mode => 'inline', tables => ARRAY['got'::regclass])});
my ($appender, $first, $second) =
  map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 3;
$appender->query_safe(q{BEGIN; SELECT event_store.append('noted-1', 0, 'Opened', '{}')});
$node->safe_psql('postgres', q{SELECT event_store.rebuild_projection('noted')});
$second->query_safe(q{SELECT pg_advisory_lock(hashtext('projection_has_work'))});
$first->{stdin} .= "SET statement_timeout = '20 s';
	SELECT 'ran', event_store.run_projections();\n\\echo over\n";
$first->{run}->pump_nb;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks
		WHERE locktype = 'advisory' AND NOT granted}), 'one has looked');
$second->query_safe($_) for 'SELECT event_store.run_projections()',
  q{SELECT pg_advisory_unlock(hashtext('projection_has_work'))};
like($first->query_until(qr/over/, ''), qr/^ran\|0$/m, 'and does not wait for the append');
$appender->query_safe('COMMIT');
ok($node->poll_query_until('postgres', q{SELECT event_store.run_projections() * 0 = 0 AND EXISTS
		(SELECT FROM event_store.projections WHERE state = 'running' AND lag_events = 0)}),
	'the rebuild ends');
is($node->safe_psql('postgres', 'SELECT count(*) FROM got'), 1, 'and its event is there once');
$_->quit for $appender, $first, $second;
$node->safe_psql('postgres', q{SELECT event_store.drop_projection('noted');
	DROP FUNCTION note(event_store.event); DROP TABLE got});

# Databases that have been dropped take up no room in shared memory, which has 64 places.
$node->safe_psql('postgres', 'CREATE DATABASE pattern');
$node->safe_psql('pattern', 'SET client_min_messages = error; CREATE EXTENSION ecommerce');
my $appended = 0;
for (1 .. 66)
{
	$node->safe_psql('postgres', 'CREATE DATABASE passing TEMPLATE pattern');
	$appended += $node->safe_psql('passing', q{SELECT version FROM event_store.append('cart-1', 0,
		'Opened', '{}')});
	$node->safe_psql('postgres', 'DROP DATABASE passing');
}
is($appended, 66, 'databases come and go');
$node->safe_psql('postgres', 'DROP DATABASE pattern');

# A worker by hand: only one, and it notifies.
my $pid = $node->safe_psql('postgres', 'SELECT ecommerce.start_worker()');
like($pid, qr/^\d+$/, 'start_worker() gives its pid');
ok($node->poll_query_until('postgres', $workers, '1'), 'a worker runs');
is($node->safe_psql('postgres', 'SELECT ecommerce.start_worker()'), $pid, 'again: the same worker');
is( $node->safe_psql('postgres', "SELECT usename, rolsuper FROM pg_stat_activity
		JOIN pg_roles ON rolname = usename WHERE pid = $pid"),
	'ecommerce_worker|f', 'it is no superuser');
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN event_store');
$position = $node->safe_psql('postgres',
	q{SELECT "position" FROM event_store.append('cart-2', 0, 'Opened', '{}')});
my $notified = '';
ok( EventStress::poll(sub {
		$notified .= $listener->query_safe('SELECT 1');
		return $notified =~
		  /"event_store" with payload "$position" received from server process with PID $pid/;
	}), 'it notifies');
$listener->quit;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 180000)");
is($node->safe_psql('postgres', $workers), '0', 'it ends when told to');
isnt($node->safe_psql('postgres', 'SELECT ecommerce.start_worker()'), $pid,
	'and another can be started');

# Started by several sessions at once, or before there is an extension.
$pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity
	WHERE backend_type = 'ecommerce worker'");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 180000)");
my @starters = map { $node->background_psql('postgres') } 1 .. 3;
for my $starter (@starters)
{
	$starter->{stdin} .= "SELECT 'worker', ecommerce.start_worker();\n";
	$starter->{run}->pump_nb;
}
my %started = map { $_->query_until(qr/worker\|\d+\n/, '') => 1 } @starters;
is(scalar keys %started, 1, 'several sessions that start a worker get the same one');
$_->quit for @starters;
is($node->safe_psql('postgres', $workers), '1', 'and there is one');
$node->safe_psql('postgres', 'CREATE DATABASE early');
($status, $stdout, $stderr) = $node->psql('early',
	'BEGIN; CREATE EXTENSION ecommerce; SELECT ecommerce.start_worker()',
	extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($stderr, qr/ERROR:  55000.*HINT:  .*commit CREATE EXTENSION/s,
	'before CREATE EXTENSION has committed there is none, and start_worker() says so');

# Who holds the mark back, and for whom; a prepared transaction would hold it for good.
my $marks = q{SELECT event_store.high_water_mark(), event_store.high_water_mark('cart'),
	event_store.high_water_mark('order')};
my $holder = $node->background_psql('postgres');
my $held = $holder->query_safe(q{BEGIN;
	SELECT "position" FROM event_store.append('cart-9', 0, 'Opened', '{}')});
my $beyond = $node->safe_psql('postgres',
	q{SELECT "position" FROM event_store.append('order-9', 0, 'Placed', '{}')});
my $below = $held - 1;
is($node->safe_psql('postgres', $marks), "$below|$below|$beyond",
	'an open append holds back all readers but those of other categories');
is( $node->safe_psql('postgres', q{SELECT usename = current_user, xact_start < now(),
		lowest_position, category, query ~ 'cart-9' FROM event_store.appenders}),
	"t|t|$held|cart|t", 'appenders shows who it is');
$holder->query_safe('ROLLBACK');
$holder->quit;
($status, $stdout, $stderr) = $node->psql('postgres', q{BEGIN;
	SELECT event_store.append('cart-9', 0, 'Opened', '{}');
	PREPARE TRANSACTION 'ours'}, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($stderr, qr/ERROR:  0A000: cannot PREPARE a transaction that has appended.*HINT/s,
	'PREPARE TRANSACTION is refused');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM event_store.appenders;
		SELECT event_store.high_water_mark() - event_store.position_counter()}),
	"0\n0", 'and holds nothing back');

# The order of positions.
my $bystander = $node->background_psql('postgres');
$bystander->query_safe('BEGIN; SELECT pg_current_xact_id()');
my $stress = EventStress->new($node);
$node->safe_psql('postgres', q{SELECT event_store.create_subscription('divided', partitions => 3)});
$stress->start_reader('all');
$stress->start_reader('all_by_mark', kind => 'mark');
$stress->start_reader('c1', category => 'c1', kind => 'poll');
$stress->start_consumers('divided', 2);
$stress->start_writers(clients => 16, transactions => 2000,
	options => { synchronous_commit => 'off' });
$stress->finish_writers(kill => 1);
is($stress->finish_readers, '', "$stress->{commits} commits: all saw exactly what was committed");
$bystander->quit;

# A crash of the server, which makes new shared memory. The takers of the newest positions
# have rolled back: nothing but the mark has told of them.
$node->safe_psql('postgres', q{SET synchronous_commit = off;
	BEGIN;
	SELECT count(event_store.append('cart-4', -1, 'Opened', '{}')) FROM generate_series(1, 200);
	ROLLBACK});
my $mark = $node->safe_psql('postgres', 'SELECT event_store.high_water_mark()');
my $victim = $node->background_psql('postgres', on_error_stop => 0);
my $victim_pid = $victim->query_safe('SELECT pg_backend_pid()');
$victim->query_safe(q{BEGIN; SELECT event_store.append('cart-3', 0, 'Opened', '{}')});
my $offset = -s $node->logfile;
kill 'KILL', $victim_pid;
$victim->{run}->finish;
# For a moment the postmaster does not know yet, and everything still answers.
$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
# Without a query: psql that cannot connect would leave before it is written to it.
ok($node->poll_query_until('postgres', undef, ''), 'the server comes back');
cmp_ok($node->safe_psql('postgres', 'SELECT event_store.high_water_mark()'), '>=', $mark,
	'the mark does not go back');
cmp_ok($node->safe_psql('postgres', q{SELECT "position" FROM event_store.append('cart-3', 0,
	'Opened', '{}')}),
	'>', $mark, 'positions go on above it');
is($node->safe_psql('postgres', 'SELECT * FROM event_store.verify()'), '', 'verify finds nothing');

# The shared memory has to be found in what the server has to spare.
$node->append_conf('postgresql.conf', "max_connections = 1000");
$node->safe_psql('postgres', 'SELECT ecommerce.start_worker()');
$node->restart;
is($node->safe_psql('postgres', $workers), '0', 'a worker started by hand ends with the server');
is($node->safe_psql('postgres', q{SELECT version FROM event_store.append('cart-3', 1, 'Closed',
	'{}')}),
	'2', 'append on a server with 1000 connections');
$node->stop;
done_testing();
