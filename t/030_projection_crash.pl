# Projections over crashes of the worker, of a backend and of the server, with appends going on:
# each event is given to each handler exactly once, whether inline, async, deferred or rebuilt.
use strict;
use warnings FATAL => 'all';

use IPC::Run qw(start);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf(
	'postgresql.conf', q{
shared_preload_libraries = 'ecommerce'
synchronous_commit = off
restart_after_crash = on
});
$node->start;
# Tables without a key: what is given twice is there twice.
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION ecommerce;
	CREATE TABLE got_async (at bigint, stream text, version bigint, n bigserial);
	CREATE TABLE got_inline (at bigint, stream text, version bigint);
	CREATE TABLE got_deferred (LIKE got_inline);
	CREATE FUNCTION note_async(event event_store.event) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO public.got_async VALUES ((event).position, (event).stream, (event).version) $$;
	CREATE FUNCTION note_inline(event event_store.event) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO public.got_inline VALUES ((event).position, (event).stream, (event).version) $$;
	-- Refuses now and then inside an append, never in the worker.
	CREATE FUNCTION note_deferred(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF event.position % 17 = 0 AND session_user <> 'ecommerce_worker' THEN
			RAISE EXCEPTION 'not now';
		END IF;
		INSERT INTO public.got_deferred VALUES (event.position, event.stream, event.version);
	END $$;
	SELECT event_store.create_projection('async', 'note_async(event_store.event)', 'a',
		tables => '{got_async}');
	SELECT event_store.create_projection('inline', 'note_inline(event_store.event)', 'a',
		mode => 'inline', tables => '{got_inline}');
	SELECT event_store.create_projection('deferred', 'note_deferred(event_store.event)', 'a',
		mode => 'inline', tables => '{got_deferred}', on_error => 'defer');
});
my $script = $node->basedir . '/append.sql';
append_to_file(
	$script, q{\set s random(1, 20)
\set n random(1, 3)
SELECT event_store.append_batch('a-' || :s, -1,
	array_fill(ROW('Added', '{}', NULL, NULL, NULL, NULL)::event_store.new_event, ARRAY[:n]));
});

# Appends in the background until they have written that much, whatever becomes of pgbench.
sub append_for
{
	my ($events) = @_;
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM event_store.stored_event');
	my $out = '';
	my $pgbench = start(
		[   'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', '4', '-T', '120',
			'-f', $script, 'postgres' ],
		'>', \$out, '2>', \$out);
	ok( $node->poll_query_until('postgres',
			"SELECT count(*) >= $before + $events FROM event_store.stored_event"),
		"$events more events");
	return $pgbench;
}

# The process that runs projections, or the next one.
sub worker_pid
{
	my ($last) = @_;
	my $query = "SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'ecommerce runner'
		AND datname = 'postgres' AND pid <> " . ($last // 0);
	$node->poll_query_until('postgres', "SELECT ($query) IS NOT NULL") or die 'no worker';
	my $pid = $node->safe_psql('postgres', $query);
	die 'the worker is gone' unless $pid =~ /^\d+$/;
	return $pid;
}

# Kills the worker when it has handled events and written its checkpoint, but not committed.
sub kill_before_commit
{
	my $waiting = "SELECT max(pid) FROM pg_stat_activity
		WHERE backend_type LIKE 'ecommerce %runner' AND wait_event = 'advisory'";
	my $holder = $node->background_psql('postgres', on_error_stop => 0);
	$holder->query_safe(q{SELECT pg_advisory_lock(hashtext('projection_before_commit'))});
	$node->safe_psql('postgres',
		q{SELECT event_store.append('a-1', -1, 'Added', '{}') FROM generate_series(1, 10)});
	# A turn that waits too long is undone, and the slow runner goes on with it.
	ok( $node->poll_query_until('postgres', "SELECT ($waiting) IS NOT NULL"),
		'the worker has stopped');
	# What was committed without waiting for the disk would be lost too.
	$node->safe_psql('postgres', 'CHECKPOINT');
	my $pid = '';
	$pid = $node->safe_psql('postgres', $waiting) while $pid eq '';
	kill 'KILL', $pid;
	# Until the server has noticed, and is back.
	select(undef, undef, undef, 0.01) while kill 0, $pid;
	$node->poll_query_until('postgres', undef, '');
	ok(worker_pid($pid), 'there is another worker');
	# The server has ended that session.
	eval { $holder->quit };
	return;
}

