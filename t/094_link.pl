# A link between two servers, in everything that can happen to it: nothing is lost,
# doubled, invented or reordered, and what cannot be mended is said.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use HTTP::Tiny;
use LinkBed;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bed = LinkBed->new('link', conf_a => "max_wal_senders = 10\n");

sub until_state
{
	my ($state, $what) = @_;
	ok($bed->{b}->poll_query_until($bed->{database},
			"SELECT state = '$state' FROM message_bus.links"), $what);
	return;
}

subtest 'it carries' => sub {
	my $pid = $bed->start_linkd;

	$bed->send_some(1000);
	ok($bed->drained, 'what is sent arrives, and is let go');
	is($bed->complaints, '', 'all of it, once, in order');
	my $ready = HTTP::Tiny->new->get("http://127.0.0.1:$bed->{port}{$pid}/health/ready");
	is($ready->{status}, 200, 'it is ready');
	like($ready->{content}, qr/"links":\{"status":"ok"\}/, 'and says that links are well');
	like(HTTP::Tiny->new->get("http://127.0.0.1:$bed->{port}{$pid}/metrics")->{content},
		qr/link_messages_total\{link="a_to_b",outcome="accepted"\} 1000/, 'it counts');
	$bed->sql('b', q{SELECT message_bus.pause_link('a_to_b')});
	$bed->send_some(10);
	is($bed->sql('b', q{SELECT depth FROM message_bus.endpoints WHERE name = 'in'}), 0,
		'paused, nothing arrives');
	$bed->sql('b', q{SELECT message_bus.resume_link('a_to_b')});
	ok($bed->drained, 'resumed, it does');
	is($bed->stop_linkd($pid), 0, 'it stops when asked to');
};

# Told by each of the two databases, as it sees it.
subtest 'nobody carries' => sub {
	my $wrong = q{SELECT coalesce(string_agg(kind, ' '), '') FROM ecommerce.problems
		WHERE kind ~ '^(link|not_carried|no_consumer)'};

	$bed->sql('b', q{UPDATE message_bus.link SET created_at = created_at - interval '1 hour',
			heard_at = heard_at - interval '1 hour';
		UPDATE message_bus.link_lane SET accepted_at = accepted_at - interval '1 hour'});
	is($bed->sql('b', $wrong), 'link_unfed', 'the target has not heard of its source for long');
	is($bed->sql('a', $wrong), '', 'where nothing waits all is well');
	my $pid = $bed->start_linkd;
	ok($bed->{b}->poll_query_until($bed->{database}, $wrong, ''),
		'it hears of it though nothing comes');
	$bed->stop_linkd($pid);
	$bed->send_some(1);
	$bed->sql('a', join ';', map {
		"UPDATE message_bus.ring_$_ SET sent_at = sent_at - interval '1 min'" } 0 .. 7);
	ok($bed->{a}->poll_query_until($bed->{database}, $wrong, 'not_carried'),
		'the source sees that something waits to leave');
	$pid = $bed->start_linkd;
	ok($bed->drained, 'it leaves');
	ok($bed->{a}->poll_query_until($bed->{database}, $wrong, ''), 'and all is well');
	$bed->stop_linkd($pid);
};

# linkd looks for links by itself once an hour here.
subtest 'links come and go' => sub {
	my $pid = $bed->start_linkd('--link-idle=1h');
	my $carriers = q{FROM pg_stat_activity WHERE application_name = 'linkd'};

	$bed->send_some(1);
	ok($bed->drained, 'it carries one');
	$bed->sql('a', q{SELECT message_bus.create_endpoint('more', 1, forward_to => 'b'),
		message_bus.send('more', 'Counted', '{"key": "more", "n": 1}')});
	$bed->sql('b', q{SELECT message_bus.create_link('more', 'a', 'more', 'in')});
	ok($bed->{a}->poll_query_until($bed->{database},
		q{SELECT unconfirmed = 0 FROM message_bus.forwards WHERE endpoint = 'more'}),
		'one that is created is carried at once');
	is($bed->sql('a', "SELECT count(*) $carriers"), 2, 'over a session of its own');
	$bed->sql('b', q{SELECT message_bus.drop_link('more')});
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if slurp_file($bed->{log}) =~ /Link more is gone/;
		LinkBed::meanwhile(100_000);
	}
	like(slurp_file($bed->{log}), qr/Link more is gone/, 'one that is dropped is let go');
	# Its backend waits for a commit, and finds that nobody is there.
	$bed->sql('a', q{SELECT message_bus.send('more', 'Counted', '{}')});
	ok($bed->{a}->poll_query_until($bed->{database}, "SELECT count(*) = 1 $carriers"),
		'with its session');
	$bed->sql('a', q{SELECT message_bus.drop_endpoint('more', force => true)});
	$bed->handle_all;
	$bed->sql('b', q{DELETE FROM stress.handled WHERE key = 'more'});
	$bed->stop_linkd($pid);
};

