# Bridges to a real RabbitMQ, with foreign programs at its other end: what comes takes effect
# once, what goes arrives, whoever is killed. BRIDGE_ROUNDS: how often at random.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use BridgeBed;
use Docs;
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $bed = BridgeBed->new;
my $json = JSON::PP->new->utf8->canonical;
my $rounds = $ENV{BRIDGE_ROUNDS} // 4;

my $well = qr/"bridges":\{"status":"ok"\}/;

subtest 'an order from MassTransit, and its answer: docs/bridges.md' => sub {
	my $text = document('docs/bridges.md');
	my ($options) = $text =~ /^```sh\nbridged --database=service=shop --brokers=\S+ (.*)\n```/m;
	my ($create, $rest) = split /(?=^```sh\n)/m, $text, 2;

	is($options, '--pool-size=1', 'how it is started is written there');
	run_statements($bed->{node}, 'shop', $create, 1);
	my $pid = $bed->start_bridged;
	like($bed->until_ready($pid, $well), $well, 'it is ready');
	my $asker = $bed->start_peer('ask', 1);
	is(run_statements($bed->{node}, 'shop', $rest, 3), 2, 'results were compared');
	my ($answer) = $bed->finish_peer($asker);
	is($answer->{answer}{orderId}, $answer->{order}{orderId}, 'the answer is about the order');
	is($answer->{type}, 'urn:message:Shop.Contracts:OrderAccepted', 'of the type expected');
	is($answer->{contentType}, 'application/vnd.masstransit+json', 'in its envelope');
	ok($answer->{conversation}, 'in the conversation');
	is($answer->{activity}, $answer->{trace}, 'in the trace');
	like(HTTP::Tiny->new->get("$bed->{http}{$pid}/metrics")->{content},
		qr/bridge_messages_total\{bridge="partners",outcome="accepted"\} 1\n/, 'it is counted');
	ok($bed->until_sql(q{SELECT heard_in_at > created_at AND heard_out_at > created_at
		FROM message_bus.bridges}), 'it is heard of, both ways');
	is($bed->stop_bridged($pid), 0, 'it stops when asked to');
	$bed->sql(q{SELECT message_bus.drop_bridge('partners')});
};

# What the others need, see there.
$bed->sql(slurp_file("$FindBin::RealBin/bridge.sql"));
$bed->peer('', 'declare', '{"queues": {"numbers_out": []}}');

# The saga of an order, started from there; the stock is kept there too.
subtest 'an order saga over the broker, in one trace' => sub {
	my $stock = $bed->start_peer('answer', 'warehouse', 2);
	$stock->{run}->pump until $stock->{out} =~ /ready/;
	my $pid = $bed->start_bridged;
	like($bed->until_ready($pid, $well), $well, 'it is ready');
	my $asker = $bed->start_peer('ask', 2);
	ok($bed->until_sql('SELECT submit() >= 0 AND count(*) = 2 FROM saga.instances'),
		'they start sagas');
	ok($bed->until_sql('SELECT pay() >= 0 AND count(*) = 2 FROM traces'),
		'the goods are reserved over there, and the sagas go on');
	my @answers = $bed->finish_peer($asker);
	is(join(' ', sort map { $_->{answer}{orderId} } @answers),
		join(' ', sort map { $_->{order}{orderId} } @answers), 'each gets its answer');
	my ($trace) = $answers[0]{trace} =~ /^00-(\w{32})/;
	is($bed->sql("SELECT count(*) FROM traces WHERE trace LIKE '00-$trace-%'"), 2,
		'what the sagas send is in the trace of who has asked');
	is(scalar(grep { $_->{activity} =~ /^00-$trace-/ } @answers), 2, 'and so are the answers');
	$stock->{run}->finish;
	is($bed->stop_bridged($pid), 0, 'it stops');
	$bed->sql(qq{SELECT message_bus.drop_bridge('$_')}) for qw(partners stock);
};


sub numbers
{
	my ($first, $count) = @_;
	return map { [ '', 'numbers_in', qq({"n": $_}), { messageId => "n-$_",
		headers => { __TypeId__ => 'com.shop.Number' } } ] } $first .. $first + $count - 1;
}

# Everything that was sent there has taken effect here: lost and doubled.
sub is_handled
{
	my ($count, $what) = @_;
	ok($bed->until_sql("SELECT consume() >= 0 AND count(*) >= $count FROM handled"), 'all come');
	is($bed->sql('SELECT count(*), count(DISTINCT n) FROM handled'), "$count|$count", $what);
	$bed->sql('TRUNCATE handled');
	return;
}

my $numbers = q{FROM message_bus.bridges WHERE name = 'numbers'};

sub until_accepted { return $bed->until_sql("SELECT accepted >= $_[0] $numbers"); }

sub accepted { return $bed->sql("SELECT accepted $numbers"); }

subtest 'killed after the commit inwards' => sub {
	my $pid = $bed->start_bridged;
	my $holder = $bed->{node}->background_psql('shop');

	like($bed->until_ready($pid, $well), $well, 'it is ready');
	# What it is accepting waits, and it stands still before it hears that this is done.
	$holder->query_safe('BEGIN; LOCK TABLE ' . join(', ', map { "message_bus.inbox_$_" } 0 .. 7)
		. ' IN SHARE MODE');
	is($bed->publish(numbers(1, 2000)), 2000, '2000 are sent');
	ok($bed->until_sql(q{SELECT count(*) > 0 FROM pg_stat_activity
		WHERE application_name = 'bridged' AND wait_event_type = 'Lock'}),
		'a batch is being accepted');
	kill 'STOP', $pid;
	$holder->query_safe('COMMIT');
	ok(until_accepted(1), 'it is committed');
	$bed->stop_bridged($pid, 'KILL');
	$pid = $bed->start_bridged;
	is_handled(2000, '2000 of 2000, none twice');
	is($bed->sql(q{SELECT repeated > 0 FROM message_bus.bridges WHERE name = 'numbers'}), 't',
		'though some came twice');

	# That is what the ids are kept for; the bus itself knows them for a minute at least.
	$bed->stop_bridged($pid);
	my ($before, @again) = (accepted(), numbers(1, 100));
	$bed->publish(@again);
	$bed->sql('DELETE FROM message_bus.inbox_0');
	$pid = $bed->start_bridged;
	ok(until_accepted($before + 100), 'an id that is not kept is taken for a new one');
	my $repeated = $bed->sql("SELECT repeated $numbers");
	$bed->publish(@again);
	ok($bed->until_sql("SELECT repeated = $repeated + 100 $numbers"), 'one that is kept is not');
	$bed->stop_bridged($pid);
};

my $waits = q{SELECT count(*) = 2 FROM pg_stat_activity
	WHERE application_name = 'bridged' AND state = 'active'
	AND query LIKE 'CALL message_bus.wait(%'};

subtest 'killed before the broker has confirmed outwards' => sub {
	my $pid = $bed->start_bridged;

	like($bed->until_ready($pid, $well), $well, 'it is ready');
	# Who is not told of a message would find it half a minute later.
	ok($bed->until_sql($waits), 'it waits for commits, for each bridge');
	$bed->sql(q{SELECT send_numbers(0, 1)});
	is(scalar $bed->peer('', 'consume', 'numbers_out', 1), 1, 'it sends');
	ok($bed->until_sql($waits), 'and waits again');
	$bed->stop_bridged($pid, 'KILL');
	my $killed = time;
	ok($bed->until_sql(q{SELECT count(*) = 0 FROM pg_stat_activity
		WHERE application_name = 'bridged'}), 'what was killed leaves no lock behind');
	note(sprintf 'after %.1f s', time - $killed);
	$pid = $bed->start_bridged;
	like($bed->until_ready($pid, $well), $well, 'the next one is ready');
	send_into_silence(1);
	$bed->stop_bridged($pid, 'KILL');
	$bed->signal_broker('CONT');
	is($bed->sql(q{SELECT unconfirmed FROM message_bus.forwards WHERE endpoint = 'out'}), 50,
		'nothing was let go');
	$pid = $bed->start_bridged;
	ok($bed->until_sql(q{SELECT unconfirmed = 0 FROM message_bus.forwards WHERE endpoint = 'out'}),
		'another one sends them');
	is(all_that_left(1), 50, '50 of 50 arrive');
	$bed->stop_bridged($pid);
};

# The broker stands still, and 50 numbers are sent to it: so few that the network takes them all.
sub send_into_silence
{
	my ($first) = @_;
	my $now = $bed->sql('SELECT clock_timestamp()');

	$bed->signal_broker('STOP');
	$bed->sql("SELECT send_numbers($first, 50)");
	# The session that has read them waits for nothing.
	ok($bed->until_sql("SELECT count(*) > 0 FROM pg_stat_activity
		WHERE application_name = 'bridged' AND query LIKE '%read_bridge%'
		AND state = 'idle' AND query_start > '$now'"), 'a batch has been read');
	BridgeBed::meanwhile(500_000);
	return;
}

# How many different numbers, from one on, are in the queue there; empties it.
sub all_that_left
{
	my ($first) = @_;
	my @bodies = grep { /^\{/ } $bed->peer('', 'drain', 'numbers_out');
	my %seen = map { $json->decode($_)->{n} => 1 } @bodies;
	return scalar grep { $_ >= $first } keys %seen;
}

# Both ways; that whoever stands still is replaced takes a minute, so make check leaves it out.
subtest 'who stands by takes over' => sub {
	my $carrier = $bed->start_bridged;

	for my $signal ('KILL', $rounds > 4 ? 'STOP' : ())
	{
		ok($bed->until_sql($waits), 'one carries both bridges');
		my $other = $bed->start_bridged;
		like($bed->until_ready($other, $well), $well, 'another one stands by, and is well');
		my ($since, $n) = (time, $signal eq 'STOP' ? 700_001 : 700_000);
		$signal eq 'STOP' ? kill $signal, $carrier : $bed->stop_bridged($carrier, $signal);
		$bed->publish(numbers($n, 1));
		$bed->sql("SELECT send_numbers($n, 1)");
		is_handled(1, "after SIG$signal what comes is taken once");
		note(sprintf 'after %d s', time - $since);
		ok($bed->until_sql(q{SELECT unconfirmed = 0 FROM message_bus.forwards
			WHERE endpoint = 'out'}), 'what goes leaves');
		note(sprintf 'after %d s', time - $since);
		is(all_that_left($n), 1, 'and arrives');
		$bed->stop_bridged($carrier) if $signal eq 'STOP';
		$carrier = $other;
	}
	$bed->stop_bridged($carrier);
};

subtest 'at any moment, and two of them' => sub {
	my @pids = map { $bed->start_bridged } 1, 2;
	my $count = 0;

	for my $round (1 .. $rounds)
	{
		my $first = 10_000 * $round;

		$bed->sql("SELECT send_numbers($first, 500)");
		$bed->publish(numbers($first, 500));
		$count += 500;
		$bed->stop_bridged(shift @pids, $round % 2 ? 'KILL' : 'TERM');
		if ($round % 3 == 2)
		{
			$bed->signal_broker('STOP');
			BridgeBed::meanwhile(rand 6_000_000);
			$bed->signal_broker('CONT');
		}
		push @pids, $bed->start_bridged;
	}
	ok($bed->until_sql(q{SELECT unconfirmed = 0 FROM message_bus.forwards WHERE endpoint = 'out'}),
		'all leave');
	is_handled($count, 'once each');
	is(all_that_left(10_000), $count, 'all arrive there');
	$bed->stop_bridged($_) for @pids;
};

subtest 'the broker is reset' => sub {
	my $pid = $bed->start_bridged;

	like($bed->until_ready($pid, $well), $well, 'it is ready');
	$bed->sql('SELECT send_numbers(500000, 250)');
	ok($bed->until_sql(q{SELECT unconfirmed = 0 FROM message_bus.forwards WHERE endpoint = 'out'}),
		'some have left');
	$bed->publish(numbers(500_000, 300));
	send_into_silence(500_250);
	$bed->kill_broker;
	like($bed->until_ready($pid, qr/(?:events|numbers): /), qr/(?:events|numbers): /,
		'it says that the broker is away');
	$bed->sql('SELECT send_numbers(500300, 300)');
	$bed->start_broker;
	ok($bed->until_sql(q{SELECT unconfirmed = 0 FROM message_bus.forwards WHERE endpoint = 'out'}),
		'all leave');
	is(all_that_left(500_000), 600, 'and arrive');
	is_handled(300, 'what it had comes, once');
	like($bed->until_ready($pid, $well), $well, 'all is well again');
	$bed->stop_bridged($pid);
};

my @inbox = map { "message_bus.inbox_$_" } 0 .. 7;

# Nothing is accepted while somebody holds that.
my $lock = 'BEGIN; LOCK TABLE ' . join(', ', @inbox) . ' IN SHARE MODE';

# Waits until so many sessions, of those names, want what another one holds.
sub until_held
{
	my ($count, @names) = @_;
	my $tables = join ', ', map { "'$_'::regclass" } @inbox;
	my $names = join ', ', map { "'$_'" } @names;

	return $bed->until_sql("SELECT count(*) = $count FROM pg_locks l
		JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND l.relation IN ($tables)
		AND a.application_name IN ($names)");
}

# How often they have begun to consume what is for the bridge "numbers".
sub consumed
{
	my @times = slurp_file("$bed->{directory}/bridged.log") =~ /"Bridge numbers consumes from/g;
	return @times;
}

# The broker hears of us while we take nothing from it.
subtest 'the database stands still for longer than the broker is patient' => sub {
	$bed->write_brokers(heartbeat => 3);
	my $consumed = consumed() + 1;
	my $pid = $bed->start_bridged;
	my $holder = $bed->{node}->background_psql('shop');

	like($bed->until_ready($pid, $well), $well, 'it is ready');
	is(until_given('numbers_in', $consumed), 0, 'it consumes');
	my $repeated = $bed->sql("SELECT repeated $numbers");
	$holder->query_safe($lock);
	$bed->publish(numbers(520_000, 1500));
	ok(until_held(1, 'bridged'), 'a batch is being accepted');
	BridgeBed::meanwhile(14_000_000);
	$holder->query_safe('COMMIT');
	$holder->quit;
	is_handled(1500, 'all of them, once');
	is($bed->sql("SELECT repeated $numbers"), $repeated, 'none has come again');
	is(scalar consumed(), $consumed, 'and the connection is the same');
	$bed->stop_bridged($pid);
	$bed->write_brokers;
};

# What is accepted is told over the connection that it came over.  Deliveries are numbered anew on
# the next one: there the number of the last of these is that of some other one.
subtest 'the connection breaks while a batch is being accepted' => sub {
	$bed->start_relay;
	my $pid = $bed->start_bridged;
	my @holders = map { $bed->{node}->background_psql('shop') } 1, 2;

	like($bed->until_ready($pid, $well), $well, 'it is ready');
	my $before = accepted();
	$bed->publish(numbers(530_000, 500));
	ok(until_accepted($before + 500), 'some are accepted');
	$holders[0]->query_safe($lock);
	$bed->publish(numbers(530_500, 1000));
	ok(until_held(1, 'bridged'), 'a batch is being accepted');
	# The next one will wait behind this.
	$holders[1]->query_until(qr/next/, "\\echo next\n$lock;\n");
	ok(until_held(2, 'bridged', '100_bridge.pl'), 'and then none is');
	my $consumed = consumed();
	$bed->cut_relay;
	$bed->start_relay;
	is(until_given('numbers_in', $consumed + 1), 0, 'it has got all of them again');
	$holders[0]->query_safe('COMMIT');
	ok(until_accepted($before + 501), 'the batch is accepted');
	ok(until_held(1, 'bridged'), 'the next one waits');
	BridgeBed::meanwhile(500_000);
	$bed->stop_bridged($pid, 'KILL');
	$bed->sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'bridged'});
	$_->quit for @holders;
	$pid = $bed->start_bridged;
	is_handled(1500, 'all of them, once');
	$bed->stop_bridged($pid);
	$bed->cut_relay;
	$bed->write_brokers;
};

# Waits until the queue has been consumed so often, and the broker has given all that is in it to
# somebody; how many it has not.
sub until_given
{
	my ($queue, $often) = @_;
	my $count = 'unknown';

	for (1 .. $PostgreSQL::Test::Utils::timeout_default)
	{
		($count) = $bed->peer('', 'ready', $queue) if consumed() >= $often;
		last if $count eq '0';
		BridgeBed::meanwhile(500_000);
	}
	return $count;
}

subtest 'connections break anywhere' => sub {
	$bed->start_relay(most => 200_000);
	my $pid = $bed->start_bridged;

	for my $first (560_000, 570_000)
	{
		$bed->sql("SELECT send_numbers($first, 300)");
		$bed->publish(numbers($first, 300));
	}
	ok($bed->until_sql(q{SELECT unconfirmed = 0 FROM message_bus.forwards WHERE endpoint = 'out'}),
		'all leave');
	is_handled(600, 'what comes does, once');
	is(all_that_left(560_000), 600, 'what left arrives');
	$bed->stop_bridged($pid);
	$bed->cut_relay;
	$bed->write_brokers;
};

subtest 'what the broker or we cannot take' => sub {
	my $pid = $bed->start_bridged;
	my $dead = q{SELECT count(*) FROM message_bus.dead_letters WHERE endpoint = 'out'};

	# No queue of that name; then there is one.
	$bed->sql(q{SELECT message_bus.send('out', 'Lost', '{"n": 1}'), send_numbers(600000, 1)});
	ok($bed->until_sql(q{SELECT error_code = 'MB012' AND error LIKE 'NO_ROUTE%'
		FROM message_bus.dead_letters WHERE endpoint = 'out'}),
		'what no queue wants is a dead letter');
	is(all_that_left(600_000), 1, 'what comes behind it goes on');
	$bed->peer('', 'declare', '{"queues": {"com.shop.Lost": []}}');
	$bed->sql(q{SELECT message_bus.redrive_endpoint('out')});
	my ($lost) = $bed->peer('', 'consume', 'com.shop.Lost', 1);
	is($lost->{headers}{__TypeId__}, 'com.shop.Lost', 'redriven, it arrives');

	# Nor an exchange of who has asked and is gone.
	$bed->sql(q{SELECT message_bus.alter_bridge('numbers', '{"exchange": "gone"}')});
	$bed->sql(q{SELECT message_bus.send('out', 'Number', '{"n": 2}')});
	ok($bed->until_sql(q{SELECT error LIKE 'NOT_FOUND%' FROM message_bus.dead_letters
		WHERE endpoint = 'out'}), 'an exchange that is not there');
	$bed->sql(q{SELECT message_bus.alter_bridge('numbers',
		jsonb_build_object('exchange', repeat('e', 256)))});
	$bed->sql(q{SELECT message_bus.send('out', 'Number', '{"n": 2}')});
	ok($bed->until_sql(q{SELECT count(*) = 1 FROM message_bus.dead_letters
		WHERE endpoint = 'out' AND error LIKE '%too long for AMQP'}),
		'nor one that there cannot be');
	$bed->sql(q{SELECT message_bus.alter_bridge('numbers', '{"exchange": null}'),
		message_bus.discard(message_id) FROM message_bus.dead_letters WHERE endpoint = 'out'});

	# Names and properties that AMQP has no room for, headers that no frame holds, and an envelope
	# that bridged cannot read. None goes in an emptied form, none holds up those behind it.
	$bed->sql(q{SELECT message_bus.send('out', repeat('x', 250), '{"n": 3}'),
		message_bus.send('out', 'Number', '{"n": 4}', headers => '{"reply_to": 1e999}'),
		message_bus.send('out', 'Number', '{"n": 5}', partition_key => repeat('k', 200000))});
	$bed->sql(q{SELECT send_numbers(610000, 20)});
	ok($bed->until_sql("SELECT (SELECT count(*) FROM message_bus.dead_letters
			WHERE endpoint = 'out' AND error_code = 'MB012' AND reason = 'fault') = 3
		AND (SELECT unconfirmed = 0 FROM message_bus.forwards WHERE endpoint = 'out')"),
		'what AMQP cannot carry is a dead letter');
	is(all_that_left(610_000), 20, 'what comes behind it goes on');
	$bed->sql(q{SELECT message_bus.discard(message_id) FROM message_bus.dead_letters
		WHERE endpoint = 'out' AND reason = 'fault'});

	# A full queue says no, until somebody takes from it.
	$bed->peer('', 'declare', '{"queues": {"com.shop.Narrow": []},
		"arguments": {"x-queue-type": "classic", "x-max-length": 1,
			"x-overflow": "reject-publish"}}');
	$bed->sql(q{SELECT message_bus.send('out', 'Narrow', jsonb_build_object('n', i))
		FROM generate_series(1, 5) i});
	like($bed->until_ready($pid, qr/numbers: the broker has not taken/), qr/a queue is full/,
		'a queue that is full is said');
	is($bed->sql("$dead AND reason <> 'discarded'"), 0, 'and is no reason to give up');
	my @narrow = $bed->peer('', 'consume', 'com.shop.Narrow', 5);
	is(join(' ', sort map { $json->decode($_->{body})->{n} } @narrow), '1 2 3 4 5',
		'all arrive when there is room');

	# Poison, between others.
	$bed->publish((numbers(900_001, 2))[0], [ '', 'numbers_in', '{"n": ', { messageId => 'p-1' } ],
		[ '', 'numbers_in', "\x{ff}\x00", { messageId => 'p-2' } ], (numbers(900_001, 2))[1]);
	is_handled(2, 'those that can be read are handled');
	ok($bed->until_sql(q{SELECT count(*) >= 2 FROM message_bus.dead_letters
		WHERE endpoint = 'in' AND message_type = 'Unreadable'}),
		'those that cannot are dead letters');
	is($bed->sql(q{SELECT count(*) FROM message_bus.inbox WHERE message_id IN
		(SELECT message_id FROM message_bus.dead_letters)}) >= 2, 1, 'and are known by their ids');
	$bed->stop_bridged($pid);
};

subtest 'CloudEvents, and who we are there' => sub {
	$bed->peer('', 'declare', '{"exchanges": [["events", "topic"]],
		"queues": {"events_theirs": [["events", "com.shop.Paid"]]}}');
	$bed->write_brokers(password => 'opensesame');
	my $pid = $bed->start_bridged;
	like($bed->until_ready($pid, qr/ACCESS_REFUSED|login|closed/i), qr/(?:events|numbers): /,
		'a wrong password is said');
	unlike(slurp_file("$bed->{directory}/bridged.log"), qr/opensesame/, 'but not told');
	$bed->write_brokers;
	like($bed->until_ready($pid, $well), $well, 'the right one is found in the file');
	for my $mode (qw(structured binary))
	{
		my ($id) = $bed->peer('', 'event', 'com.shop.Ordered', '{"n": 1}', $mode, 'events',
			'com.shop.Ordered');
		ok($bed->until_sql("SELECT depth = 1 FROM message_bus.endpoints WHERE name = 'events-in'"),
			"a $mode event comes");
		is($bed->sql(q{SELECT message_id, message_type, body->>'n', partition_key,
			message_bus.ack(delivery_id) FROM message_bus.receive('events-in')}),
			"$id|Ordered|1|k1|1", 'whole');
		$bed->sql(qq{SELECT message_bus.alter_bridge('events', '{"mode": "$mode"}');
			SELECT ecommerce.set_context(gen_random_uuid(), user_id => 'ann'),
				message_bus.send('events-out', 'Paid', '{"n": 2}')});
		my ($event) = $bed->peer('', 'events', 'events_theirs', 1);
		is("$event->{type} $event->{source} $event->{data}{n} $event->{userid}",
			'com.shop.Paid /shop 2 ann', 'and one that their SDK reads goes');
	}
	$bed->stop_bridged($pid);
};

done_testing();
