# A message whose handler takes the whole server down with it, as SIGSEGV does, or
# the kernel that is out of memory, is found out like one that ends its own process:
# it comes alone after some deaths and is a dead letter in the end. Nothing else that
# was in hand at that moment is blamed, in whatever way the server went down.
use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
restart_after_crash = on
log_statement = none
EOT
$node->start;
$node->safe_psql('postgres', <<'EOT');
CREATE EXTENSION ecommerce;
SELECT message_bus.create_endpoint(name, 2, '{"kind": "immediate", "limit": 2}')
FROM unnest('{q,patient}'::text[]) name;
CREATE TABLE done (endpoint text, n int, attempt int);
CREATE FUNCTION die_hard() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('COPY (SELECT) TO PROGRAM %L', 'kill -KILL ' || pg_backend_pid());
	-- until it has come
	PERFORM pg_sleep(60);
END $$;
CREATE FUNCTION consume() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	d message_bus.delivery;
BEGIN
	FOR d IN SELECT * FROM message_bus.receive('q', 3) LOOP
		PERFORM message_bus.handle(d.delivery_id);
		PERFORM public.die_hard() WHERE d.message_type = 'Killer';
		INSERT INTO done VALUES (d.endpoint, (d.body->>'n')::int, d.attempt);
		PERFORM message_bus.ack(d.delivery_id);
	END LOOP;
END $$;
EOT

sub says { return $node->safe_psql('postgres', "SELECT $_[0]") }

# How often the server has crashed and come up again.
sub crashes
{
	return scalar(() = slurp_file($node->logfile) =~ /server processes terminated; reinit/g);
}

# Repeats a query that may end with the server, until it has got through. Returns how
# often the server has crashed.
sub survives
{
	my ($sql) = @_;
	my $before = crashes();

	for (1 .. 50)
	{
		$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
		return crashes() - $before if !$node->psql('postgres', $sql);
	}
	die 'it never gets through';
}

# Somebody who has a message in hand while something happens.
sub patient_consumer
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query(q{BEGIN; SELECT message_bus.handle(delivery_id)
		FROM message_bus.receive('patient', 1)});
	return $session;
}

# The killer between innocent ones of its lane.
$node->safe_psql('postgres', q{
	SELECT message_bus.send('patient', 'T', '{"n": 0}');
	SELECT message_bus.send('q', CASE i WHEN 2 THEN 'Killer' ELSE 'T' END,
		jsonb_build_object('n', i), partition_key => 'k') FROM generate_series(1, 3) i});
my $session = patient_consumer();
is(survives(q{SELECT consume() FROM generate_series(1, 3)}),
	4, 'after four deaths it is not tried any more');
is(says(q{string_agg(n || '/' || attempt, ' ' ORDER BY n) FROM done}), '1/1 3/1',
	'its neighbours have been handled, at their first attempt');
is( says(q{string_agg(message_type || ' ' || error_code || ' ' || attempts, ',')
	FROM message_bus.dead_letters}), 'Killer crash 4', 'it is a dead letter');
is(says(q{attempt FROM message_bus.receive('patient', 1)}), '1', 'nobody else is blamed');
is(says('count(*) FROM message_bus.death'), '0', 'and no death is remembered');

# The same in the runner: a saga's function.
$node->safe_psql('postgres', <<'EOT');
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
	$$ SELECT lpad(n::text, 32, '0')::uuid $$;
CREATE FUNCTION react(document jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF document #>> '{message,kill}' = 'yes' THEN
		PERFORM public.die_hard();
	END IF;
	RETURN '{}';
END $$;
SELECT saga.define('fragile', '{"endpoint": "fragile", "initial": "A", "park_for": "1 h",
	"events": {"Go": {"correlate": "$.message.id"}, "Do": {"correlate": "$.message.id"},
		"End": {"correlate": "$.message.id"}},
	"start": {"Go": {"set": {"did": 0}, "goto": "A"}},
	"states": {"Z": {"kind": "final", "default": "ignore"},
		"A": {"default": "ignore", "timer": "none", "on": {"End": {"goto": "Z"},
			"Do": {"call": "public.react(jsonb)", "set": {"did": "$.message.n"}}}}}}');
SELECT message_bus.alter_endpoint('fragile', retry => '{"kind": "none"}');
SELECT message_bus.send('fragile', 'Go', jsonb_build_object('id', id(i)))
FROM generate_series(1, 4) i;
EOT
# Otherwise they may come in one batch, and it is another message that kills, a parked one.
ok($node->poll_query_until('postgres', 'SELECT count(*) = 4 FROM saga.instance'), 'four begun');
my $before = crashes();
$node->psql('postgres', q{
	SELECT message_bus.send('fragile', 'Do', jsonb_build_object('id', id(i), 'n', i,
		'kill', CASE i WHEN 2 THEN 'yes' END)) FROM generate_series(1, 4) i});
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM message_bus.dead_letters
		WHERE endpoint = 'fragile' AND error_code = 'crash'
		AND (message).body->>'n' = '2'}), 'a message that kills the runner is a dead letter');
