# Every message that was sent is handled exactly once, and in the order of its key,
# while producers and consumers roll back, use savepoints and lose their backends,
# and the server is killed and started again. STRESS_MESSAGES: how many at least.
use strict;
use warnings;

use BusStress;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $wanted = $ENV{STRESS_MESSAGES} // 60000;
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
message_bus.dedupe_window = 2s
log_statement = none
fsync = on
EOT
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');

my $stress = BusStress->new($node);
my $rounds = 0;
my $victims = 0;

my $sent = 0;

# At least one round that ends with the server and one that does not.
while ($sent < $wanted || $rounds < 2)
{
	$rounds++;
	$stress->start_consumers;
	$stress->start_producers(seconds => 5, synchronous_commit => $rounds % 2 ? 'on' : 'off');
	$victims += $stress->terminate_some(3);
	$stress->kill_consumer;
	if ($rounds % 2)
	{
		$stress->kill_server;
	}
	else
	{
		$stress->finish_producers;
		$stress->stop_consumers;
	}
	$sent = $stress->sent;
}
$stress->start_consumers;
ok($stress->drained, 'everything sent is consumed in the end');
$stress->stop_consumers;

cmp_ok($sent, '>=', $wanted, "$sent messages sent in $rounds rounds");
cmp_ok($victims, '>', 0, "$victims backends were terminated in between");
is($stress->complaints, '', 'none lost, none doubled, keys in order, retried ones too');
is( $node->safe_psql('postgres', q{
		SELECT name, depth, in_flight, scheduled, retrying, dead FROM message_bus.endpoints
		WHERE (depth, in_flight, scheduled, retrying, dead) <> (0, 0, 0, 0, 0)}),
	'', 'nothing is left over');
$node->stop;
done_testing();
