# The stress finds what it is there to find: on servers whose library breaks the
# protocol of positions in one place (DEBUG_BREAK), readers miss events.
use strict;
use warnings;

use EventStress;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# What is broken, and the readers that can notice.
my %breaks = (
	no_announce => [ 'wait', 'mark' ],
	clear_before_commit => [ 'wait', 'mark' ],
	max_position => [ 'wait', 'mark' ],
	# The reader by mark takes its snapshot itself, in the right order.
	mark_after_snapshot => ['wait']);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
log_statement = none
fsync = on
EOT
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');
my $stress = EventStress->new($node);
my $rounds = 0;

# One round of load. Returns what the readers complain of.
sub round
{
	my (@kinds) = @_;
	my $after = $node->safe_psql('postgres',
		'SELECT coalesce(max(position), 0) FROM event_store.stored_event');

	$rounds++;
	$stress->start_reader("$_$rounds", kind => $_, after => $after) for @kinds;
	$stress->start_writers(clients => 12, transactions => 60,
		options => { synchronous_commit => 'off' });
	$stress->finish_writers;
	return $stress->finish_readers;
}

for my $break (sort keys %breaks)
{
	my %missing = map { $_ => 1 } @{ $breaks{$break} };

	$node->stop;
	{
		local $ENV{ECOMMERCE_BREAK} = $break;
		$node->start;
	}
	# Rare ones may need more than one round.
	for (1 .. 20)
	{
		my $found = round(keys %missing);
		delete $missing{$_} for $found =~ /^reader (\w+?)\d+: of \d+ events [1-9]\d* missed/mg;
		last unless %missing;
	}
	is(join(' ', keys %missing), '', "broken by $break:
		readers miss events (found in round $rounds)");
}

$node->restart;
is(round('wait', 'mark'), '', 'not broken: none is missed');
$node->stop;
done_testing();
