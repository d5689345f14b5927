# Hundreds of sagas whose worker and server are killed under them, and the questions
# whether a transition was lost or made twice.
#
# A saga of five steps; the service that answers is a table of what it has done and
# a function that pgbench calls, in a transaction per batch.
package SagaStress;

use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes;

# The definition, as JSON: start, S1 .. S5, each with its command, Completed. Its second
# version has another name for S3.
sub definition
{
	my ($third) = @_;
	my @names = ('', 'S1', 'S2', $third, 'S4', 'S5');
	my %command = map { $_ => command($_) } 1 .. 5;
	my $timer = { timer => 'late', delay => '1 h' };
	my %states = map { $_ => { kind => 'final', default => 'ignore' } } qw(Completed Failed);
	my %events = map { $_ => { correlate => '$.message.id' } } 'Go', map { "Done$_" } 1 .. 5;
	my %go = (set => { n => 0, sum => 0 }, send => $command{1}, schedule => $timer, goto => 'S1');

	for my $n (1 .. 5)
	{
		my $moves = { set => { n => $n, sum => "\$.data.sum + $n" } };
		if ($n < 5)
		{
			@$moves{qw(send schedule goto)} = ($command{ $n + 1 }, $timer, $names[ $n + 1 ]);
		}
		else
		{
			@$moves{qw(unschedule goto)} = (['late'], 'Completed');
			$moves->{append} = {
				stream => 'done-${$.saga.correlation_id}', type => 'Done', data => {},
				expected_version => 0
			};
		}
		$states{ $names[$n] } = {
			default => 'ignore',
			on => { 'timer:late' => { goto => 'Failed' }, "Done$n" => $moves }
		};
	}
	return JSON::PP->new->encode(
		{
			endpoint => 'steps', initial => 'S1', events => \%events, states => \%states,
			start => { Go => \%go }
		});
}

sub command
{
	my ($n) = @_;

	return {
		step => "s$n", endpoint => 'service', type => "Do$n", compensation => 'none',
		body => { id => '$.saga.correlation_id', n => $n }
	};
}

# What version 2 is: all that runs goes on with it.
sub migrate
{
	my ($self) = @_;
	my $definition = definition('Third');

	$self->{node}->safe_psql('postgres',
		"SELECT saga.define('steps', \$definition\$$definition\$definition\$)");
	return $self->{node}
	  ->safe_psql('postgres', q{SELECT saga.migrate('steps', NULL, 2, '{"S3": "Third"}')});
}

sub new
{
	my ($class, $node) = @_;
	my $self = bless { node => $node }, $class;
	my $definition = definition('S3');

	$node->safe_psql('postgres', <<"EOT");
CREATE EXTENSION ecommerce;
SELECT message_bus.create_endpoint('service');
SELECT saga.define('steps', \$definition\$$definition\$definition\$);
CREATE TABLE started (id uuid PRIMARY KEY DEFAULT gen_random_uuid());
CREATE TABLE served (key uuid PRIMARY KEY, id uuid, n int);
CREATE FUNCTION serve() RETURNS int LANGUAGE plpgsql AS \$\$
DECLARE
	d message_bus.delivery;
	count int := 0;
BEGIN
	FOR d IN SELECT * FROM message_bus.receive('service', 50) LOOP
		PERFORM message_bus.handle(d.delivery_id);
		INSERT INTO served
		VALUES ((d.body ->> 'key')::uuid, (d.body ->> 'id')::uuid, (d.body ->> 'n')::int);
		PERFORM message_bus.publish('Done' || (d.body ->> 'n'),
			jsonb_build_object('id', d.body -> 'id', 'key', d.body -> 'key'),
			partition_key => d.body ->> 'id');
		PERFORM message_bus.ack(d.delivery_id);
		count := count + 1;
	END LOOP;
	RETURN count;
END
\$\$;
CREATE FUNCTION start_some(count int) RETURNS void LANGUAGE sql AS \$\$
	WITH new AS (INSERT INTO started SELECT FROM generate_series(1, count) RETURNING id)
	SELECT count(message_bus.publish('Go', jsonb_build_object('id', id),
		partition_key => id::text)) FROM new
\$\$;
EOT
	$self->{scripts} = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$self->{scripts}/serve", "SELECT serve();\n\\sleep 2 ms\n");
	# On a machine that is slow at it, no more than can be finished in the end.
	append_to_file("$self->{scripts}/start", <<'EOT');
SELECT start_some(5) WHERE 5000 > (SELECT sum(depth) FROM message_bus.endpoints
	WHERE name IN ('steps', 'service'));
\sleep 20 ms
EOT
	return $self;
}

# Two clients that serve and one that starts, in the background, until the server goes.
sub run_clients
{
	my ($self) = @_;

	$self->run_client('serve', 2, 600);
	$self->run_client('start', 1, 600);
	return;
}

sub run_client
{
	my ($self, $script, $count, $seconds) = @_;
	my ($out, $err) = ('', '');

	push @{ $self->{clients} },
	  IPC::Run::start(
		[
			'pgbench', '-n', '-T', $seconds, '-c', $count, '-f', "$self->{scripts}/$script",
			$self->{node}->connstr('postgres')
		],
		\undef, \$out, \$err);
	return;
}

