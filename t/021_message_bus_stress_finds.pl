# The stress of the message bus finds what it is there to find: on servers whose
# library leaves one guard out (DEBUG_BREAK), messages are lost, doubled or reordered.
use strict;
use warnings;

use BusStress;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# What is left out, and what must be complained of.
my %breaks = (
	bus_no_lane_lock => 'doubled',
	bus_no_return => 'lost',
	bus_cursor_at_once => 'lost',
	bus_no_claim => 'ids doubled',
	bus_any_lane => 'out of order',
	no_announce => 'lost');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
log_statement = none
EOT
$node->start;

# One round of load on a database of its own. Returns the complaints.
sub round
{
	my ($database) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION ecommerce');
	my $stress = BusStress->new($node, $database);
	$stress->start_consumers;
	$stress->start_producers(seconds => 2, synchronous_commit => 'off');
	$stress->finish_producers;
	# What is lost never comes, so there is no waiting for it.
	$node->poll_query_until($database, q{
		SELECT sum(depth) = 0 AND sum(retrying) = 0 OR now() > (SELECT max(at) + interval '15 s'
			FROM stress.last_sent)
		FROM message_bus.endpoints});
	$stress->stop_consumers;
	return $stress->complaints;
}

my $rounds = 0;
for my $break (sort keys %breaks)
{
	my $found = '';

	$node->stop;
	{
		local $ENV{ECOMMERCE_BREAK} = $break;
		$node->start;
	}
	# Rare ones may need more than one round.
	for (1 .. 10)
	{
		$rounds++;
		$found = round("round_$rounds");
		last if $found =~ /^$breaks{$break}: [1-9]/m;
	}
	like($found, qr/^$breaks{$break}: [1-9]/m, "$break: $breaks{$break}");
}

$node->restart;
is(round('not_broken'), '', 'nothing left out: nothing to complain of');
$node->stop;
done_testing();
