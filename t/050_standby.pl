# A hot standby is as safe to read as the primary: under load, with long transactions
# and rollbacks on the primary, a reader that goes on from its last position gets
# every event once and in order. With synchronous replication no position that a
# reader has passed is used again after a failover.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf(
	'postgresql.conf', q{
shared_preload_libraries = 'ecommerce'
max_connections = 50
hot_standby_feedback = on
});
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION ecommerce');
$primary->safe_psql('postgres', 'CREATE TABLE other (n int)');
$primary->safe_psql('postgres', q{SELECT event_store.append('refund-1', 0, 'Refunded', '{}',
	'{"correlation_id": "c0000000-0000-4000-8000-000000000001"}',
	'e0000000-0000-4000-8000-000000000001')});
$primary->safe_psql('postgres', q{SELECT event_store.create_subscription('nobody')});
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub sqlstate_of
{
	my ($node, $sql) = @_;
	my ($code, $out, $err) =
	  $node->psql('postgres', $sql, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $err =~ /ERROR:  (\w{5})/ ? $1 : "none: $err";
}

# Writers: single appends, several streams in one transaction, rollbacks, savepoints,
# and transactions that take their time between append and commit.
my $script = $primary->basedir . '/writer.sql';
append_to_file(
	$script, q{
\set s random(1, 50)
\set kind random(1, 10)
BEGIN;
SELECT event_store.append('order-' || :s, -1, 'OrderPlaced', '{}');
SAVEPOINT a;
SELECT event_store.append('payment-' || :s || '-' || :client_id, -1, 'Paid', '{}');
\if :kind < 4
ROLLBACK TO a;
\endif
\if :kind = 4
SELECT pg_sleep(0.02);
\endif
\if :kind = 5
ROLLBACK;
\else
COMMIT;
\endif
});

# A transaction elsewhere that lasts throughout and has written, but appended nothing.
my $long = $primary->background_psql('postgres');
$long->query_safe('BEGIN; INSERT INTO other VALUES (1)');

my $pgbench = IPC::Run::start(
	[
		'pgbench', '-n', '-M', 'prepared', '-c', '8', '-j', '2', '-t', '1000', '-f', $script,
		$primary->connstr('postgres')
	],
	'>', \my $bench_out, '2>', \my $bench_err);

my (@seen, @marks);
my $last = 0;
my $reader = $standby->background_psql('postgres');

sub read_on
{
	my $mark = $reader->query_safe('SELECT event_store.high_water_mark()');
	push @marks, $mark;
	my $rows = $reader->query_safe("SELECT position FROM event_store.read_all($last, 100000)");
	my @positions = grep { /^\d+$/ } split /\n/, $rows;
	push @seen, @positions;
	$last = $positions[-1] if @positions;
	return scalar @positions;
}

do
{
	$pgbench->pump_nb;
	read_on();
} while $pgbench->pumpable;
$pgbench->finish;
is($bench_err, '', 'the writers ran without errors');
# Only what the primary publishes can tell it, as long as a transaction runs there.
$primary->wait_for_catchup($standby);
ok( $standby->poll_query_until(
		'postgres',
			'SELECT event_store.high_water_mark() >= max(position) FROM event_store.stored_event'),
	'the standby comes to the end, whoever has a transaction open');
$long->query_safe('COMMIT');
my $expected = $primary->safe_psql('postgres',
	'SELECT position FROM event_store.stored_event ORDER BY position');
my $count = () = $expected =~ /\d+/g;
1 while read_on();
cmp_ok($count, '>', 2000, "there was something to read ($count events)");
is(join("\n", @seen), $expected, 'the reader on the standby got every event once and in order');
ok(!(grep { $marks[$_] < $marks[ $_ - 1 ] } 1 .. $#marks), 'marks on the standby never go back');
for my $read (
	q{event_store.read_stream('order-1')},
	q{event_store.read_stream('order-1', backward => true, max_count => 3)},
	q{event_store.read_all(100, 500, 'order')},
	q{event_store.read_between('-infinity', 'infinity', 'payment', 200)},
	q{event_store.read_correlation('c0000000-0000-4000-8000-000000000001')},
	q{event_store.get_event('e0000000-0000-4000-8000-000000000001')},
	q{event_store.stream_version('order-1')},
	q{event_store.streams})
{
	# Not sorted here: the order is the function's own, but for the view.
	my $order = $read =~ /streams/ ? 'ORDER BY stream' : '';
	my $sql = "SELECT * FROM $read r $order";
	my $answer = $primary->safe_psql('postgres', $sql);

	isnt($answer, '', "$read: something");
	is($standby->safe_psql('postgres', $sql), $answer, "$read: the same on the standby");
}

# What writes is refused, what waits polls.
for my $sql (
	q{SELECT event_store.append('order-1', -1, 'X', '{}')},
	q{SELECT event_store.append_batch('order-1', -1, '{}')},
	q{SELECT event_store.append_json('order-1', -1, '[]')},
	q{SELECT event_store.check_version('order-1', -1)},
	q{SELECT event_store.fetch('nobody')},
	q{SELECT event_store.advance('nobody', 0)},
	q{SELECT event_store.reset_subscription('nobody', 0)},
	q{SELECT event_store.drop_subscription('nobody')},
	q{SELECT event_store.delete_stream('order-1', -1)},
	q{SELECT event_store.tombstone_stream('order-1', -1)},
	q{SELECT event_store.set_retention('order', 1)},
	q{SELECT event_store.scavenge()},
	q{SELECT event_store.create_subscription('s')})
{
	is(sqlstate_of($standby, $sql), '25006', "refused on a standby: $sql");
}
# Nothing lies beyond the counter; the echo comes when wait has returned, by an event alone.
$last = $primary->safe_psql('postgres', 'SELECT event_store.position_counter()');
my $waiter = $standby->background_psql('postgres');
$waiter->query_until(qr/waiting/, "\\echo waiting\nCALL event_store.wait($last, '1 h');\n");
$primary->safe_psql('postgres', q{SELECT event_store.append('order-1', -1, 'OrderPlaced', '{}')});
$waiter->query_until(qr/returned/, "\\echo returned\n");
$waiter->quit;
pass('wait on the standby returns when an event arrives');

# Synchronous replication: the mark waits for the standby.
$primary->append_conf('postgresql.conf',
	"synchronous_standby_names = 'standby'\nsynchronous_commit = on");
$primary->reload;
$primary->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication
	WHERE sync_state = 'sync'})
  or die 'the standby does not become synchronous';
my $mark = $primary->safe_psql('postgres', 'SELECT event_store.high_water_mark()');
$standby->stop;
my $lonely = $primary->background_psql('postgres');
$lonely->query_until(
	qr/appended/, q{
SET synchronous_commit = local;
SELECT event_store.append('order-2', -1, 'OrderPlaced', '{}');
\echo appended
});
is(sqlstate_of($primary, q{SET statement_timeout = '500 ms'; SELECT event_store.high_water_mark()}),
	'57014', 'the mark waits while the synchronous standby lacks what it speaks of');
$standby->start;
ok($primary->poll_query_until('postgres', "SELECT event_store.high_water_mark() > $mark"),
	'and moves on when the standby has it');
$lonely->quit;

# Failover.
my $passed = $primary->safe_psql('postgres', 'SELECT event_store.high_water_mark()');
$reader->quit;
$primary->stop('immediate');
$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$standby->promote;
$standby->reload;
ok( $standby->poll_query_until(
		'postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
			WHERE backend_type = 'ecommerce worker'}),
	'the promoted standby has a worker');
cmp_ok($standby->safe_psql('postgres', q{SELECT "position" FROM event_store.append('order-3', -1,
	'OrderPlaced', '{}')}),
	'>', $passed, 'no position is used again that a reader has passed');
is($standby->safe_psql('postgres', 'SELECT * FROM event_store.verify()'), '',
	'verify finds nothing');

done_testing();
