# While events are appended and consumed, messages sent and handled, sagas run and
# projections follow, a DBA and his tools do all that they do: no crash, nothing lost,
# doubled or reordered, nothing damaged, and a subscriber follows. DBA_SECONDS: how long a
# day is; DBA_SEED: which one.
use strict;
use warnings;

use BusStress;
use DbaDay;
use Follower;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SagaStress;
use Test::More;

my $seconds = $ENV{DBA_SECONDS} // 20;
# In a short run the same one each time, so that a failure is the change's.
my $seed = $ENV{DBA_SEED} // ($ENV{DBA_SECONDS} ? int rand 1_000_000 : 1);
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
message_bus.dedupe_window = 15s
max_connections = 100
saga.log_transitions = off
log_statement = none
max_worker_processes = 16
EOT
$node->start;
note("DBA_SEED=$seed");
my $sagas = SagaStress->new($node);
my $bus = BusStress->new($node);

$node->safe_psql('postgres', <<'EOT');
CREATE SCHEMA day;
CREATE TABLE day.appended (stream text, n bigint, PRIMARY KEY (stream, n));
CREATE TABLE day.seen (ord bigserial, position bigint, stream text, n bigint);
CREATE TABLE day.projected (stream text PRIMARY KEY, n bigint, sum bigint);
CREATE FUNCTION day.append(name text) RETURNS void LANGUAGE sql AS $$
	WITH e AS (SELECT (event_store.append(name, -1, 'Counted', '{"n": 1}')).version)
	INSERT INTO day.appended SELECT name, e.version FROM e
$$;
CREATE FUNCTION day.consume() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	last bigint;
BEGIN
	WITH e AS MATERIALIZED (SELECT * FROM event_store.fetch('day', 50)),
		s AS (INSERT INTO day.seen (position, stream, n)
			SELECT e.position, e.stream, e.version FROM e)
	SELECT max(e.position) INTO last FROM e;
	IF last IS NOT NULL THEN
		PERFORM event_store.advance('day', last);
	END IF;
END
$$;
CREATE FUNCTION day.project(e event_store.event) RETURNS void LANGUAGE sql AS $$
	INSERT INTO day.projected AS p VALUES (e.stream, 1, e.version)
	ON CONFLICT (stream) DO UPDATE SET n = p.n + 1, sum = p.sum + e.version
$$;
SELECT event_store.create_subscription('day', category => 'day', partitions => 4);
SELECT event_store.create_projection('day', 'day.project(event_store.event)',
	category => 'day', mode => 'async', tables => '{day.projected}');
EOT
my $follower = Follower->new($node);
my $directory = PostgreSQL::Test::Utils::tempdir();
append_to_file("$directory/append", "\\set s random(1, 30)\nSELECT day.append('day-' || :s);\n");
append_to_file("$directory/consume", "SELECT day.consume();\n");

# Clients of a few seconds, again and again: what fails ends one of them.
my $dba = DbaDay->new($node, 'follower');
$dba->start($seconds, $seed);
$dba->start($seconds, $seed + 1);
my $end = time + $seconds;
my $complaints = '';
while (time < $end)
{
	my ($out, $err) = ('', '');

	$bus->start_consumers;
	$bus->start_producers(seconds => 4, synchronous_commit => 'off');
	$sagas->run_client('serve', 2, 4);
	$sagas->run_client('start', 1, 4);
	IPC::Run::run([ 'pgbench', '-n', '-T', 4, '-c', 4, '-f', "$directory/append\@3", '-f',
			"$directory/consume", $node->connstr('postgres') . ' application_name=load' ],
		\undef, \$out, \$err);
	$complaints .= $err;
	$bus->finish_producers;
	$bus->stop_consumers;
	$sagas->finish_clients;
}
$dba->finish;

unlike($node->logfile && slurp_file($node->logfile),
	qr/PANIC|TRAP|terminated by signal (?:4|6|7|8|11)|unrecognized node|cache lookup failed/,
	'nothing crashed');
# What stopped a client was told to it with what to do, or is a lock, a cancel, a termination.
my @strange = grep {
	/ERROR|FATAL/
	  && !/deadlock|lock timeout|statement timeout|user request|administrator command|recovery/
	  && !/could not serialize|unexpected columns/
} split /\n/, $complaints;
is(join("\n", @strange), '', 'what clients were told');
ok($sagas->complete, 'every saga ends');
$bus->start_consumers;
ok($bus->drained, 'everything sent is consumed in the end');
$bus->stop_consumers;
is($bus->complaints, '', 'no message is lost, doubled or reordered');
is($sagas->complaints, '', 'each made its six transitions, each command was sent once');
ok( $node->poll_query_until('postgres', q{SELECT day.consume() IS NOT NULL
		AND (SELECT count(*) FROM day.seen) = (SELECT count(*) FROM day.appended)}),
	'every event is consumed');
is( $node->safe_psql('postgres', q{
		SELECT 'events: ' || count(*) FROM (
			(SELECT stream, n FROM day.appended EXCEPT SELECT stream, n FROM day.seen) UNION ALL
			(SELECT stream, n FROM day.seen EXCEPT SELECT stream, n FROM day.appended)) x
		HAVING count(*) > 0
		UNION ALL SELECT 'reordered: ' || count(*) FROM (
			SELECT n <= lag(n) OVER (PARTITION BY stream ORDER BY ord) AS wrong FROM day.seen) o
		WHERE wrong HAVING count(*) > 0
		UNION ALL SELECT 'versions of ' || stream FROM day.appended
		GROUP BY stream HAVING max(n) <> count(*)}),
	'', 'no event is lost, doubled or reordered');
ok( $node->poll_query_until('postgres', q{
		SELECT (SELECT sum(n) FROM day.projected) = (SELECT count(*) FROM day.appended)}),
	'the projection has each event once')
  or diag($node->safe_psql('postgres', 'SELECT * FROM event_store.projections'));
is($node->safe_psql('postgres', 'SELECT * FROM event_store.verify()'), '', 'the store is sound');
is($follower->complaints(qw(event_store.stored_event event_store.stream day.appended day.seen)),
	'', 'the subscriber has all of it');
$follower->leave;
is($dba->damage, '', 'no index and no table is damaged');
note($dba->log);
$node->stop;
done_testing();
