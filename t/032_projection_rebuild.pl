# Rebuilds beside, while events are appended and rows are read: readers see every row at any
# time, whatever their isolation level; kill -9 in the midst costs nothing; each event is in
# the new rows exactly once. A build that empties the table before it fills it is found out.
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
# One table with a key, whose rows are compared; one without, whose rows are exchanged.
$node->safe_psql(
	'postgres', q{
	CREATE EXTENSION ecommerce;
	CREATE TABLE got_async (at bigint, stream text, version bigint);
	CREATE TABLE got_inline (at bigint PRIMARY KEY, stream text, version bigint);
	CREATE FUNCTION note_async(events event_store.event[]) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO public.got_async SELECT e.position, e.stream, e.version FROM unnest(events) e $$;
	CREATE FUNCTION note_inline(event event_store.event) RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN
		INSERT INTO public.got_inline VALUES (event.position, event.stream, event.version);
	END $$;
	SELECT event_store.create_projection('async', 'note_async(event_store.event[])', 'a',
		tables => '{got_async}');
	SELECT event_store.create_projection('inline', 'note_inline(event_store.event)', 'a',
		mode => 'inline', tables => '{got_inline}');
	SELECT count(event_store.append_batch('a-' || i % 20, -1,
		array_fill(ROW('Added', '{}', NULL, NULL, NULL, NULL)::event_store.new_event, ARRAY[100])))
	FROM generate_series(1, 100) i;
	CALL event_store.wait_projection('async', event_store.position_counter(), '5 min');
});
my $append = $node->basedir . '/append.sql';
append_to_file(
	$append, q{\set s random(1, 20)
\set n random(1, 3)
SELECT event_store.append_batch('a-' || :s, -1,
	array_fill(ROW('Added', '{}', NULL, NULL, NULL, NULL)::event_store.new_event, ARRAY[:n]));
});
# Fewer rows than there once were are a division by zero.
my $watch = $node->basedir . '/watch.sql';
append_to_file(
	$watch, q{SELECT 1 / (count(*) >= 10000)::int FROM got_async;
SELECT 1 / (count(*) >= 10000)::int FROM got_inline;
});

my %output;

sub load
{
	my ($script, $clients) = @_;
	$output{$script} = '';
	return start(
		[   'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', $clients, '-T', '600',
			'-f', $script, 'postgres' ],
		'>', \$output{$script}, '2>', \$output{$script});
}

sub rebuild
{
	my ($name) = @_;
	$node->safe_psql('postgres',
		"SELECT event_store.rebuild_projection('$name', 'public.got_${name}_2')");
	return;
}

sub is_over
{
	my ($name) = @_;
	return $node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM event_store.projection_rebuild WHERE name = '$name'");
}

sub check
{
	my ($what) = @_;
	ok( $node->poll_query_until('postgres',
			"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'"),
		"$what: nobody appends");
	for my $name (qw(async inline))
	{
		ok( $node->poll_query_until('postgres',
				"SELECT state = 'running' AND lag_events = 0 FROM event_store.projections
				WHERE name = '$name'"),
			"$what: $name comes to rest");
		is( $node->safe_psql(
				'postgres', "SELECT count(*) = (SELECT count(*) FROM event_store.stored_event),
				count(*) = count(DISTINCT at), to_regclass('got_${name}_2') IS NULL
				FROM got_$name"),
			't|t|t',
			"$what: $name has each event once");
	}
	return;
}

# ---------------------------------------------------------------- readers, in any transaction
my @old = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
$old[0]->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$old[1]->query_safe('BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1');
my $appending = load($append, 3);
my $watching = load($watch, 1);
for my $round (1 .. 2)
{
	rebuild($_) for qw(async inline);
	ok(is_over($_), "$_ is rebuilt while events are appended, $round") for qw(async inline);
}
for my $name (qw(async inline))
{
	is($_->query_safe("SELECT count(*) FROM got_$name"),
		10000, "whoever began before reads $name as it was then")
	  for @old;
}
$_->quit for @old;
$watching->kill_kill;
unlike($output{$watch}, qr/ERROR|FATAL/, 'nobody has seen fewer rows');
$appending->kill_kill;
check('rebuilt');

# ---------------------------------------------------------------- crashes
for my $round (1 .. 2)
{
	$appending = load($append, 2);
	rebuild($_) for qw(async inline);
	# Once when something is in the tables beside, once when the rows are being exchanged.
	if ($round == 1)
	{
		$node->poll_query_until('postgres',
			'SELECT coalesce(max(checkpoint), 1) > 0 FROM event_store.projection_rebuild');
	}
	else
	{
		my $holder = $node->background_psql('postgres', on_error_stop => 0);
		$holder->query_safe(q{SELECT pg_advisory_lock(hashtext('rebuild_before_commit'))});
		ok( $node->poll_query_until('postgres',
				"SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
				WHERE l.locktype = 'advisory' AND NOT l.granted AND a.backend_type LIKE '%runner'"),
			'a rebuild stands before its commit');
		eval { $holder->{run}->kill_kill };
	}
	$node->kill9;
	$appending->kill_kill;
	# A child that outlives the postmaster keeps the next one from starting.
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if $node->start(fail_ok => 1);
		select(undef, undef, undef, 0.1);
		$node->stop('fast', fail_ok => 1);
	}
	ok(is_over($_), "$_ goes on after a crash, $round") for qw(async inline);
	check("killed, $round");
}
is($node->safe_psql('postgres', 'SELECT * FROM event_store.verify()'), '', 'the store is sound');

# ---------------------------------------------------------------- a build that is wrong
$node->stop;
{
	local $ENV{ECOMMERCE_BREAK} = 'swap_by_truncate';
	$node->start;
	my $old = $node->background_psql('postgres', on_error_stop => 0);
	$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
	rebuild('async');
	ok(is_over('async'), 'broken by swap_by_truncate: async is rebuilt');
	is($old->query_safe('SELECT count(*) FROM got_async'),
		0, 'and whoever began before sees an empty table');
	$old->quit;
}
$node->stop;
done_testing();
