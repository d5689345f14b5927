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

# One round of load on a database of its own. Returns the complaints. What a broken
# server has lost never comes, so it is not waited for: everything is consumed when
# nothing more has been for a while.
sub round
{
	my ($database, %options) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION ecommerce');
	my $stress = BusStress->new($node, $database);
	$stress->start_consumers;
	$stress->start_producers(seconds => 2, synchronous_commit => 'off');
	$stress->finish_producers;
	if ($options{intact})
	{
		ok($stress->drained, 'everything sent is consumed in the end');
	}
	else
	{
		$stress->stalled;
	}
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
is(round('not_broken', intact => 1), '', 'nothing left out: nothing to complain of');
$node->stop;
done_testing();