# Returns once many more sagas have been started, and many transitions made, than before.
sub get_under_way
{
	my ($self) = @_;
	my $started = 'SELECT count(*) FROM started';
	my $made = 'SELECT count(*) FROM saga.history_entry';
	my $before = $self->{node}->safe_psql('postgres', "SELECT ($started), ($made)");
	my ($sagas, $transitions) = split /\|/, $before;

	$self->run_clients;
	return $self->{node}->poll_query_until('postgres',
		"SELECT ($started) >= $sagas + 60 AND ($made) >= $transitions + 100");
}

sub finish_clients
{
	my ($self) = @_;

	$_->finish for @{ $self->{clients} };
	$self->{clients} = [];
	return;
}

# Kills the worker as nobody expects it; the server restarts all its backends then.
sub kill_worker
{
	my ($self) = @_;
	my $node = $self->{node};
	my $workers = q{FROM pg_stat_activity
		WHERE backend_type = 'ecommerce worker' AND datname = current_database()};

	$node->poll_query_until('postgres', "SELECT count(*) > 0 $workers");
	my $pid = $node->safe_psql('postgres', "SELECT pid $workers LIMIT 1");
	my $killed = kill 'KILL', $pid;

	$self->finish_clients;
	$self->await_server($pid);
	return $killed;
}

sub kill_server
{
	my ($self) = @_;
	my $node = $self->{node};

	$node->kill9;
	$self->finish_clients;
	# The last process of the old server may still be on its way out.
	for (1 .. 100)
	{
		return if $node->start(fail_ok => 1);
		Time::HiRes::usleep(100_000);
		$node->stop('fast', fail_ok => 1);
	}
	die 'the server does not start again';
}

# When the server has noticed the death of a process, which stays a zombie until then,
# and takes connections again. Not with psql: one that cannot connect leaves before its
# query is written to it.
sub await_server
{
	my ($self, $pid) = @_;
	my @probe = ('pg_isready', '-q', '-d', $self->{node}->connstr('postgres'));

	for (1 .. 1800)
	{
		return if !kill(0, $pid) && run_log(\@probe);
		Time::HiRes::usleep(100_000);
	}
	die 'the server does not come back';
}

# All that was started ends, once nothing is started any more.
sub complete
{
	my ($self) = @_;
	my ($left, $idle) = (-1, 0);

	while ($idle < 120)
	{
		$self->run_client('serve', 2, 1);
		$self->finish_clients;
		my $now = $self->{node}->safe_psql('postgres', q{SELECT count(*) FROM started s
			WHERE NOT EXISTS (SELECT FROM saga.instance i
				WHERE i.correlation_id = s.id AND i.current_state = 'Completed')});
		return 1 if $now == 0;
		$idle = $now == $left ? $idle + 1 : 0;
		$left = $now;
	}
	return 0;
}

# What is not as it should be, empty if nothing. Instances that were migrated have an entry
# more, and one of the names of the third state.
sub complaints
{
	my ($self) = @_;

	return $self->{node}->safe_psql('postgres', <<'EOT');
CREATE TEMP VIEW told AS
SELECT i.correlation_id AS id, i.version, i.data, h.version AS nth, h.event,
	replace(h.to_state, 'Third', 'S3') AS state
FROM saga.instance i, saga.history('steps', i.correlation_id) h;
SELECT 'instances', count(*) FROM saga.instance
HAVING count(*) <> (SELECT count(*) FROM started)
UNION ALL
SELECT 'versions of ' || id, version FROM told GROUP BY id, version
HAVING array_agg(nth ORDER BY nth) <> ARRAY(SELECT generate_series(1, version))
UNION ALL
SELECT 'transitions of ' || id, count(*) FROM told WHERE event <> 'migrate' GROUP BY id
HAVING array_agg(state ORDER BY nth) <> '{S1,S2,S3,S4,S5,Completed}'
UNION ALL
SELECT 'data of ' || correlation_id, version FROM saga.instance
WHERE data <> '{"n": 5, "sum": 15}'
UNION ALL
SELECT 'commands of ' || s.id, count(*) FROM started s LEFT JOIN served v USING (id)
GROUP BY s.id HAVING array_agg(v.n ORDER BY v.n) <> '{1,2,3,4,5}'
UNION ALL
SELECT 'domain events', count(*)
FROM event_store.read_all(category => 'done', max_count => 1000000)
HAVING count(*) <> (SELECT count(*) FROM started)
UNION ALL
SELECT 'left over at ' || name, depth + in_flight + scheduled + retrying + dead
FROM message_bus.endpoints WHERE depth + in_flight + scheduled + retrying + dead > 0
UNION ALL
SELECT 'timers', count(*) FROM saga.timers HAVING count(*) > 0
UNION ALL
SELECT 'parked', count(*) FROM saga.parked HAVING count(*) > 0
EOT
}

1;