# Nothing to do: the servers sleep. What a backend does is counted by its transactions.
subtest 'at rest it wakes nobody' => sub {
	my $pid = $bed->start_linkd;
	my $count = q{SELECT xact_commit + xact_rollback FROM pg_stat_database
		WHERE datname = current_database()};
	my $busy = q{SELECT max(state_change) FROM pg_stat_activity WHERE application_name = 'linkd'};

	$bed->send_some(10);
	ok($bed->drained, 'it carries');
	$bed->sql($_, 'SELECT pg_sleep(2)') for qw(a b);
	my %before = map { $_ => $bed->sql($_, $busy) } qw(a b);
	isnt($before{$_}, '', "it is connected to $_") for qw(a b);
	$bed->sql('a', 'SELECT pg_sleep(10)');
	is($bed->sql($_, $busy), $before{$_}, "in ten seconds it has asked $_ for nothing") for qw(a b);
	$bed->send_some(1);
	ok($bed->drained, 'and is there when something comes');
	$bed->stop_linkd($pid);
};

# Messages are on their way, and linkd is killed while a server is at that point of the code;
# as many have arrived by then, and the source has let go of none. With a batch so small that
# there is more, linkd has asked for what comes next meanwhile.
sub killed_at
{
	my ($side, $point, $arrived, $what, @small) = @_;
	my $pid = $bed->start_linkd(@small);
	my $stopper = $bed->{$side}->background_psql($bed->{database});
	my $of_linkd = q{FROM pg_stat_activity WHERE application_name = 'linkd'};

	# What came before has been told.
	$bed->send_some(1);
	ok($bed->drained, 'it carries');
	$stopper->query_safe("SELECT pg_advisory_lock(hashtext('$point')::bigint)");
	$bed->send_some(100);
	ok($bed->{$side}->poll_query_until($bed->{database}, q{SELECT count(*) > 0 FROM pg_locks
		WHERE locktype = 'advisory' AND NOT granted}), "$what is being done");
	ok($bed->{a}->poll_query_until($bed->{database}, "SELECT bool_and(state = 'idle'
			AND state_change < clock_timestamp() - interval '500 ms') $of_linkd"),
		'and the source has answered') if @small;
	$bed->stop_linkd($pid, 'KILL');
	$bed->sql($side, "SELECT pg_terminate_backend(pid) $of_linkd");
	ok($bed->{$_}->poll_query_until($bed->{database}, "SELECT count(*) = 0 $of_linkd"),
		"nobody is left at $_") for qw(a b);
	is($bed->sql('b', q{SELECT depth FROM message_bus.endpoints WHERE name = 'in'}), $arrived,
		"$arrived have arrived before it");
	$stopper->query_safe(q{SELECT pg_advisory_unlock_all()});
	$stopper->quit;
	return;
}

