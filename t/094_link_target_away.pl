# The target goes away, and is back, while the source has not answered yet: whoever carries
# goes on by himself when it does.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use LinkBed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bed = LinkBed->new('away');
my $of_linkd = q{FROM pg_stat_activity WHERE application_name = 'linkd'
	AND query LIKE '%message_bus.accept(%'};
my $stopper = $bed->{a}->background_psql($bed->{database});

# The source stops where it is told what has arrived, in the round after so many messages.
sub source_stops
{
	my ($count) = @_;

	$stopper->query_safe(q{SELECT pg_advisory_lock(hashtext('link_confirm')::bigint)});
	$bed->send_some($count);
	ok($bed->{a}->poll_query_until($bed->{database}, q{SELECT count(*) > 0 FROM pg_locks
		WHERE locktype = 'advisory' AND NOT granted}), 'the source does not answer');
	return;
}

# Ends the target's connection when it has done what it was asked for.
sub target_goes_away
{
	my $pid;

	ok($bed->{b}->poll_query_until($bed->{database},
		"SELECT count(*) = 1 $of_linkd AND state = 'idle'"), 'the target has accepted');
	$pid = $bed->sql('b', "SELECT pid $of_linkd");
	$bed->sql('b', "SELECT pg_terminate_backend($pid, 60000)");
	ok($bed->{b}->poll_query_until($bed->{database},
		q{SELECT count(*) >= 2 FROM pg_stat_activity WHERE application_name = 'linkd'}),
		'the connection was lost, and is there again');
	return;
}

sub goes_on
{
	my ($what) = @_;

	$stopper->query_safe('SELECT pg_advisory_unlock_all()');
	ok($bed->drained, "$what: it goes on");
	$bed->send_some(10);
	ok($bed->drained, 'and on');
	is($bed->complaints, '', 'nothing is lost, doubled or reordered');
	return;
}

my $linkd = $bed->start_linkd('--link-batch=50');

$bed->send_some(1);
ok($bed->drained, 'it carries');

source_stops(10);
target_goes_away();
goes_on('between two rounds');

# With more than a batch in a lane the source is asked ahead, while the target accepts.
source_stops(2000);
ok($bed->{b}->poll_query_until($bed->{database},
	q{SELECT depth >= 100 FROM message_bus.endpoints WHERE name = 'in'}),
	'what was asked for before is accepted');
target_goes_away();
goes_on('while more was read');

$stopper->quit;
is($bed->stop_linkd($linkd), 0, 'it stops when asked to');

done_testing();
