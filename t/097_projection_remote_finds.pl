# The test of remote projections finds what it is there to find: without the comparison of
# positions events are doubled, and read by the local mark they leave too early.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use FeedBed;
use Test::More;

my $bed = FeedBed->new('finds', conf_a => "max_connections = 50\n",
	conf_b => "max_connections = 50\n");

# Restarts a server with a part of the library broken, '' for none.
sub break_at
{
	my ($side, $break) = @_;

	local $ENV{ECOMMERCE_BREAK} = $break;
	$bed->{$side}->restart;
	return;
}

# One batch is held up in one program until another one has brought it.
sub race
{
	my $first = $bed->start_linkd;
	my $stopper = $bed->{b}->background_psql($bed->{database});

	$bed->send_some(10);
	$bed->caught_up or die 'it is not fed';
	$stopper->query_safe(q{SELECT pg_advisory_lock(hashtext('remote_apply')::bigint)});
	$bed->send_some(10);
	$bed->{b}->poll_query_until($bed->{database}, q{SELECT count(*) > 1 FROM pg_locks
		WHERE locktype = 'advisory' AND NOT granted}) or die 'nobody brings anything';
	my $second = $bed->start_linkd;
	$bed->{b}->poll_query_until($bed->{database}, q{SELECT count(*) > 3 FROM pg_locks
		WHERE locktype = 'advisory' AND NOT granted}) or die 'the other one brings nothing';
	$stopper->query_safe(q{SELECT pg_advisory_unlock_all()});
	$stopper->quit;
	$bed->caught_up or die 'it is not fed';
	# Until both have brought what they had.
	$bed->stop_linkd($_) for $first, $second;
	$bed->{b}->poll_query_until($bed->{database}, q{SELECT count(*) = 0 FROM pg_stat_activity
		WHERE application_name = 'linkd'}) or die 'they do not go';
	return $bed->complaints;
}

is(race(), '', 'nothing left out: two bring the same batch, and it counts once');
break_at('b', 'remote_no_compare');
like(race(), qr/^doubled: [1-9]/m, 'remote_no_compare: doubled');
break_at('b', '');

$bed->create('anew');
break_at('a', 'link_no_durable');
$bed->{a}->append_conf('postgresql.conf', "synchronous_standby_names = 'ghost'");
$bed->{a}->reload;
ok($bed->{a}->poll_query_until('postgres',
	q{SELECT current_setting('synchronous_standby_names') = 'ghost'}), 'a standby is expected');
my $pid = $bed->start_linkd;
$bed->send_some(20, 'local');
ok($bed->{b}->poll_query_until($bed->{database}, 'SELECT count(*) = 20 FROM stress.handled'),
	'link_no_durable: what nobody else has leaves');
$bed->stop_linkd($pid, 'KILL');
done_testing();