subtest 'killed before, in and after accepting, before and in confirming' => sub {
	my $pid;

	for ([ 'b', 'link_accept', 0, 'accepting' ], [ 'b', 'link_lane_read', 0, 'moving the lane' ],
		[ 'b', 'link_accept', 0, 'accepting, and reading ahead', '--link-batch=10' ],
		[ 'a', 'link_confirm', 100, 'confirming' ])
	{
		killed_at(@$_);
		is($bed->sql('a', q{SELECT unconfirmed FROM message_bus.forwards}), 100,
			'the source was not told');
		$pid = $bed->start_linkd;
		ok($bed->drained, 'another one goes on');
		is($bed->complaints, '', 'nothing is lost or doubled');
		$bed->stop_linkd($pid);
	}
	$pid = $bed->start_linkd;

	# At any moment, under load.
	$bed->start_consumers;
	$bed->start_senders(6);
	for (1 .. 15)
	{
		LinkBed::meanwhile(rand 300_000);
		$bed->stop_linkd($pid, 'KILL');
		$pid = $bed->start_linkd($_ % 2 ? '--link-batch=10' : ());
	}
	$bed->finish_senders;
	ok($bed->drained, 'everything arrives');
	$bed->stop_consumers;
	is($bed->complaints, '', 'whenever it was killed');
	$bed->stop_linkd($pid);
};

subtest 'two at once, one stopped and continued' => sub {
	my @pids = ($bed->start_linkd, $bed->start_linkd('--link-batch=10'));

	$bed->start_consumers;
	$bed->start_senders(6);
	for (1 .. 8)
	{
		kill 'STOP', $pids[ $_ % 2 ];
		LinkBed::meanwhile(200_000 + rand 300_000);
		kill 'CONT', $pids[ $_ % 2 ];
		LinkBed::meanwhile(rand 100_000);
	}
	$bed->finish_senders;
	ok($bed->drained, 'everything arrives');
	$bed->stop_consumers;
	is($bed->complaints, '', 'once, and in order');
	is($bed->sql('b', 'SELECT state FROM message_bus.links'), 'running', 'nobody calls it lost');
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
	ok($bed->drained, 'everything that a has still arrives');
	is($bed->complaints, '', 'and nothing else');
	is($bed->sql('b', 'SELECT state FROM message_bus.links'), 'running', 'the link is whole');
	$bed->stop_linkd($pid);
};

subtest 'the network is cut' => sub {
	my ($relay, $directory) = $bed->start_relay;

	$bed->write_services(host => $directory, port => 5432);
	my $pid = $bed->start_linkd;
	$bed->send_some(100);
	ok($bed->drained, 'it carries over the network');
	$bed->start_senders(4);
	for (1 .. 3)
	{
		LinkBed::meanwhile(500_000);
		kill 'STOP', $relay;
		LinkBed::meanwhile(300_000);
		kill 'KILL', $relay;
		waitpid $relay, 0;
		($relay, $directory) = $bed->start_relay;
		$bed->write_services(host => $directory, port => 5432);
	}
	$bed->finish_senders;
	ok($bed->drained, 'cut and mended, everything arrives');
	is($bed->complaints, '', 'once, and in order');
	$bed->stop_linkd($pid);
	kill 'KILL', $relay;
	waitpid $relay, 0;
	$bed->write_services;
};

subtest 'the target is full' => sub {
	my $pid = $bed->start_linkd;

	$bed->sql('b', q{SELECT message_bus.alter_endpoint('in', max_depth => 50)});
	$bed->sql('a', q{SELECT message_bus.alter_endpoint('out', max_depth => 100)});
	$bed->send_some(100);
	ok($bed->{b}->poll_query_until($bed->{database},
			q{SELECT depth = 50 FROM message_bus.endpoints WHERE name = 'in'}),
		'as much as there is room for');
	my (undef, undef, $error) = $bed->{a}->psql($bed->{database},
		"SELECT stress.send(1, 1, 100)", on_error_stop => 1);
	like($error, qr/endpoint "out" is full/, 'then senders at the source are held up');
	$bed->start_consumers;
	ok($bed->drained, 'with consumers everything arrives');
	$bed->stop_consumers;
	is($bed->complaints, '', 'once, and in order');
	$bed->sql($_->[0], "SELECT message_bus.alter_endpoint('$_->[1]', max_depth => -1)")
	  for [ 'a', 'out' ], [ 'b', 'in' ];
	$bed->stop_linkd($pid);
};

