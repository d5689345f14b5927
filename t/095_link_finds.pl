# The stress of links finds what it is there to find: on servers whose library leaves one
# guard out (DEBUG_BREAK), messages are invented or doubled.  And with ids known nowhere,
# the positions alone see to it that each arrives once.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use LinkBed;
use Test::More;

# What is left out, where, and what must be complained of.
my %breaks = (
	link_no_durable => [ 'a', 'invented' ],
	link_no_compare => [ 'b', 'doubled' ],
	# Nothing: the guard of the guard.
	link_no_dedupe => [ 'b', '' ]);

# Nothing but what somebody waits for shall be written for a while.
my $bed = LinkBed->new('finds', conf_a => "wal_buffers = 64MB\nautovacuum = off\n");
my $rounds = 0;

# One round of load on databases of its own, with two programs that carry, stopped and
# continued; the source crashes in the middle.
sub round
{
	my ($crash) = @_;

	$rounds++;
	$bed->create("round_$rounds");
	my @pids = map { $bed->start_linkd } 1 .. 2;
	$bed->hold_log('a') if $crash;
	$bed->start_senders(3, 'off');
	for (1 .. 4)
	{
		kill 'STOP', $pids[ $_ % 2 ];
		LinkBed::meanwhile(100_000 + rand 200_000);
		kill 'CONT', $pids[ $_ % 2 ];
		LinkBed::meanwhile(rand 100_000);
	}
	$bed->crash('a') if $crash;
	$bed->finish_senders;
	$bed->stalled_or_drained;
	$bed->stop_linkd($_, 'KILL') for @pids;
	$bed->handle_all;
	return $bed->complaints;
}

for my $break (sort keys %breaks)
{
	my ($side, $wrong) = @{ $breaks{$break} };
	my $found = '';

	$bed->{$side}->stop;
	{
		local $ENV{ECOMMERCE_BREAK} = $break;
		$bed->{$side}->start;
	}
	# Rare ones may need more than one round.
	for (1 .. ($wrong ? 10 : 1))
	{
		# A crash would bring the server back unbroken.
		local $ENV{ECOMMERCE_BREAK} = $side eq 'a' ? $break : '';
		$found = round($side eq 'a');
		last if $wrong && $found =~ /^$wrong: [1-9]/m;
	}
	if ($wrong)
	{
		like($found, qr/^$wrong: [1-9]/m, "$break: $wrong");
	}
	else
	{
		is($found, '', "$break: nothing to complain of");
	}
	$bed->{$side}->stop;
	$bed->{$side}->start;
}

is(round(1), '', 'nothing left out: nothing to complain of');
done_testing();
