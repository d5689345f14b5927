# Producers and consumers of the message bus, and the questions whether anything was
# lost, doubled or reordered.
#
# A producer notes in its transaction what it sends, a consumer in its transaction
# what it handles; after any number of crashes the two must agree. Keys belong to
# one client each, whose messages are numbered, so their order can be checked.
# Endpoint "plain" is consumed in batches, "careful" one by one with savepoints and
# failures that are retried at once, "twice" is sent every message id twice, "away" is
# read by nobody until the end.
package BusStress;

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

my %producers = (
	batch => [ 4, <<'EOT' ],
\set n :n + 20
\set keep random(1, 8)
BEGIN;
SELECT stress.send('plain', :client_id, :n, 20);
\if :keep = 1
ROLLBACK;
\else
COMMIT;
\endif
EOT
	single => [ 4, <<'EOT' ],
\set n :n + 20
SELECT stress.send('careful', :client_id, :n, 1);
EOT
	savepoint => [ 2, <<'EOT' ],
\set n :n + 20
BEGIN;
SAVEPOINT one;
SELECT stress.send('plain', :client_id, :n, 5);
ROLLBACK TO one;
SAVEPOINT two;
SELECT stress.send('plain', :client_id, :n + 6, 5);
RELEASE two;
\sleep 2 ms
SELECT stress.send('careful', :client_id, :n + 11, 2);
COMMIT;
EOT
	twice => [ 2, <<'EOT' ],
\set n :n + 20
\set id random(1, 9000000000000000)
BEGIN;
SELECT stress.send_id('twice', :client_id, :n, :id);
SELECT stress.send_id('twice', :client_id, :n, :id);
COMMIT;
SELECT stress.send_id('twice', :client_id, :n, :id);
EOT
);

# For an endpoint that nobody reads meanwhile; see send_to_away().
my %away_producers = (
	away => [ 12, <<'EOT' ],
\set n :n + 20
SELECT stress.send('away', :client_id, :n, 20);
EOT
);

my %away_consumers = (
	away => [ 1, <<'EOT' ],
SELECT stress.consume('away', 500) AS got \gset
\if :got = 0
\sleep 5 ms
\endif
EOT
);

my %consumers = (
	plain => [ 4, <<'EOT' ],
\set keep random(1, 10)
BEGIN;
SELECT stress.consume('plain', 30) AS got \gset
\if :keep = 1
ROLLBACK;
\else
COMMIT;
\endif
\if :got = 0
\sleep 5 ms
\endif
EOT
	careful => [ 3, <<'EOT' ],
BEGIN;
SELECT stress.consume_carefully('careful', 10) AS got \gset
COMMIT;
\if :got = 0
\sleep 5 ms
\endif
EOT
	twice => [ 1, <<'EOT' ],
SELECT stress.consume('twice', 10) AS got \gset
\if :got = 0
\sleep 5 ms
\endif
EOT
);