subtest 'the contract differs' => sub {
	my $pid = $bed->start_linkd;

	$bed->sql('b', q{CREATE TYPE priced AS (price int);
		SELECT event_store.register_event_type('Priced', 'priced')});
	$bed->sql('a', q{SELECT message_bus.send('out', 'Priced', jsonb_build_object('price', p),
		partition_key => 'k') FROM unnest('{"1", "\"much\"", "3"}'::jsonb[]) p});
	ok($bed->{a}->poll_query_until($bed->{database},
		q{SELECT unconfirmed = 0 FROM message_bus.forwards}), 'all are taken');
	is($bed->sql('b', q{SELECT message->'body' IS NULL, error_code, endpoint
		FROM (SELECT to_jsonb(message) AS message, error_code, endpoint
			FROM message_bus.dead_letters) d}), 'f|ST004|in', 'the bad one is a dead letter there');
	is($bed->sql('b', q{WITH r AS MATERIALIZED (SELECT * FROM message_bus.receive('in'))
		SELECT string_agg(body->>'price', ' ' ORDER BY delivery_id),
			message_bus.ack(VARIADIC array_agg(delivery_id)) FROM r}), '1 3|2',
		'the others go on');
	$bed->stop_linkd($pid);
};

subtest 'a synchronous standby that is not there' => sub {
	my $pid = $bed->start_linkd;

	$bed->{a}->append_conf('postgresql.conf', "synchronous_standby_names = 'ghost'");
	$bed->{a}->reload;
	ok($bed->{a}->poll_query_until($bed->{database},
		q{SELECT current_setting('synchronous_standby_names') = 'ghost'}), 'it is expected');
	$bed->{first} += 10_000_000;
	$bed->sql('a', "SET synchronous_commit = local; SELECT stress.send(0, $bed->{first}, 20)");
	is($bed->sql('a', q{SELECT count(*) FROM message_bus.forward_lanes('out') l,
		message_bus.forwarded('out', l.lane, l.confirmed)}), 0, 'nothing leaves the source');
	is($bed->sql('b', q{SELECT depth FROM message_bus.endpoints WHERE name = 'in'}), 0,
		'and nothing has arrived');
	$bed->{a}->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$bed->{a}->reload;
	ok($bed->drained, 'it goes when nobody has to have it');
	is($bed->complaints, '', 'once, and in order');
	$bed->stop_linkd($pid);
};

subtest 'failover of the source' => sub {
	my $old = $bed->{a};

	for my $synchronous (1, 0)
	{
		my $standby = PostgreSQL::Test::Cluster->new("standby_$synchronous");
		my $pid = $bed->start_linkd;

		$old->backup("for_$synchronous");
		$standby->init_from_backup($old, "for_$synchronous", has_streaming => 1);
		$standby->append_conf('postgresql.conf', "primary_conninfo = '"
			. $old->connstr . " application_name=standby_$synchronous'");
		$standby->start;
		if ($synchronous)
		{
			$old->append_conf('postgresql.conf', "synchronous_standby_names = 'standby_1'");
			$old->reload;
			$old->poll_query_until('postgres',
				q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'})
			  or die 'no synchronous standby';
			$bed->start_senders(3);
			LinkBed::meanwhile(1_500_000);
		}
		else
		{
			$bed->send_some(100);
			$old->wait_for_catchup($standby);
			$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
			$standby->stop;
			# The standby is away: it will not have these.
			$bed->send_some(50);
			ok($bed->drained, 'the newest has arrived');
		}
		$old->kill9;
		$bed->finish_senders if $synchronous;
		$standby->start unless $synchronous;
		$standby->promote;
		$bed->{a} = $standby;
		$bed->write_services;
		if ($synchronous)
		{
			$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''");
			$standby->reload;
			$bed->send_some(100);
			ok($bed->drained, 'a standby that had all goes on');
			is($bed->complaints, '', 'nothing is lost or doubled');
		}
		else
		{
			until_state('lost', 'one that has not is noticed');
			like($bed->sql('b', 'SELECT error_code, error FROM message_bus.links'),
				qr/^MB008\|.*without the newest that was read/, 'and it says why');
			$bed->send_some(10);
			$bed->reset_to_confirmed;
			ok($bed->drained, 'somebody says where to go on, and it does');
			like($bed->complaints, qr/^(doubled: \d+\n)?invented: 50\n\z/,
				'what the source has lost is known to the target alone');
		}
		$bed->stop_linkd($pid);
		$old->stop('immediate', fail_ok => 1) ;
		$old = $standby;
	}
};

done_testing();
