# The demo's step about the message bus does what it says, twice in one database, and
# leaves nothing running.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('bus_demo');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');

for my $run (1, 2)
{
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGDATABASE} = 'postgres';
	my ($out, $err) = run_command([ 'demo/bus.sh' ]);

	is($err, '', "run $run: no complaint");
	like($out, qr/4242 .* 5 .* 3\n/, "run $run: retried twice");
	like($out, qr/fault .* 22023 .* no amount to charge .* 1\n/, "run $run: a dead letter");
	like($out, qr/--redrive=.*\n  1\n/, "run $run: redriven");
	like($out, qr/4242 .* 5\n  .*1881 .* 7\n/, "run $run: both charged");
	like($out, qr/demo-cards .* 0 .* 0 .* 0\n?\z/, "run $run: nothing is left over");
}
ok($node->poll_query_until('postgres',
	q{SELECT count(*) = 0 FROM pg_stat_activity WHERE query ~ 'demo-cards|message_bus'
		AND backend_type = 'client backend' AND pid <> pg_backend_pid()}),
	'the consumer has gone');
$node->stop;
done_testing();
