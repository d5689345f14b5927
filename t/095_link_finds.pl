# The stress of links finds what it is there to find: on servers whose library leaves one
# guard out (DEBUG_BREAK), messages leave too early or are doubled.  And with ids known
# nowhere, the positions alone see to it that each arrives once.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use LinkBed;
use Test::More;

# What is left out where messages are accepted, and what must be complained of.
my %breaks = (
	link_no_compare => 'doubled',
	# Nothing: the guard of the guard.
	link_no_dedupe => '');

my $bed = LinkBed->new('finds');
my $rounds = 0;

# Restarts a server with a part of the library broken, '' for none.
sub break_at
{
	my ($side, $break) = @_;

	local $ENV{ECOMMERCE_BREAK} = $break;
	$bed->{$side}->restart;
	return;
}

# One round of load on databases of its own, with two programs that carry, stopped and
# continued.  What is wrong then.
sub round
{
	$rounds++;
	$bed->create("round_$rounds");
	my @pids = map { $bed->start_linkd } 1 .. 2;
	$bed->start_senders(3, 'off');
	for (1 .. 4)
	{
		kill 'STOP', $pids[ $_ % 2 ];
		LinkBed::meanwhile(100_000 + rand 200_000);
		kill 'CONT', $pids[ $_ % 2 ];
		LinkBed::meanwhile(rand 100_000);
	}
	$bed->finish_senders;
	$bed->stalled_or_drained;
	$bed->stop_linkd($_, 'KILL') for @pids;
	$bed->handle_all;
	return $bed->complaints;
}

# Read by the local mark, what a synchronous standby has not got leaves: a failover
# would have it never sent.
break_at('a', 'link_no_durable');
$bed->{a}->append_conf('postgresql.conf', "synchronous_standby_names = 'ghost'");
$bed->{a}->reload;
ok($bed->{a}->poll_query_until('postgres',
	q{SELECT current_setting('synchronous_standby_names') = 'ghost'}), 'a standby is expected');
my $pid = $bed->start_linkd;
$bed->sql('a', 'SET synchronous_commit = local; SELECT stress.send(0, 1, 20)');
ok($bed->{b}->poll_query_until($bed->{database},
		q{SELECT depth > 0 FROM message_bus.endpoints WHERE name = 'in'}),
	'link_no_durable: what nobody else has leaves');
$bed->stop_linkd($pid, 'KILL');
$bed->{a}->append_conf('postgresql.conf', "synchronous_standby_names = ''");
break_at('a', '');

for my $break (sort keys %breaks)
{
	my $wrong = $breaks{$break};
	my $found = '';

	break_at('b', $break);
	# Rare ones may need more than one round.
	for (1 .. ($wrong ? 10 : 1))
	{
		$found = round();
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
}

break_at('b', '');
is(round(), '', 'nothing left out: nothing to complain of');
done_testing();
