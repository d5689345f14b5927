# Readers of every kind on a hot standby, under load with rollbacks, savepoints, killed
# backends and long transactions on the primary, and in the quiet moments of a light
# load; with and without a worker that publishes the mark. Then a synchronous standby
# that is away.
use strict;
use warnings;

use EventStress qw(poll);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
max_connections = 60
max_worker_processes = 8
log_statement = none
hot_standby_feedback = on
EOT
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION ecommerce');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
my $stress = EventStress->new($primary);
my $phase = 0;

# What readers on the standby complain of, after both kinds of load.
sub complaints
{
	my ($preloaded) = @_;
	my $bystander = $primary->background_psql('postgres');
	my $after = $primary->safe_psql('postgres',
		'SELECT coalesce(max(position), 0) FROM event_store.stored_event');

	$phase++;
	$bystander->query_safe('BEGIN; SELECT pg_current_xact_id()') if $preloaded;
	$primary->wait_for_catchup($standby);
	$stress->start_reader("$_->[0]$phase", kind => $_->[1], category => $_->[2],
		node => $standby, after => $after)
	  for [ 'all', 'wait' ], [ 'mark', 'mark' ], [ 'poll', 'poll' ], [ 'c1', 'poll', 'c1' ];
	$stress->start_writers(clients => 10, transactions => 300,
		options => { synchronous_commit => 'off' });
	$stress->finish_writers(kill => 1);
	$bystander->quit;
	# Now there are moments without any transaction.
	for (1 .. 3)
	{
		$stress->start_writers(clients => 1, transactions => 100);
		$stress->finish_writers;
	}
	return $stress->finish_readers;
}

is(complaints(1), '',
	"$stress->{commits} commits: readers on the standby saw exactly what was committed");
for my $node ($primary, $standby)
{
	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
	$node->restart;
}
is(complaints(0), '', "$stress->{commits} commits, without preload: the same");
is($standby->safe_psql('postgres', 'SELECT * FROM event_store.verify()'), '', 'verify works there');
my ($status, $stdout, $stderr) = $standby->psql('postgres',
	"SET statement_timeout = '30 s'; SELECT ecommerce.start_worker()",
	extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
like($stderr, qr/ERROR:  25006/, 'no worker is started there');

# A synchronous standby that is away holds marks back, until it is given up.
$primary->append_conf('postgresql.conf', "synchronous_standby_names = 'standby'");
$primary->reload;
$primary->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
  or die 'the standby does not become synchronous';
my $mark = $primary->safe_psql('postgres', 'SELECT event_store.high_water_mark()');
$standby->stop;
$primary->safe_psql('postgres', q{SET synchronous_commit = local;
	SELECT event_store.append('order-1', -1, 'Placed', '{}')});
my $started = time;
cmp_ok($primary->safe_psql('postgres', "CALL event_store.wait($mark, '300 ms')"),
	'<=', $mark, 'wait does not return what the standby does not have');
cmp_ok(time() - $started, '<', 60, 'but returns at its timeout');
my $reader = $primary->background_psql('postgres');
$reader->{stdin} .= "SELECT 'mark', event_store.high_water_mark();\n";
$reader->{run}->pump_nb;
ok( $primary->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity
		WHERE query LIKE 'SELECT ''mark%' AND wait_event = 'Extension'"),
	'a reader waits for the standby');
$primary->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$primary->reload;
like($reader->query_until(qr/mark\|\d+\n/, ''), qr/^mark\|\d+/, 'and goes on when it is given up');
$reader->quit;
$primary->stop;
done_testing();
