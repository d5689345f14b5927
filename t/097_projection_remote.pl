# Events of one server projected in another, in everything that can happen to them: each
# is handled once, in the order of its stream, and what cannot be mended is said.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use FeedBed;
use HTTP::Tiny;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bed = FeedBed->new('feed', conf_a => "max_wal_senders = 10\nmax_connections = 50\n",
	conf_b => "max_connections = 50\n");

sub until_state
{
	my ($state, $what) = @_;
	ok($bed->{b}->poll_query_until($bed->{database}, "SELECT state = '$state'
		FROM event_store.projections WHERE name = 'copy'"), $what);
	return;
}

subtest 'it is fed' => sub {
	my $pid = $bed->start_linkd;

	$bed->send_some(1000);
	ok($bed->caught_up, 'what is appended there is handled here');
	is($bed->complaints, '', 'all of it, once, in order');
	is($bed->sql('b', q{SELECT lag_events, lag_positions, lag = '0', source
		FROM event_store.projections WHERE name = 'copy'}), '0|0|t|a', 'and that can be seen');
	my $ready = HTTP::Tiny->new->get("http://127.0.0.1:$bed->{port}{$pid}/health/ready");
	like($ready->{content}, qr/"projections":\{"status":"ok"\}/, 'it is ready');
	like(HTTP::Tiny->new->get("http://127.0.0.1:$bed->{port}{$pid}/metrics")->{content},
		qr/feed_events_total\{projection="copy",outcome="applied"\} 1000/, 'it counts');
	is($bed->sql('b', q{SELECT count(*) FROM stress.batched}), 1000, 'a handler of arrays too');
	$bed->sql('b', q{SELECT event_store.pause_projection('copy')});
	$bed->send_some(10);
	until_state('paused', 'it can be paused');
	$bed->sql('b', q{SELECT event_store.resume_projection('copy')});
	ok($bed->caught_up, 'and goes on');
	$bed->sql('a', q{SELECT event_store.append('others-1', -1, 'Counted', '{}')});
	my $mark = $bed->sql('a', q{SELECT event_store.high_water_mark()});
	ok($bed->{b}->poll_query_until($bed->{database}, "SELECT checkpoint >= $mark
		FROM event_store.projections WHERE name = 'typed'"), 'it goes over what is not for it');
	is($bed->stop_linkd($pid), 0, 'it stops when asked to');
};

subtest 'at rest it wakes nobody' => sub {
	my $pid = $bed->start_linkd;
	my $busy = q{SELECT max(state_change) FROM pg_stat_activity WHERE application_name = 'linkd'};

	$bed->send_some(10);
	ok($bed->caught_up, 'it is fed');
	$bed->sql($_, 'SELECT pg_sleep(3)') for qw(a b);
	my %before = map { $_ => $bed->sql($_, $busy) } qw(a b);
	isnt($before{$_}, '', "it is connected to $_") for qw(a b);
	$bed->sql('a', 'SELECT pg_sleep(10)');
	is($bed->sql($_, $busy), $before{$_}, "in ten seconds it has asked $_ for nothing") for qw(a b);
	$bed->send_some(1);
	ok($bed->caught_up, 'and is there when something comes');
	$bed->stop_linkd($pid);
};

subtest 'killed while it applies, and at any moment' => sub {
	my $pid = $bed->start_linkd;
	my $stopper = $bed->{b}->background_psql($bed->{database});

	$stopper->query_safe(q{SELECT pg_advisory_lock(hashtext('remote_apply')::bigint)});
	$bed->send_some(100);
	ok($bed->{b}->poll_query_until($bed->{database}, q{SELECT count(*) > 0 FROM pg_locks
		WHERE locktype = 'advisory' AND NOT granted}), 'a batch is being applied');
	$bed->stop_linkd($pid, 'KILL');
	$stopper->query_safe(q{SELECT pg_advisory_unlock_all()});
	$stopper->quit;
	$pid = $bed->start_linkd;
	ok($bed->caught_up, 'another one goes on');
	is($bed->complaints, '', 'nothing is lost or doubled');
	$bed->start_senders(3);
	for (1 .. 6)
	{
		LinkBed::meanwhile(rand 300_000);
		$bed->stop_linkd($pid, 'KILL');
		$pid = $bed->start_linkd;
	}
	$bed->finish_senders;
	ok($bed->caught_up, 'everything is handled');
	is($bed->complaints, '', 'once, whenever it was killed');
	$bed->stop_linkd($pid);
};

subtest 'two at once, one stopped and continued' => sub {
	my @pids = map { $bed->start_linkd } 1 .. 2;

	$bed->start_senders(3);
	for (1 .. 6)
	{
		kill 'STOP', $pids[ $_ % 2 ];
		LinkBed::meanwhile(200_000 + rand 200_000);
		kill 'CONT', $pids[ $_ % 2 ];
		LinkBed::meanwhile(rand 100_000);
	}
	$bed->finish_senders;
	ok($bed->caught_up, 'everything is handled');
	is($bed->complaints, '', 'once, and in order');
	$bed->stop_linkd($_) for @pids;
};

subtest 'servers crash' => sub {
	my $pid = $bed->start_linkd;

	for my $side (qw(a b))
	{
		$bed->start_senders(3, 'off');
		LinkBed::meanwhile(1_000_000);
		$bed->crash($side);
		$bed->finish_senders;
	}
	ok($bed->caught_up, 'everything that a has still is handled');
	is($bed->complaints, '', 'and nothing else');
	isnt($bed->sql('b', q{SELECT state FROM event_store.projections WHERE name = 'copy'}), 'lost',
		'nobody calls it lost');
	$bed->stop_linkd($pid);
};

subtest 'a handler that fails' => sub {
	my $pid = $bed->start_linkd;

	$bed->sql('b', 'INSERT INTO stress.bad VALUES (3)');
	my $first = $bed->send_some(5);
	until_state('failed', 'it stops');
	is($bed->sql('b', "SELECT count(*) FROM stress.handled WHERE n >= $first"), 2,
		'what came before it counts');
	is($bed->sql('b', q{SELECT kind, severity FROM ecommerce.problems
		WHERE object = 'projection copy'}), 'projection_failed|error', 'and somebody is told');
	$bed->sql('b', 'DELETE FROM stress.bad');
	$bed->sql('b', q{SELECT event_store.resume_projection('copy')});
	ok($bed->caught_up, 'mended, it goes on');
	is($bed->complaints, '', 'nothing is lost or doubled');
	$bed->sql('b', q{SELECT event_store.rebuild_projection('copy')});
	ok($bed->caught_up, 'it is rebuilt');
	is($bed->complaints, '', 'from the first event on');
	is($bed->sql('b', 'SELECT count(*) FROM stress.handled WHERE NOT replayed'), 0,
		'and the handler was told');
	$bed->stop_linkd($pid);
};

subtest 'a synchronous standby that is not there' => sub {
	my $pid = $bed->start_linkd;
	my $before = $bed->sql('b', 'SELECT count(*) FROM stress.handled');

	$bed->{a}->append_conf('postgresql.conf', "synchronous_standby_names = 'ghost'");
	$bed->{a}->reload;
	ok($bed->{a}->poll_query_until($bed->{database},
		q{SELECT current_setting('synchronous_standby_names') = 'ghost'}), 'it is expected');
	$bed->send_some(20, 'local');
	is($bed->sql('a', q{SELECT count(*) FROM event_store.read_durable(0)}), 0,
		'nothing leaves the source');
	is($bed->sql('b', 'SELECT count(*) FROM stress.handled'), $before, 'and nothing was handled');
	$bed->{a}->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$bed->{a}->reload;
	ok($bed->caught_up, 'it goes when nobody has to have it');
	is($bed->complaints, '', 'once, and in order');
	$bed->stop_linkd($pid);
};

subtest 'the source fails over without its newest' => sub {
	my $old = $bed->{a};
	my $standby = PostgreSQL::Test::Cluster->new('feed_standby');
	my $pid = $bed->start_linkd;

	$old->backup('base');
	$standby->init_from_backup($old, 'base', has_streaming => 1);
	$standby->start;
	$bed->send_some(50);
	$old->wait_for_catchup($standby);
	$standby->stop;
	$bed->send_some(30);
	ok($bed->caught_up, 'the newest is handled');
	$old->kill9;
	$standby->start;
	$standby->promote;
	$bed->{a} = $standby;
	$bed->write_services;
	until_state('lost', 'it is noticed');
	like($bed->sql('b', q{SELECT last_error FROM event_store.projections WHERE name = 'copy'}),
		qr/without the newest that was read/, 'and it says why');
	is($bed->sql('b', q{SELECT kind, severity FROM ecommerce.problems
		WHERE object = 'projection copy'}), 'projection_lost|error', 'where one looks');
	$bed->send_some(20);
	like($bed->complaints, qr/^lost: 20\n/m, 'nothing is skipped in silence: nothing comes');
	$bed->sql('b', qq{SELECT event_store.rebuild_projection('$_')}) for qw(copy);
	ok($bed->caught_up, 'it is rebuilt');
	is($bed->complaints, '', 'and is what the source is now');
	$bed->stop_linkd($pid);
	$old->stop('immediate', fail_ok => 1);
};

done_testing();