# A child that outlives the postmaster keeps the next one from starting.
sub start_again
{
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $node->start(fail_ok => 1);
		select(undef, undef, undef, 0.1);
		# In case the attempt only timed out.
		$node->stop('fast', fail_ok => 1);
	}
	return 0;
}

sub check_all
{
	my ($what) = @_;

	# A session outlives the pgbench that was killed until its statement has ended.
	ok( $node->poll_query_until('postgres',
			"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'"),
		"$what: nobody appends");
	for my $name (qw(async inline deferred))
	{
		ok( $node->poll_query_until('postgres',
				"SELECT state = 'running' AND lag_events = 0 FROM event_store.projections
				WHERE name = '$name'"),
			"$what: $name comes to rest");
		is( $node->safe_psql(
				'postgres', "SELECT count(*) = (SELECT count(*) FROM event_store.stored_event),
				count(*) = count(DISTINCT at) FROM got_$name"),
			't|t',
			"$what: $name got each event exactly once");
	}
	is( $node->safe_psql(
			'postgres', q{SELECT count(*) FROM (SELECT version, lag(version, 1, 0::bigint) OVER
			(PARTITION BY stream ORDER BY n) AS before FROM got_async) g
				WHERE version <> before + 1}),
		'0',
		"$what: and in order");
}

for my $round (1 .. 3)
{
	my $pgbench = append_for(300);
	kill 'KILL', worker_pid();
	$pgbench->finish;
	# Without a query: psql that cannot connect would leave before it is written to it.
	$node->poll_query_until('postgres', undef, '');
	check_all("worker killed, $round");
}
for my $round (1 .. 2)
{
	my $pgbench = append_for(300);
	$node->kill9;
	$pgbench->finish;
	ok(start_again(), 'the server starts again');
	check_all("server killed, $round");
}

# Where it hurts most: the handler has done its work, the checkpoint is written.
kill_before_commit();
check_all('killed before it commits');

# A worker that ends in good order takes nothing along either.
my $pgbench = append_for(300);
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . worker_pid() . ')');
$pgbench->kill_kill;
check_all('worker terminated');

# Rebuilds, with the server killed in the middle.
$pgbench = append_for(300);
$node->safe_psql('postgres', "SELECT event_store.rebuild_projection(n)
	FROM unnest('{async,inline,deferred}'::text[]) n");
$node->kill9;
$pgbench->finish;
ok(start_again(), 'the server starts again');
check_all('killed while rebuilding');
$pgbench = append_for(100);
$node->safe_psql('postgres', "SELECT event_store.rebuild_projection(n)
	FROM unnest('{async,inline,deferred}'::text[]) n");
# All the while appends go on.
for my $name (qw(async inline deferred))
{
	ok( $node->poll_query_until('postgres',
			"SELECT state IN ('running', 'retrying') FROM event_store.projections
			WHERE name = '$name'"),
		"$name is rebuilt while appends go on");
}
$pgbench->kill_kill;
check_all('rebuilt');
is($node->safe_psql('postgres', 'SELECT * FROM event_store.verify()'), '', 'the store is sound');

# Were the checkpoint not committed with what the handler did, all this would have shown it.
# The others go, so that there is but one that the worker can stop at.
$node->safe_psql('postgres', "SELECT event_store.drop_projection(n)
	FROM unnest('{inline,deferred}'::text[]) n");
$node->stop;
{
	local $ENV{ECOMMERCE_BREAK} = 'checkpoint_apart';
	$node->start;
	kill_before_commit();
}
ok( $node->poll_query_until('postgres',
		"SELECT state = 'running' AND lag_events = 0 FROM event_store.projections
		WHERE name = 'async'"),
	'broken by checkpoint_apart: async comes to rest');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT at) FROM got_async'),
	'>=', 10, 'with ten events that it got more than once');

$node->stop;
done_testing();