is(crashes() - $before, 4, 'after four deaths');
ok( $node->poll_query_until('postgres', q{SELECT string_agg((data->>'did')::text, ' '
		ORDER BY correlation_id) = '1 0 3 4' FROM saga.instance}), 'the others are handled');
is(says(q{count(*) FROM message_bus.dead_letters WHERE endpoint = 'fragile'}), '1', 'it alone');

# A message that had been parked kills whoever replays it: not the fault of the one that
# has brought its instance.
$node->safe_psql('postgres', q{
	SELECT message_bus.send('fragile', 'Do', jsonb_build_object('id', id(5), 'n', 5,
		'kill', 'yes'))});
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM saga.parked'), 'one is parked');
$node->psql('postgres',
	q{SELECT message_bus.send('fragile', 'Go', jsonb_build_object('id', id(5)))});
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM message_bus.dead_letters
		WHERE error_code = 'crash' AND (message).body->>'n' = '5'}),
	'it is a dead letter in the end');
is(says(q{(data->>'did') FROM saga.get('fragile', id(5))}), '0', 'the instance is there');
is(says(q{count(*) FROM saga.parked}) . says('count(*) FROM message_bus.death'), '00',
	'and nothing is left over');

# How else servers go down: nobody is blamed who was told to go, nor anybody if all were
# killed at once, the postmaster with them.
sub blamed { return says(q{count(*) FROM message_bus.death}) }

$session = patient_consumer();
$node->stop('immediate');
$node->start;
$session->quit;
is(says(q{attempt FROM message_bus.receive('patient', 1)}) . '/' . blamed(), '1/0',
	'nobody is blamed for an immediate shutdown');

# All processes of the server are killed at once, as a container's are when its memory is used
# up, while somebody has a message in hand.
sub kill_all
{
	my $consumer = patient_consumer();
	my @all = split ' ', says(q{string_agg(pid::text, ' ') FROM pg_stat_activity});

	# So that none sees the postmaster go.
	kill 'STOP', @all;
	$node->kill9;
	kill 'KILL', @all;
	$consumer->quit;
	# The last process of the old server may still be on its way out.
	for (1 .. 100)
	{
		last if $node->start(fail_ok => 1);
		select undef, undef, undef, 0.1;
		$node->stop('immediate', fail_ok => 1);
	}
	return;
}
for my $time (1, 2)
{
	kill_all();
	is(says(q{attempt FROM message_bus.receive('patient', 1)}) . '/' . blamed(), '1/0',
		"nor when all are killed, $time");
	# What happens in between is no excuse.
	$node->restart;
}
kill_all();
is(says(q{attempt FROM message_bus.receive('patient', 1)}) . '/' . blamed(), '2/1',
	'what is in hand each time is blamed');

# A supervisor restarts the server.
$node->append_conf('postgresql.conf', 'restart_after_crash = off');
$node->reload;
$session = patient_consumer();
my $pid = says(q{pid FROM pg_stat_activity WHERE state = 'idle in transaction'});
kill 'KILL', $pid;
$session->quit;
for (1 .. 1000)
{
	last if !-e $node->data_dir . '/postmaster.pid';
	select undef, undef, undef, 0.1;
}
$node->_update_pid(0);
$node->start;
is(says(q{attempt FROM message_bus.receive('patient', 1)}), '3',
	'who crashes a server that does not restart by itself is found out all the same');
$node->stop;
done_testing();
