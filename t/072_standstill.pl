# One fault never stops the rest: while a function hangs, a lock is held, a message kills
# its process, something is missing, or an endpoint is unread for longer than the ring,
# notifications, timers, the bus, other sagas and other projections go on.
# STANDSTILL_ROUNDS (1) does it all so many times. STANDSTILL_PROBES measures meanwhile how
# late they are, with so many probes in each fault, and holds that against what it is
# without one: twice as late at most.  That needs a machine with nothing else to do.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('standstill');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
saga.log_transitions = off
message_bus.dedupe_window = 300ms
max_worker_processes = 16
autovacuum_naptime = 1h
restart_after_crash = on
EOT
$node->start;
$node->safe_psql('postgres', <<'EOT');
CREATE EXTENSION ecommerce;
-- A function that goes on when its gate is open.
CREATE TABLE gate (name text PRIMARY KEY, is_open boolean NOT NULL);
INSERT INTO gate VALUES ('saga', false), ('projection', false);
CREATE FUNCTION pass(gate text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT (SELECT is_open FROM public.gate g WHERE g.name = pass.gate) LOOP
		PERFORM pg_sleep(0.02);
	END LOOP;
END $$;
CREATE FUNCTION hang(jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN PERFORM public.pass('saga'); RETURN '{"hung": true}'; END $$;
CREATE FUNCTION kill(jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); RETURN '{}'; END $$;
-- Sagas that count: one that is well, and one for each fault.
CREATE FUNCTION definition(name text, action jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('endpoint', name, 'initial', 'A', 'park_for', '1 h',
		'events', jsonb_build_object(name || 'Go', jsonb '{"correlate": "$.message.id"}',
			name || 'Do', jsonb '{"correlate": "$.message.id"}',
			name || 'End', jsonb '{"correlate": "$.message.id"}'),
		'start', jsonb_build_object(name || 'Go', jsonb '{"set": {"n": 0}, "goto": "A"}'),
		'states', jsonb_build_object('Z', jsonb '{"kind": "final", "default": "ignore"}',
			'A', jsonb_build_object('default', 'ignore', 'timer', 'none', 'on', jsonb_build_object(
				name || 'Do', action, name || 'End', jsonb '{"goto": "Z"}', 'timer:rings',
				jsonb '{"set": {"rung": true}}'))))
$$;
SELECT saga.define('well', definition('well', '{"set": {"n": "$.message.n"},
	"schedule": {"timer": "rings", "delay": "0.1 s"}}'));
SELECT saga.define('held', definition('held', '{"set": {"n": "$.message.n"},
	"schedule": {"timer": "rings", "delay": {"$path": "$.message.delay", "default": "0.1 s"}}}'));
SELECT saga.define('stream', definition('stream', '{"set": {"n": "$.message.n"},
	"schedule": {"timer": "rings", "delay": "1 h"},
	"append": {"stream": "shared-${$.message.stream}", "type": "Done", "data": {}}}'));
SELECT saga.define('slow', definition('slow', '{"call": "public.hang(jsonb)",
	"schedule": {"timer": "rings", "delay": "1 h"}, "set": {"n": "$.message.n"}}'));
SELECT saga.define('killer', definition('killer', '{"call": "public.kill(jsonb)",
	"schedule": {"timer": "rings", "delay": "1 h"}}'));
SELECT saga.define('lost', definition('lost', '{"set": {"n": "$.message.n"},
	"schedule": {"timer": "rings", "delay": "1 h"}}'));
SELECT message_bus.alter_endpoint('slow', timeout => '1 h');
ALTER SYSTEM SET ecommerce.handler_timeout = '1 h';
SELECT pg_reload_conf();
-- Projections: one that is well, one that hangs, one that fails.
CREATE TABLE seen (position bigint);
CREATE TABLE seen_late (position bigint);
CREATE FUNCTION see(event event_store.event) RETURNS void LANGUAGE sql AS
$$ INSERT INTO public.seen VALUES (event.position) $$;
CREATE FUNCTION see_late(event event_store.event) RETURNS void LANGUAGE sql AS
$$ SELECT public.pass('projection'); INSERT INTO public.seen_late VALUES (event.position) $$;
CREATE FUNCTION see_nothing(event event_store.event) RETURNS void LANGUAGE sql AS $$ SELECT 1/0 $$;
SELECT event_store.create_projection('well', 'see(event_store.event)', 'probe');
SELECT event_store.create_projection('slow', 'see_late(event_store.event)', 'late');
SELECT event_store.create_projection('broken', 'see_nothing(event_store.event)', 'late');
SELECT message_bus.create_endpoint(e) FROM unnest('{plain,away,busy}'::text[]) e;
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT md5(n::text)::uuid $$;
CREATE FUNCTION tell(type text, n int, more jsonb DEFAULT '{}') RETURNS void LANGUAGE sql AS $$
	SELECT message_bus.publish(type, jsonb_build_object('id', id(n), 'n', n) || more) $$;
EOT

my $number = 1000;
my $probes = $ENV{STANDSTILL_PROBES} // 0;

sub says { return $node->safe_psql('postgres', "SELECT $_[0]") }

sub comes_to_say
{
	my ($query, $what, $answer) = @_;

	return ok($node->poll_query_until('postgres', "SELECT $query", $answer // 't'), $what);
}

# How late a message comes to its saga, a timer of it, and the news of an event; again and
# again, under the name of the fault that there is.
$node->safe_psql('postgres', <<'EOT');
CREATE TABLE probe_now (fault text);
INSERT INTO probe_now VALUES (NULL);
CREATE TABLE probe (fault text, message interval, timer interval, news interval);
SELECT saga.define('probed', '{"endpoint": "probed", "initial": "A",
	"events": {"probedGo": {"correlate": "$.message.id"}},
	"start": {"probedGo": {"goto": "A", "schedule": {"timer": "rings", "delay": "0.02 s"}}},
	"states": {"A": {"default": "ignore", "on": {"timer:rings": {"goto": "Z"}}},
		"Z": {"kind": "final", "default": "ignore"}}}');
CREATE FUNCTION ms(late interval) RETURNS numeric LANGUAGE sql AS
$$ SELECT round(1000 * extract(epoch FROM late), 2) $$;
CREATE PROCEDURE probe() LANGUAGE plpgsql AS $$
DECLARE
	what text;
	id uuid;
	place bigint;
	sent timestamptz;
	told timestamptz;
	at timestamptz[];
BEGIN
	LOOP
		what := (SELECT fault FROM public.probe_now);
		EXIT WHEN what = 'stop';
		id := gen_random_uuid();
		PERFORM message_bus.publish('probedGo', jsonb_build_object('id', id));
		place := (SELECT "position" FROM event_store.append('sounding-' || id, 0, 'Sounded', '{}'));
		sent := clock_timestamp();
		COMMIT;
		told := NULL;
		LOOP
			IF told IS NULL AND event_store.published_mark() >= place THEN
				told := clock_timestamp();
			END IF;
			at := (SELECT array_agg(h.at ORDER BY h.version) FROM saga.history('probed', id) h);
			EXIT WHEN told IS NOT NULL AND cardinality(at) = 2;
			COMMIT;
			PERFORM pg_sleep(0.0005);
		END LOOP;
		INSERT INTO public.probe VALUES (what, at[1] - sent, at[2] - at[1] - interval '0.02 s',
			told - sent);
		COMMIT;
		PERFORM pg_sleep(0.005);
	END LOOP;
END $$;
EOT

my $prober;

sub start_prober
{
	$prober = $node->background_psql('postgres', on_error_stop => 1);
	$prober->query_until(qr/probing/, "\\echo probing\nCALL probe();\n");
	return;
}

# Probes while something is so.
sub probe
{
	my ($fault) = @_;

	return if !$probes;
	$node->safe_psql('postgres', "UPDATE probe_now SET fault = '$fault'");
	comes_to_say("count(*) >= $probes FROM probe WHERE fault = '$fault'", "$fault: probed");
	$node->safe_psql('postgres', "UPDATE probe_now SET fault = NULL");
	return;
}

# Everything that must go on, once more, while the fault is still there.
sub all_goes_on
{
	my ($fault, $still_there) = @_;
	my $n = ++$number;
	my $position = $node->safe_psql('postgres', qq{
		SELECT tell('wellGo', $n);
		SELECT tell('wellDo', $n);
		SELECT message_bus.send('plain', 'Expires', '{}', id($n),
			expires_at => clock_timestamp() + interval '0.1 s');
		SELECT "position" FROM event_store.append('probe-$n', 0, 'Probed', '{}')}) =~ s/.*\n//sr;

	comes_to_say("(data ->> 'rung')::bool FROM saga.get('well', id($n))",
		"$fault: another saga and its timer go on");
	comes_to_say("count(*) = 1 FROM seen WHERE position = $position",
		"$fault: another projection goes on");
	comes_to_say("event_store.published_mark() >= $position", "$fault: listeners are notified");
	comes_to_say("count(*) = 1 FROM message_bus.dead_letters WHERE message_id = id($n)",
		"$fault: the bus's timers go on");
	probe($fault);
	ok(says($still_there) eq 't', "$fault: and it was there all the time") if $still_there;
}

sub in_transaction
{
	my ($sql) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 1);

	$session->query_safe("BEGIN; $sql");
	return $session;
}

sub n_of { return "(data ->> 'n')::int FROM saga.get('$_[0]', id($_[1]))" }

sub held_instances
{
	my $n = shift;
	my $other = $n + 1;
	my $new = $n + 2;

	$node->safe_psql('postgres', "SELECT tell('heldGo', $n), tell('heldGo', $other)");
	comes_to_say("count(*) = 2 FROM saga.instance WHERE saga = 'held'
		AND correlation_id IN (id($n), id($other))", 'two instances');
	my $session = in_transaction("SELECT saga.goto('held', id($n), 'A'); "
		. "SELECT saga.create('held', id($new))");
	$node->safe_psql('postgres', "SELECT tell('heldDo', $n), tell('heldDo', $new),
		tell('heldDo', $other)");
	comes_to_say("(data ->> 'rung')::bool FROM saga.get('held', id($other))",
		'an instance of the same saga goes on while another is held');
	all_goes_on('an open transaction', "(data ->> 'n')::int = 0 FROM saga.get('held', id($n))");
	$session->query_safe('COMMIT');
	$session->quit;
	comes_to_say("$_ = (data ->> 'n')::int FROM saga.get('held', id($_))", 'it goes on then')
	  for $n, $new;
	is(says("count(*) FROM message_bus.dead_letters WHERE endpoint = 'held'"), '0',
		'nothing has failed');
}

sub held_stream
{
	my $n = shift;
	my $other = $n + 1;
	my $session = in_transaction("SELECT event_store.append('shared-$n', -1, 'Mine', '{}')");

	$node->safe_psql('postgres', qq{SELECT tell('streamGo', $n), tell('streamGo', $other);
		SELECT tell('streamDo', $n, '{"stream": "$n"}'), tell('streamDo', $other,
			'{"stream": "$other"}')});
	comes_to_say("$other = " . n_of('stream', $other),
		'an instance of the same saga goes on while the stream of another is held');
	$session->query_safe('COMMIT');
	$session->quit;
	comes_to_say("$n = " . n_of('stream', $n), 'the other one when it is free');
	is(says("event_store.stream_version('shared-$n')"), '2', 'and has appended once');
	is(says("count(*) FROM message_bus.dead_letters WHERE endpoint = 'stream'"), '0',
		'without a failure');
}

sub slow_functions
{
	my $n = shift;
	my $hang = "count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'ecommerce slow runner'
		AND query LIKE";

	$node->safe_psql('postgres', "UPDATE gate SET is_open = false");
	$node->safe_psql('postgres', "SELECT tell('slowGo', $n)");
	comes_to_say('0 = ' . n_of('slow', $n), 'an instance');
	$node->safe_psql('postgres', "SELECT tell('slowDo', $n)");
	comes_to_say("$hang 'saga endpoint \"slow\"'", 'a slow function has a process of its own');
	all_goes_on('a slow call', "(data ->> 'n')::int = 0 FROM saga.get('slow', id($n))");
	is(says("slow FROM ecommerce.units WHERE name = 'slow' AND kind = 'saga endpoint'"), 't',
		'the view shows it');
	$node->safe_psql('postgres', "UPDATE gate SET is_open = true WHERE name = 'saga'");
	comes_to_say("$n = " . n_of('slow', $n), 'in the end it is done');
	is(says("count(*) FROM message_bus.dead_letters WHERE endpoint = 'slow'"), '0',
		'without a failure');

	$node->safe_psql('postgres', "SELECT event_store.append('late-$n', 0, 'Late', '{}')");
	comes_to_say("$hang 'projection \"slow\"'", 'so has a slow projection');
	all_goes_on('a slow handler', 'count(*) = 0 FROM seen_late');
	comes_to_say("$n = $n AND last_error IS NOT NULL FROM event_store.projections
		WHERE name = 'broken'", 'a broken one beside it has got its event');
	$node->safe_psql('postgres', "UPDATE gate SET is_open = true");
	comes_to_say('count(*) >= 1 FROM seen_late', 'it has its event in the end');
	$node->safe_psql('postgres', 'TRUNCATE seen_late');
}

sub deaths
{
	my $n = shift;

	$node->safe_psql('postgres', "SELECT tell('killerGo', $n)");
	comes_to_say("count(*) = 1 FROM saga.instance WHERE saga = 'killer'
		AND correlation_id = id($n)", 'an instance');
	$node->safe_psql('postgres', "SELECT tell('killerDo', $n)");
	all_goes_on('a message that ends its process');
	comes_to_say("count(*) = 1 FROM message_bus.dead_letters WHERE endpoint = 'killer'
		AND message_type = 'killerDo' AND error_code = 'crash'
		AND (message).body ->> 'n' = '$n'", 'it is a dead letter in the end');
	is(says("count(*) FROM message_bus.dead_letters WHERE endpoint <> 'killer'
		AND error_code = 'crash'"), '0', 'it alone');
}

# Its endpoint is gone, as after a repair by hand.
sub missing_endpoint
{
	my $n = shift;

	$node->safe_psql('postgres', "SELECT tell('lostGo', $n)");
	comes_to_say("count(*) = 1 FROM saga.instance WHERE saga = 'lost' AND correlation_id = id($n)",
		'a saga that works');
	$node->safe_psql('postgres', q{ALTER TABLE message_bus.endpoint DISABLE TRIGGER
		saga_keeps_endpoint; SELECT message_bus.drop_endpoint('lost', true);
		ALTER TABLE message_bus.endpoint ENABLE TRIGGER saga_keeps_endpoint});
	comes_to_say("failures > 0 FROM ecommerce.units WHERE name = 'lost'", 'is put aside');
	all_goes_on('a missing endpoint', "failures > 0 FROM ecommerce.units WHERE name = 'lost'");
	$node->safe_psql('postgres', q{SELECT saga.drop('lost', true);
		SELECT saga.define('lost', definition('lost', '{"set": {"n": "$.message.n"},
			"schedule": {"timer": "rings", "delay": "1 h"}}'))});
	$node->safe_psql('postgres', "SELECT tell('lostGo', $n)");
	comes_to_say("count(*) = 1 FROM saga.instance WHERE saga = 'lost' AND correlation_id = id($n)",
		'and works again');
}

# Somebody drops an endpoint that somebody else uses.
sub dropped_endpoint
{
	my $user = in_transaction(q{SELECT message_bus.create_endpoint('short'); COMMIT; BEGIN;
		SELECT message_bus.send('short', 'T', '{}')});
	my $dropper = $node->background_psql('postgres', on_error_stop => 1);

	$dropper->query_until(qr/dropping/,
		"\\echo dropping\nSELECT message_bus.drop_endpoint('short', true);\n");
	comes_to_say("count(*) = 1 FROM pg_stat_activity WHERE state = 'active'
		AND query LIKE 'SELECT message_bus.drop_endpoint%'", 'a drop waits');
	all_goes_on('an endpoint that is being dropped',
		"count(*) = 1 FROM message_bus.endpoints WHERE name = 'short'");
	$user->query_safe('COMMIT');
	$_->quit for $user, $dropper;
	comes_to_say("count(*) = 0 FROM message_bus.endpoints WHERE name = 'short'", 'it is gone');
}

# Nobody reads an endpoint, for longer than the ring is: each time so much that a segment
# is full, which must be free again before the next but one.
sub unread
{
	my ($segments) = @_;

	for my $n (1 .. $segments)
	{
		$node->safe_psql('postgres', q{
			SELECT count(message_bus.send(name, 'T', '{}')) FROM generate_series(1, 2500) i,
				unnest('{away,busy,busy,busy}'::text[]) name;
			WITH r AS MATERIALIZED (SELECT delivery_id FROM message_bus.receive('busy', 9999))
			SELECT message_bus.ack(VARIADIC array_agg(delivery_id)) FROM r});
		comes_to_say("count(*) > 0 FROM message_bus.ring WHERE state = 'current'
			AND messages < 9000", "the ring turns, $n");
		all_goes_on('an unread endpoint') if $n % 4 == 3;
	}
	comes_to_say("count(*) FILTER (WHERE state NOT IN ('free', 'store') AND messages > 0) <= 3
		FROM message_bus.ring", 'and keeps nothing of what others have consumed');
	is(says("depth >= 2500 * $segments FROM message_bus.endpoints WHERE name = 'away'"), 't',
		'what is unread is there');
}

# Tables that duties need; what needs none of it goes on.
sub held_tables
{
	my $n = shift;
	my $session = in_transaction('LOCK TABLE message_bus.death, message_bus.breaker, '
		. 'saga.definition IN ACCESS EXCLUSIVE MODE');
	my $position = says(qq{"position" FROM event_store.append('probe-$n', 0, 'Probed', '{}')});

	comes_to_say("event_store.published_mark() >= $position",
		'listeners are notified while tables of the bus are held');
	comes_to_say("count(*) = 1 FROM seen WHERE position = $position", 'projections go on');
	$session->query_safe('COMMIT');
	$session->quit;
	all_goes_on('tables that were held');
}

# A timer of a paused endpoint waits, and comes after the message that is there.
sub paused
{
	my $n = shift;

	# The endpoint must be paused before the timer fires, however slow the machine is.
	for my $delay (1, 5, 25, 125)
	{
		$n += 1000;
		$node->safe_psql('postgres', "SELECT tell('heldGo', $n)");
		comes_to_say('0 = ' . n_of('held', $n), 'an instance');
		$node->safe_psql('postgres', qq{SELECT tell('heldDo', $n, '{"delay": "$delay s"}')});
		comes_to_say("$n = " . n_of('held', $n), 'with a timer');
		$node->safe_psql('postgres', "SELECT message_bus.pause('held')");
		last if says("data -> 'rung' IS NULL FROM saga.get('held', id($n))") eq 't';
		$node->safe_psql('postgres', "SELECT message_bus.resume('held')");
	}
	$node->safe_psql('postgres', "SELECT tell('heldEnd', $n)");
	comes_to_say("count(*) = 1 FROM saga.timers WHERE correlation_id = id($n)
		AND due_at < clock_timestamp()", 'the timer is due');
	all_goes_on('a paused endpoint', "data -> 'rung' IS NULL FROM saga.get('held', id($n))");
	$node->safe_psql('postgres', "SELECT message_bus.resume('held')");
	comes_to_say("current_state = 'Z' FROM saga.get('held', id($n))", 'resumed, the message comes');
	is(says("string_agg(event, ' ' ORDER BY version) FROM saga.history('held', id($n))"),
		'heldGo heldDo heldEnd', 'and was before the timer');
}

# Of ten probes nine are at most twice as late as without a fault, and a millisecond.
sub compare_probes
{
	my $late = $node->safe_psql('postgres', q{
		WITH seen AS (SELECT fault, what, percentile_disc(0.9) WITHIN GROUP (ORDER BY late) AS late,
				percentile_disc(0.5) WITHIN GROUP (ORDER BY late) AS median, max(late)
			FROM probe, LATERAL (VALUES ('message', message), ('timer', timer), ('news', news))
				w (what, late) WHERE fault IS NOT NULL GROUP BY 1, 2)
		SELECT format('%s: %s p50 %s ms, p90 %s ms (%s ms), max %s ms', s.fault, s.what,
			ms(s.median), ms(s.late), ms(idle.late), ms(s.max)),
			s.late > 2 * idle.late + interval '1 ms'
		FROM seen s JOIN seen idle ON idle.fault = 'nothing' AND idle.what = s.what ORDER BY 2, 1});

	note($late);
	is(join(' / ', grep { /\|t$/ } split /\n/, $late), '',
		'nothing is much later than without a fault');
}

# Processes that are killed come back, whatever they were at.
sub killed
{
	my ($signal) = @_;

	for my $type ('ecommerce worker', 'ecommerce runner')
	{
		my $pid = says("pid FROM pg_stat_activity WHERE backend_type = '$type'");

		PostgreSQL::Test::Utils::system_or_bail('pg_ctl', 'kill', $signal, $pid);
		# The client may be thrown out in the middle.
		my $back = 0;
		for (1 .. 20)
		{
			last if $back = eval { $node->poll_query_until('postgres', "SELECT count(*) = 1
				FROM pg_stat_activity WHERE backend_type = '$type' AND pid <> $pid") };
		}
		ok($back, "$signal of the $type: there is another");
		all_goes_on("$signal of the $type");
	}
}

if ($probes)
{
	start_prober();
	probe('nothing');
}
for my $round (1 .. ($ENV{STANDSTILL_ROUNDS} // 1))
{
	my $n = $round * 10;

	held_instances($n);
	held_stream($n);
	slow_functions($n);
	deaths($n);
	missing_endpoint($n);
	dropped_endpoint();
	unread($probes ? 10 : 3);
	held_tables($n);
	paused($n + 5);
	if ($probes)
	{
		# Who kills the server's processes kills the prober.
		$node->safe_psql('postgres', "UPDATE probe_now SET fault = 'stop'");
		$prober->quit;
		compare_probes();
		$probes = 0;
	}
	killed('TERM');
	killed('KILL');
}
comes_to_say("n_tup_ins > 0 FROM pg_stat_user_tables WHERE relname = 'seen'",
	'what the runner has written is counted');
is(says('count(*) FROM event_store.verify()'), '0', 'verify finds nothing');
my $log = slurp_file($node->logfile);
like($log, qr/saga endpoint "slow" took longer than \d+ ms and goes on in the slow runner/,
	'the log tells what is slow');
like($log, qr/saga endpoint "lost" failed and is put aside for a while: endpoint "lost"/,
	'and what is missing');
unlike($log, qr/PANIC|TRAP/, 'nothing worse');

done_testing();
