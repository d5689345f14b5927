# What a crash must not undo: kill -9 of a backend, the worker, the postmaster, and an
# immediate shutdown, under load, with synchronous_commit on and off. What was
# acknowledged or read stays; no position at or below a mark that was handed out is
# used again; marks never go back; readers that resume have missed nothing.
use strict;
use warnings;

use EventStress qw(poll);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
restart_after_crash = on
log_statement = none
wal_writer_delay = 10s
EOT
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');

# Kills the postmaster and starts another one, which is refused as long as something
# of the first one is left. What else is to be killed with it is named by pid.
sub replace_postmaster
{
	my (@others) = @_;
	my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

	$node->kill9;
	kill 'KILL', @others;
	poll { !kill 0, $pid };
	poll { $node->start(fail_ok => 1) };
	return;
}

sub pid_of
{
	my ($condition) = @_;
	return $node->safe_psql('postgres', "SELECT min(pid) FROM pg_stat_activity WHERE $condition");
}

my %crashes = (
	backend => sub { kill 'KILL', pid_of("application_name = 'writers'
		AND xact_start IS NOT NULL") },
	worker => sub { kill 'KILL', pid_of("backend_type = 'ecommerce worker'") },
	postmaster => sub { replace_postmaster() },
	shutdown => sub { $node->stop('immediate'); $node->start });

my $stress = EventStress->new($node);
$stress->start_reader('all');
$stress->start_reader('all_by_mark', kind => 'mark');
$stress->start_reader('c1', kind => 'poll', category => 'c1');
$node->safe_psql('postgres', q{SELECT event_store.create_subscription('divided', partitions => 3)});
my ($round, $acknowledged) = (0, 0);

for my $synchronous ('on', 'off')
{
	for my $crash (sort keys %crashes)
	{
		my $name = "$crash, synchronous_commit $synchronous";
		my %options = (options => { synchronous_commit => $synchronous });

		$round++;
		$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity
			WHERE backend_type = 'ecommerce worker'") or die 'no worker';
		my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM event_store.stored_event');
		$stress->start_consumers('divided', 2);
		$stress->start_acknowledged(3, %options);
		$stress->start_writers(clients => 8, transactions => 1000000, %options);
		$node->poll_query_until('postgres',
			"SELECT count(*) > $before + 1500 FROM event_store.stored_event") or die 'no load';
		$crashes{$crash}->();

		my @acknowledged = $stress->acknowledged;
		$stress->finish_writers(crash => 1);
		# Without a query: psql that cannot connect would leave before it is written to it.
		$node->poll_query_until('postgres', undef, '') or die 'the server does not come back';
		my $mark = $stress->greatest_mark;
		$acknowledged += @acknowledged;
		my $values = join ',', map { /(\d+)/ } @acknowledged;
		my $lasting = $synchronous eq 'on' ? 'true' : "p <= $mark";
		is( $node->safe_psql('postgres', "SELECT count(*) FROM unnest('{$values}'::bigint[]) p
				WHERE $lasting AND p NOT IN (SELECT position FROM event_store.stored_event)"),
			'0',
			"$name: what was acknowledged" . ($synchronous eq 'on' ? '' : ' and could be read') .
				' stays');
		cmp_ok($node->safe_psql('postgres', 'SELECT event_store.high_water_mark()'),
			'>=', $mark, "$name: the mark does not go back");
		# To compare with at the end: what comes later must lie above the mark.
		$node->safe_psql('postgres', "CREATE TABLE stress.survived_$round AS
			SELECT position FROM event_store.stored_event WHERE position <= $mark");
		$node->safe_psql('postgres', "COMMENT ON TABLE stress.survived_$round IS '$mark'");
		is($node->safe_psql('postgres', 'SELECT * FROM event_store.verify()'),
			'', "$name: verify finds nothing");
		$stress->restart_readers;
	}
}
$stress->start_consumers('divided', 2);
$stress->start_writers(clients => 8, transactions => 100);
$stress->finish_writers;
is($stress->finish_readers, '', "$acknowledged acknowledged:
	readers that resumed saw exactly what is there");
for my $i (1 .. $round)
{
	is( $node->safe_psql('postgres', "SELECT count(*) FROM event_store.stored_event e
			WHERE position <= obj_description('stress.survived_$i'::regclass)::bigint
			AND NOT EXISTS (SELECT FROM stress.survived_$i s WHERE s.position = e.position)"),
		'0', "crash $i: no position at or below a mark handed out before was used later");
}

# The takers of the newest positions have rolled back, so no commit has flushed the
# sequence, and nothing is stored at those positions: only the mark has told of them.
sub position_after_crash
{
	my $session = $node->background_psql('postgres');
	my $walwriter = pid_of("backend_type = 'walwriter'");

	# Nobody but who hands out the mark is to write WAL.
	kill 'STOP', $walwriter;
	$session->query_safe('CHECKPOINT; SET synchronous_commit = off');
	$session->query_safe(q{BEGIN;
		SELECT max(a.position) FROM generate_series(1, 200),
			LATERAL event_store.append('rolled-back', -1, 'X', '{}') a;
		ROLLBACK});
	my $mark = $session->query_safe('SELECT event_store.high_water_mark()');
	replace_postmaster($walwriter);
	my $position = $node->safe_psql('postgres',
		q{SELECT "position" FROM event_store.append('after-crash', -1, 'X', '{}')});
	return ($position, $mark);
}
my ($position, $mark) = position_after_crash();
cmp_ok($position, '>', $mark, 'positions of transactions that rolled back are not used again');

# An asynchronous commit that a mark speaks of, when nothing but it is left to flush:
# the positions up to it were logged with the one before. Returns whether it is there
# after the crash.
sub survives_crash
{
	my $session = $node->background_psql('postgres');
	my $walwriter = pid_of("backend_type = 'walwriter'");
	my $append = q{SELECT "position" FROM event_store.append('seen', -1, 'X', '{}')};

	kill 'STOP', $walwriter;
	$session->query_safe('CHECKPOINT');
	$session->query_safe('SET synchronous_commit = off');
	$session->query_safe($append);
	$session->query_safe('SELECT event_store.high_water_mark()');
	my $seen = $session->query_safe($append);
	die 'the mark does not speak of it'
	  if $session->query_safe('SELECT event_store.high_water_mark()') < $seen;
	replace_postmaster($walwriter);
	return $node->safe_psql('postgres', "SELECT count(*) FROM event_store.stored_event
		WHERE position = $seen");
}
is(survives_crash(), '1', 'an asynchronous commit that could be read stays');
is($node->safe_psql('postgres', 'SELECT * FROM event_store.verify()'), '', 'verify finds nothing');

# The same on a server whose marks do not wait for the disk, nor does the worker. What
# else writes there may flush once by chance, but not each time.
$node->append_conf('postgresql.conf', 'synchronous_commit = off');
$node->stop;
local $ENV{ECOMMERCE_BREAK} = 'no_flush';
$node->start;
for (1 .. 10)
{
	($position, $mark) = position_after_crash();
	last if $position <= $mark;
}
cmp_ok($position, '<=', $mark, 'broken by no_flush, they are');
my $lost = 0;
for (1 .. 10)
{
	last if $lost = !survives_crash();
}
ok($lost, 'and it is lost');

$node->stop;
done_testing();
