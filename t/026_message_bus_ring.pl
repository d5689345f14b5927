# An endpoint that nobody reads, with more messages than the ring has room for, keeps
# nothing of what others have consumed, and loses nothing itself, though servers are
# killed meanwhile. On servers that leave a guard of evacuation out (DEBUG_BREAK) it
# does. RING_ROUNDS: how many rounds of load, the server being killed in every other.
use strict;
use warnings;

use BusStress;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
message_bus.dedupe_window = 300ms
log_statement = none
EOT
$node->start;

# The state of every segment that is not free.
my $states = q{SELECT string_agg(state, ' ' ORDER BY state) FROM message_bus.ring
	WHERE state <> 'free' AND messages > 0};

$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');
my $stress = BusStress->new($node);
$stress->send_to_away;
my $killed = 0;
for my $round (1 .. $ENV{RING_ROUNDS} // 3)
{
	$stress->start_consumers;
	$stress->start_producers(seconds => 6, synchronous_commit => 'off');
	if ($round % 2)
	{
		$stress->terminate_some(3);
		# In the middle of it.
		$node->poll_query_until('postgres',
			q{SELECT count(*) > 0 FROM message_bus.ring WHERE state = 'store'})
		  or die 'nothing is evacuated';
		$stress->kill_server;
		$killed++;
	}
	else
	{
		$stress->finish_producers;
		$stress->stop_consumers;
	}
}
$stress->start_consumers;
ok( $node->poll_query_until('postgres', q{SELECT sum(depth) = 0 AND sum(retrying) = 0
	FROM message_bus.endpoints WHERE name <> 'away'}),
	"all others' messages are consumed, after $killed kills");
$stress->stop_consumers;

my $away = $node->safe_psql('postgres', "SELECT count(*) FROM stress.sent WHERE endpoint = 'away'");
cmp_ok($away, '>', 10000, "$away messages are read by nobody");
ok( $node->poll_query_until('postgres', q{
		SELECT count(*) FILTER (WHERE state NOT IN ('free', 'store') AND messages > 0) <= 3
			AND sum(messages) - (SELECT depth FROM message_bus.endpoints WHERE name = 'away')
				< (SELECT count(*) / 10 FROM stress.handled) + 10000
		FROM message_bus.ring}), 'what is consumed is not kept because of them')
  or diag($node->safe_psql('postgres', 'TABLE message_bus.ring'));
$stress->start_away_consumers;
ok($stress->drained, 'they are consumed when somebody comes');
$stress->stop_consumers;
is($stress->complaints, '', 'none lost, none doubled, keys in order');
ok( $node->poll_query_until('postgres', 'SELECT sum(messages) < 10000 FROM message_bus.ring'),
	'nothing is left of them');
is($node->safe_psql('postgres', 'SELECT problem FROM message_bus.verify()'),
	'', 'tables and shared memory agree');

# Fills segments with messages of three endpoints, of which busy is read.
sub fill
{
	my ($database, $rounds) = @_;

	for (1 .. $rounds)
	{
		$node->safe_psql($database, q{
			SELECT count(message_bus.send(name, 'T', jsonb_build_object('n', i),
				partition_key => 'k'))
			FROM generate_series(1, 2500) i, unnest('{away,gone,busy,busy}'::text[]) name;
			WITH r AS MATERIALIZED (SELECT delivery_id FROM message_bus.receive('busy', 9999))
			SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM r});
		$node->poll_query_until($database, q{
			SELECT count(*) > 0 FROM message_bus.ring WHERE state = 'current' AND messages < 9000})
		  or die 'the ring does not turn';
	}
	return;
}

# Whether all that is unread lies in the store, and nowhere else.
my $evacuated = q{SELECT count(*) = 0 FROM message_bus.ring
	WHERE state NOT IN ('free', 'store') AND messages > 0};

# Messages of one endpoint that arrive in the end, of so many.
sub arrive
{
	my ($database, $endpoint) = @_;

	return $node->safe_psql($database, qq{
		WITH r AS MATERIALIZED (SELECT delivery_id FROM message_bus.receive('$endpoint', 99999))
		SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM r});
}

my $number = 0;

# A database whose endpoints away and gone have all they have in the store, away for
# the second time.  Returns its name and how many messages have arrived at away.
sub evacuate_twice
{
	my $database = 'ring_' . ++$number;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, q{
		CREATE EXTENSION ecommerce;
		SELECT message_bus.create_endpoint(name, 1) FROM unnest('{away,gone,busy}'::text[]) name});
	fill($database, 2);
	$node->poll_query_until($database, $evacuated) or die 'nothing is evacuated';
	my $arrived = arrive($database, 'away');
	# Its lane is found to have nothing more in the store.
	$node->safe_psql($database, 'SELECT message_bus.maintain()');
	fill($database, 2);
	$node->poll_query_until($database, $evacuated) or die 'nothing is evacuated';
	return ($database, $arrived + arrive($database, 'away'));
}

my ($intact, $arrived) = evacuate_twice();
is($arrived, 10000, 'two evacuations into one store: all messages arrive');
# An old snapshot sees what it saw.
my $old = $node->background_psql($intact, on_error_stop => 1);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
fill($intact, 1);
my $later = $node->background_psql($intact, on_error_stop => 1);
$later->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
$node->poll_query_until($intact,
	q{SELECT count(*) > 0 FROM message_bus.ring WHERE state = 'evacuated'})
  or die 'nothing is evacuated';
my $sees = q{SELECT count(DISTINCT position) FROM message_bus._ring
	JOIN message_bus.endpoint USING (endpoint_id) WHERE name = 'away' AND position >
		(SELECT max(position) FROM message_bus._cursor JOIN message_bus.endpoint
			USING (endpoint_id) WHERE name = 'away')};
is($later->query_safe($sees), 2500, 'a snapshot from before the copies sees the messages');
$_->quit for $old, $later;

for my $break ('evacuate_in_part', 'evacuate_in_silence')
{
	$node->stop;
	{
		local $ENV{ECOMMERCE_BREAK} = $break;
		$node->start;
	}
	cmp_ok((evacuate_twice())[1] || 0, '<', 10000, "$break: messages are lost");
}
$node->stop;
done_testing();
