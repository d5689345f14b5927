# Sinks: what the store has is at Kafka and at NATS JetStream once and in order, whoever is
# killed, and what does not fit is refused. STREAM_ROUNDS: how often at random.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Docs;
use PostgreSQL::Test::Utils;
use StreamBed;
use Test::More;

my $bed = StreamBed->new;
my $rounds = $ENV{STREAM_ROUNDS} // 3;
my $well = qr/"sinks":\{"status":"ok"\}/;

sub state_of { return $bed->sql("SELECT state FROM event_store.sinks WHERE name = '$_[0]'"); }

sub until_state
{
	my ($name, $state) = @_;
	return $bed->until_sql("SELECT state = '$state' FROM event_store.sinks WHERE name = '$name'");
}

subtest 'docs/streams.md' => sub {
	my ($text) = document('docs/streams.md') =~ /^## streamd\n(.*?)^## /ms;
	my ($options) = $text =~ /^```sh\nstreamd --database=service=shop --brokers=\S+ (.*)\n```/m;
	my ($create, $rest) = split /(?=^```sh\n)/m, $text, 2;

	is($options, '--pool-size=1', 'how it is started is written there');
	run_statements($bed->{node}, 'shop', $create, 1);
	my $pid = $bed->start_streamd;
	like($bed->until_ready($pid, $well), $well, 'it is ready');
	ok($bed->until_published($_), "$_ has all") for qw(orders audit);
	cmp_ok(run_statements($bed->{node}, 'shop', $rest, 2), '>=', 1, 'results were compared');
	for my $sink ([ 'kafka', 'orders' ], [ 'jetstream', 'audit' ])
	{
		my ($event) = $bed->events(@$sink);
		my %event = %$event;
		is(join(' ', @event{qw(type source subject version)}), 'OrderPlaced /shop order-7f3c 1',
			"$sink->[0]: what a CloudEvent has");
		is($event{correlationid}, '7f3c0000-0000-4000-8000-000000000001', 'and who caused it');
		is($event{traceparent}, '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
			'and in which trace');
		is($event{body}, '{"total": 30}', 'and the data');
		is($event{headers}{'content-type'}, 'application/json', 'and of what kind they are');
		is($event{id}, $bed->sql('SELECT event_id FROM event_store.read_all(0, 1)'), 'and its id');
		is($event{key} // $event{subject}, 'order-7f3c', 'its key is the stream');
	}
	like(($bed->events('jetstream', 'audit'))[0]{subject}, qr/order-7f3c/, 'with its stream');
	like($bed->get($pid, '/metrics'), qr/sink_events_total\{sink="orders"\} 2\n/, 'it is counted');
	is($bed->stop($pid), 0, 'it stops when asked to');
	$bed->sql(q{SELECT event_store.drop_sink(name) FROM event_store.sinks});
};

subtest 'one that was dropped goes on where the topic is' => sub {
	$bed->sql(q{SELECT event_store.create_sink('orders', 'kafka', '{"broker": "kafka"}')});
	my $pid = $bed->start_streamd;
	ok($bed->until_published('orders'), 'it has all');
	is($bed->complaints('kafka', 'orders'), '', 'once');
	$bed->stop($pid);
	$bed->sql(q{SELECT event_store.drop_sink('orders')});
};

subtest 'a file that others can read' => sub {
	$bed->sql(q{SELECT event_store.create_sink('orders', 'kafka', '{"broker": "kafka"}')});
	$bed->write_brokers(mode => 0644);
	my $pid = $bed->start_streamd;
	like($bed->until_ready($pid, qr/chmod 600/), qr/streams\.conf is not for others to see/,
		'is not read');
	ok(until_state('orders', 'failing'), 'the database knows');
	is($bed->sql(q{SELECT object FROM ecommerce.problems WHERE kind = 'sink_failing'}),
		'sink orders', 'and so do who looks for problems');
	$bed->write_brokers;
	ok(until_state('orders', 'running'), 'it goes on by itself');
	$bed->stop($pid);
	$bed->sql(q{SELECT event_store.drop_sink('orders')});
};

# Most of a batch is still in a program, more than sockets hold, when it stands still; another one
# takes over, and the first goes on.
for my $kind (qw(kafka jetstream))
{
	subtest "$kind: two that do not know of each other" => sub {
		my $sink = "two_$kind";

		# The stream's own way to tell duplicates must not be what saves us.
		$bed->nats('make', $sink) if $kind eq 'jetstream';
		$bed->create($kind, $sink);
		$bed->append(1);
		my $first = $bed->start_streamd;
		ok($bed->until_published($sink), 'it has all');
		$bed->signal_broker($kind, 'STOP');
		my $now = $bed->sql('SELECT now()');
		$bed->append(400, 640);
		ok($bed->until_sql("SELECT count(*) = 1 FROM pg_stat_activity
			WHERE application_name = 'streamd' AND state = 'idle' AND query LIKE '%read_sink%'
				AND query_start > '$now'"), 'a batch has been read');
		StreamBed::meanwhile(1_000_000);
		kill 'STOP', $first;
		$bed->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name = 'streamd'");
		$bed->signal_broker($kind, 'CONT');
		my $second = $bed->start_streamd;
		ok($bed->until_published($sink), 'another one publishes all');
		kill 'CONT', $first;
		$bed->append(10);
		ok($bed->until_published($sink), 'and what follows');
		StreamBed::meanwhile(2_000_000);
		is($bed->complaints($kind, $sink), '', 'once and in order');
		is($bed->stop($_), 0, 'it stops') for $first, $second;
		$bed->sql("SELECT event_store.drop_sink('$sink')");
	};
}

$bed->create($_, "all_$_") for qw(kafka jetstream);

subtest 'kafka: killed when the broker has committed, and nobody was told' => sub {
	my $pid = $bed->start_streamd;
	$bed->append(1);
	ok($bed->until_published('all_kafka'), 'it has all');
	my $count = $bed->events('kafka', 'all_kafka');

	$bed->signal_broker('kafka', 'USR1');
	$bed->append(20);
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if $bed->events('kafka', 'all_kafka') > $count;
	}
	$bed->stop($pid, 'KILL');
	$pid = $bed->start_streamd;
	ok($bed->until_published('all_kafka'), 'another one goes on');
	is($bed->complaints('kafka', 'all_kafka'), '', 'once and in order');
	$bed->stop($pid);
};

for my $kind (qw(kafka jetstream))
{
	subtest "$kind: killed at any moment, $rounds times" => sub {
		my $sink = "all_$kind";
		my @pids = map { $bed->start_streamd('--stream-batch=20') } 1, 2;

		for my $round (1 .. $rounds)
		{
			$bed->append(300);
			StreamBed::meanwhile(rand 300_000);
			$bed->crash_broker($kind) if $round % 2;
			StreamBed::meanwhile(rand 300_000);
			$bed->stop(shift @pids, 'KILL');
			push @pids, $bed->start_streamd('--stream-batch=20');
			if ($round % 3 == 2)
			{
				$bed->signal_broker($kind, 'STOP');
				StreamBed::meanwhile(rand 2_000_000);
				$bed->signal_broker($kind, 'CONT');
			}
		}
		$bed->append(10);
		ok($bed->until_published($sink), 'all are there');
		is($bed->complaints($kind, $sink), '', 'once and in order');
		is($bed->stop($_), 0, 'it stops') for @pids;
	};
}

subtest 'the server crashes' => sub {
	my $pid = $bed->start_streamd;
	$bed->append(500);
	$bed->{node}->stop('immediate');
	$bed->{node}->start;
	$bed->append(10);
	for my $kind (qw(kafka jetstream))
	{
		ok($bed->until_published("all_$kind"), 'all are there');
		is($bed->complaints($kind, "all_$kind"), '', 'once and in order');
	}
	$bed->stop($pid);
};

subtest 'the database is restored older' => sub {
	my $node = $bed->{node};
	my $pid = $bed->start_streamd;

	$node->backup('old');
	$bed->append(50);
	ok($bed->until_published("all_$_"), 'what is forgotten is published') for qw(kafka jetstream);
	$bed->stop($pid);
	$node->stop;
	my %count = map { $_ => scalar $bed->events($_, "all_$_") } qw(kafka jetstream);

	my $older = PostgreSQL::Test::Cluster->new('older');
	$older->init_from_backup($node, 'old');
	$older->start;
	$bed->{node} = $older;
	$pid = $bed->start_streamd;
	for my $kind (qw(kafka jetstream))
	{
		ok(until_state("all_$kind", 'lost'), "$kind: the sink is lost");
		like($bed->sql("SELECT holds_up FROM ecommerce.problems
			WHERE kind = 'sink_lost' AND object = 'sink all_$kind'"),
			qr/an older state was restored/, 'it says why');
	}
	like($bed->until_ready($pid, qr/lost/), qr/all_\w+: lost/, 'streamd says so too');
	$bed->append(100);
	$bed->stop($pid);
	$pid = $bed->start_streamd;
	like($bed->until_ready($pid, qr/lost/), qr/all_\w+: lost/, 'and goes on saying so');
	is(scalar $bed->events($_, "all_$_"), $count{$_}, "$_: nothing was published") for keys %count;

	# Somebody decides: all that is here and new.
	my $newest = $bed->sql('SELECT max(position) FROM event_store.read_all(0, 10000000)');
	$bed->sql("SELECT event_store.reset_sink('all_$_', $newest)") for keys %count;
	$bed->append(30);
	for my $kind (sort keys %count)
	{
		ok($bed->until_published("all_$kind"), 'it goes on');
		is(scalar $bed->events($kind, "all_$kind"), $count{$kind} + 30, 'with what is new');
		is(state_of("all_$kind"), 'running', 'and is well');
	}
	$bed->stop($pid);
};

subtest 'the target has lost what it had' => sub {
	$bed->stop($bed->{broker}{kafka}, 'KILL');
	$bed->start_broker('kafka');
	$bed->nats('purge', 'all_jetstream');
	my $pid = $bed->start_streamd;
	for my $kind (qw(kafka jetstream))
	{
		ok(until_state("all_$kind", 'lost'), "$kind: lost");
		like($bed->sql("SELECT error FROM event_store.sinks WHERE name = 'all_$kind'"),
			qr/the target has events up to position 0 only/, 'and says why');
		my $after = $bed->{after}{"all_$kind"};
		$bed->sql("SELECT event_store.reset_sink('all_$kind', $after)");
		ok($bed->until_published("all_$kind"), 'from the beginning, when somebody says so');
		is($bed->complaints($kind, "all_$kind"), '', 'once and in order');
	}
	$bed->stop($pid);
};
$bed->{node}->stop;
done_testing();