sub new
{
	my ($class, $node, $database) = @_;
	my $self = bless { node => $node, database => $database // 'postgres', pids => {},
		files => PostgreSQL::Test::Utils::tempdir(),
		first => 0 }, $class;

	$self->_sql(<<'EOT');
SELECT message_bus.create_endpoint(name, 6, '{"kind": "immediate", "limit": 1000}',
	'{"kind": "none"}')
FROM unnest('{plain,careful,twice}'::text[]) name;
CREATE SCHEMA stress;
CREATE TABLE stress.sent (endpoint text, key text, n bigint);
CREATE TABLE stress.handled (ord bigserial, endpoint text, key text, n bigint, attempt int,
	message_id uuid);
CREATE FUNCTION stress.send(endpoint text, client int, first bigint,
	count int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO stress.sent SELECT endpoint, i / 10000000 || '-' || client || '-' || i % 3, i
		FROM generate_series(first, first + count - 1) i;
	SELECT message_bus.send(endpoint, 'Counted', jsonb_build_object('key',
		i / 10000000 || '-' || client || '-' || i % 3, 'n', i),
		partition_key => i / 10000000 || '-' || client || '-' || i % 3)
			FROM generate_series(first, first + count - 1) i;
$$;
-- The id is free to be anybody's: the first to commit it sends it.
CREATE TABLE stress.ids (message_id uuid PRIMARY KEY);
CREATE FUNCTION stress.send_id(endpoint text, client int, n bigint,
	id bigint) RETURNS void LANGUAGE sql AS $$
	INSERT INTO stress.ids VALUES (lpad(id::text, 32, '0')::uuid) ON CONFLICT DO NOTHING;
	SELECT message_bus.send(endpoint, 'Counted', jsonb_build_object('key', client || '-' || n % 3,
		'n', n),
		message_id => lpad(id::text, 32, '0')::uuid, partition_key => client || '-' || n % 3);
$$;
CREATE FUNCTION stress.consume(endpoint text, count int) RETURNS bigint LANGUAGE sql AS $$
	WITH r AS MATERIALIZED (SELECT * FROM message_bus.receive(endpoint, count)),
		h AS (INSERT INTO stress.handled (endpoint, key, n, attempt, message_id)
			SELECT r.endpoint, r.body->>'key', (r.body->>'n')::bigint, r.attempt, r.message_id
				FROM r)
	SELECT CASE WHEN count(*) > 0 THEN message_bus.ack(VARIADIC array_agg(r.delivery_id))
		ELSE 0 END FROM r
$$;
CREATE FUNCTION stress.consume_carefully(endpoint text,
	count int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	d message_bus.delivery;
	got int := 0;
BEGIN
	FOR d IN SELECT * FROM message_bus.receive(endpoint, count) LOOP
		got := got + 1;
		BEGIN
			PERFORM message_bus.handle(d.delivery_id);
			INSERT INTO stress.handled (endpoint, key, n, attempt, message_id)
			VALUES (d.endpoint, d.body->>'key', (d.body->>'n')::bigint, d.attempt, d.message_id);
			IF random() < 0.1 THEN
				PERFORM message_bus.ack(d.delivery_id);
				RAISE division_by_zero;
			END IF;
			IF random() < 0.05 THEN
				-- Neither acked nor failed: it is returned.
				RAISE data_exception;
			END IF;
			PERFORM message_bus.ack(d.delivery_id);
		EXCEPTION
			WHEN division_by_zero THEN PERFORM message_bus.fail(d.delivery_id, 'E', 'at random');
			WHEN data_exception THEN NULL;
		END;
	END LOOP;
	RETURN got;
END
$$;
EOT
	return $self;
}

sub _sql
{
	my ($self, $sql) = @_;
	return $self->{node}->safe_psql($self->{database}, $sql);
}

# Starts a pgbench on weighted scripts; its application_name tells what it is.
sub _pgbench
{
	my ($self, $what, $scripts, @options) = @_;
	my @files;

	for my $name (sort keys %$scripts)
	{
		my ($weight, $text) = @{ $scripts->{$name} };
		my $file = "$self->{files}/$what-$name.sql";

		open my $handle, '>', $file or die "cannot write $file: $!";
		print $handle $text;
		close $handle;
		push @files, '-f', "$file\@$weight";
	}
	my $pid = fork // die "cannot fork: $!";
	if ($pid == 0)
	{
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{files}/$what.out";
		open STDERR, '>>', "$self->{files}/$what.err";
		exec 'pgbench', '-n', '-M', 'prepared', @options, @files,
		  $self->{node}->connstr($self->{database}) . " application_name=$what"
		  or POSIX::_exit(127);
	}
	$self->{pids}{$pid} = $what;
	return;
}

# Producers in two processes, so that backends that are terminated end one of them.
sub start_producers
{
	my ($self, %options) = @_;

	local $ENV{PGOPTIONS} = "-c synchronous_commit=$options{synchronous_commit}";
	my %scripts = (%producers, $self->{away} ? %away_producers : ());

	for (1 .. 2)
	{
		# Numbers go on from where the last round was, for each client.
		$self->{first} += 10_000_000;
		$self->_pgbench('producer', \%scripts, '-c', 4, '-T', $options{seconds},
			'-D', "n=$self->{first}");
	}
	return;
}

sub start_consumers
{
	my ($self) = @_;

	for (1 .. 3)
	{
		$self->_pgbench('consumer', \%consumers, '-c', 4, '-T', 600);
	}
	return;
}

# From now on producers send to endpoint "away" too, half of what they send.
sub send_to_away
{
	my ($self) = @_;

	$self->_sql(q{SELECT message_bus.create_endpoint('away', 6)});
	$self->{away} = 1;
	return;
}

sub start_away_consumers
{
	my ($self) = @_;

	$self->_pgbench('consumer', \%away_consumers, '-c', 3, '-T', 600);
	return;
}

sub _wait_for
{
	my ($self, $what) = @_;

	for my $pid (grep { $self->{pids}{$_} eq $what } keys %{ $self->{pids} })
	{
		waitpid $pid, 0;
		delete $self->{pids}{$pid};
	}
	return;
}

sub finish_producers { $_[0]->_wait_for('producer'); return; }

sub stop_consumers
{
	my ($self) = @_;

	kill 'TERM', $_ for grep { $self->{pids}{$_} eq 'consumer' } keys %{ $self->{pids} };
	$self->_wait_for('consumer');
	return;
}

# Terminates backends in the middle of transactions, a few at a time. Returns how many.
sub terminate_some
{
	my ($self, $times) = @_;
	my $count = 0;

	for (1 .. $times)
	{
		$count += $self->_sql(q{
			SELECT count(pg_terminate_backend(v.pid)) FROM pg_sleep(0.3), LATERAL (
				SELECT a.pid FROM pg_stat_activity a
				WHERE a.application_name IN ('consumer', 'producer') AND a.xact_start IS NOT NULL
				ORDER BY random() LIMIT 2) v});
		# pgbench ends when its last client has gone; the others work on.
	}
	return $count;
}

# Kills one of the consumers' programs, with all its connections.
sub kill_consumer
{
	my ($self) = @_;
	my ($pid) = grep { $self->{pids}{$_} eq 'consumer' } sort keys %{ $self->{pids} };

	kill 'KILL', $pid;
	waitpid $pid, 0;
	delete $self->{pids}{$pid};
	return;
}

# Kills the server's processes, as a power failure would, and starts it again.
sub kill_server
{
	my ($self) = @_;

	$self->{node}->kill9;
	$self->_wait_for('producer');
	$self->_wait_for('consumer');
	# The last process of the old server may still be on its way out.
	for (1 .. 100)
	{
		return if $self->{node}->start(fail_ok => 1);
		select undef, undef, undef, 0.1;
		$self->{node}->stop('fast', fail_ok => 1);
	}
	die "the server does not start again";
}

sub sent
{
	my ($self) = @_;
	return
		$self->_sql(q{SELECT (SELECT count(*) FROM stress.sent)
		+ (SELECT count(*) FROM stress.ids)});
}

sub drained
{
	my ($self) = @_;
	return $self->{node}->poll_query_until($self->{database},
		'SELECT sum(depth) = 0 AND sum(retrying) = 0 FROM message_bus.endpoints');
}

# Waits until nothing is left, or nothing more has been consumed for three seconds.
sub stalled
{
	my ($self) = @_;
	my $before = -1;
	my $same = 0;

	for my $turn (1 .. 300)
	{
		my ($left, $handled) = split /\|/, $self->_sql(q{
			SELECT (SELECT sum(depth + retrying) FROM message_bus.endpoints),
				(SELECT count(*) FROM stress.handled)});

		$same = $handled == $before ? $same + 1 : 0;
		return if $left == 0 || $same == 3;
		$before = $handled;
		$self->_sql('SELECT pg_sleep(1)');
	}
	return;
}

# What is wrong, one line each.
sub complaints
{
	my ($self) = @_;
	my $wrong = $self->_sql(q{
		SELECT 'lost: ' || count(*) FROM (
			SELECT endpoint, key, n FROM stress.sent
			EXCEPT SELECT endpoint, key, n FROM stress.handled) l HAVING count(*) > 0
		UNION ALL
		SELECT 'from nowhere: ' || count(*) FROM (
			SELECT endpoint, key, n FROM stress.handled WHERE endpoint <> 'twice'
			EXCEPT SELECT endpoint, key, n FROM stress.sent) l HAVING count(*) > 0
		UNION ALL
		SELECT 'doubled: ' || count(*) FROM (
			SELECT FROM stress.handled WHERE endpoint <> 'twice'
			GROUP BY endpoint, key, n HAVING count(*) > 1) d HAVING count(*) > 0
		UNION ALL
		SELECT 'ids doubled: ' || count(*) FROM (
			SELECT FROM stress.handled WHERE endpoint = 'twice'
			GROUP BY message_id HAVING count(*) > 1) d HAVING count(*) > 0
		UNION ALL
		SELECT 'ids lost: ' || count(*) FROM (
			SELECT message_id FROM stress.ids
			EXCEPT SELECT message_id FROM stress.handled
				WHERE endpoint = 'twice') l HAVING count(*) > 0
		UNION ALL
		SELECT 'out of order: ' || count(*) FROM (
			SELECT n < lag(n) OVER (PARTITION BY endpoint, key ORDER BY ord) AS wrong
			FROM stress.handled WHERE endpoint IN ('plain', 'away')) o
		WHERE wrong HAVING count(*) > 0});

	return $wrong;
}

1;
