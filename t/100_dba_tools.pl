# A DBA's tools under load and between the calls of a consumer: REINDEX CONCURRENTLY while an
# old snapshot is open, VACUUM FULL and CLUSTER between receive and ack, pg_repack, and a
# publication of all tables with a subscriber. Nothing is lost, doubled or left behind.
use strict;
use warnings FATAL => 'all';

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
message_bus.dedupe_window = 1s
log_statement = none
EOT
$node->start;
my $timeout = $PostgreSQL::Test::Utils::timeout_default * 5;

# Starts a statement and returns its process.
sub start
{
	my ($statement, $database) = @_;
	my @command = ('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d',
		$node->connstr($database // 'postgres'), '-c', $statement);

	return IPC::Run::start(\@command, '<', \undef, '>&', \my $output,
		IPC::Run::timeout($timeout));
}

# Waits until the processes wait for something in the server, or have ended.
sub wait_for
{
	my ($condition, @processes) = @_;

	for (1 .. 10 * $timeout)
	{
		return 1 if $node->safe_psql('postgres', "SELECT $condition") eq 't';
		return 0 if grep { !$_->pumpable } @processes;
		$_->pump_nb for @processes;
		select undef, undef, undef, 0.1;
	}
	return 0;
}

sub sql { return $node->safe_psql('postgres', @_); }

sql(<<'EOT');
CREATE EXTENSION ecommerce;
CREATE EXTENSION amcheck;
SELECT message_bus.create_endpoint('tool', 1,
	'{"kind": "interval", "limit": 100, "interval": "0 s"}', '{"kind": "none"}');
CREATE FUNCTION drain() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ids bigint[];
	result text;
BEGIN
	SELECT array_agg(delivery_id), string_agg(body->>'n', ' ' ORDER BY (body->>'n')::int)
		INTO ids, result FROM message_bus.receive('tool', 10000);
	PERFORM message_bus.ack(VARIADIC ids) WHERE ids IS NOT NULL;
	RETURN result;
END $$;
-- What every B-tree of ours says is what its table holds.
CREATE FUNCTION broken() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	index regclass;
	result text := '';
BEGIN
	FOR index IN SELECT c.oid FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
		JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
		WHERE c.relnamespace IN ('event_store'::regnamespace, 'message_bus'::regnamespace) LOOP
		BEGIN
			PERFORM bt_index_check(index, true);
		EXCEPTION WHEN OTHERS THEN
			result := result || index || ': ' || sqlerrm || E'\n';
		END;
	END LOOP;
	RETURN result;
END $$;
EOT

# ---------------------------------------------------------------- an old snapshot

{
	my $old = $node->background_psql('postgres');

	$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
	my @builders = map { start($_) } (
		'REINDEX TABLE CONCURRENTLY message_bus.ring_0',
		'REINDEX TABLE CONCURRENTLY event_store.stored_event',
		'CREATE INDEX CONCURRENTLY later ON message_bus.aside (state)');
	ok( wait_for(q{count(*) = 3 FROM pg_stat_progress_create_index
			WHERE phase = 'waiting for old snapshots'}, @builders),
		'three builders of indexes wait for the snapshot');
	sql(q{SELECT message_bus.send('tool', 'T', jsonb_build_object('n', n))
		FROM generate_series(1, 100) n});
	is( $node->psql('postgres', q{SELECT event_store.append('old-' || n % 7, -1, 'A', '{}')
			FROM generate_series(1, 100) n}), 0, 'appending goes on meanwhile');
	sql(q{SELECT message_bus.send('tool', 'T', '{"n": 101}',
		deliver_at => now() + interval '1 ms')});
	$old->quit;
	$_->finish for @builders;
	is(sql('SELECT drain()'), join(' ', 1 .. 101), 'what was sent meanwhile is received');
	is(sql(q{SELECT count(*) FROM event_store.read_all(0, 1000)}), '100',
		'what was appended meanwhile is read');
	is(sql('SELECT broken()'), '', 'the new indexes have all rows');
}

# ---------------------------------------------------------------- rows that are moved

# The first of three messages that were set aside is settled after the tool has had its try.
for my $tool ('VACUUM FULL message_bus.aside', 'CLUSTER message_bus.aside USING aside_id_idx')
{
	for my $settle (q{SELECT message_bus.ack(delivery_id) FROM got},
		q{SELECT message_bus.fail(delivery_id, 'E', 'again') FROM got},
		q{SELECT message_bus.skip(delivery_id) FROM got})
	{
		my $consumer = $node->background_psql('postgres');

		sql(q{SELECT message_bus.send('tool', 'T', jsonb_build_object('n', n))
			FROM generate_series(0, 3) n});
		sql(q{SELECT message_bus.fail(delivery_id, 'E', 'aside')
			FROM message_bus.receive('tool', 4)});
		# Room before the others, into which they could move.
		sql(q{SELECT message_bus.ack(delivery_id) FROM message_bus.receive('tool', 1)});
		$consumer->query_safe(q{BEGIN; CREATE TEMP TABLE got AS
			SELECT * FROM message_bus.receive('tool', 1)});
		my $mover = start($tool);
		wait_for(q{EXISTS (SELECT FROM pg_locks WHERE NOT granted
			AND relation = 'message_bus.aside'::regclass)}, $mover);
		$consumer->query_safe($settle);
		$consumer->query_safe('COMMIT');
		$consumer->quit;
		$mover->finish;
		is(sql('SELECT drain()'), $settle =~ /fail/ ? '1 2 3' : '2 3',
			(split ' ', $tool)[0] . " between receive and " . ($settle =~ /\.(\w+)/)[0]);
	}
}

# ---------------------------------------------------------------- pg_repack under load

sql('CREATE EXTENSION pg_repack');
sql('CREATE TABLE sent (n int); CREATE TABLE acked (n int); CREATE SEQUENCE numbers');
my $producer = $node->basedir . '/producer.sql';
my $consumer = $node->basedir . '/consumer.sql';

append_to_file($producer, <<'EOT');
\set stream random(1, 20)
SELECT nextval('numbers') AS n \gset
BEGIN;
INSERT INTO sent VALUES (:n);
SELECT message_bus.send('tool', 'T', jsonb_build_object('n', :n),
	deliver_at => CASE WHEN :n % 2 = 0 THEN clock_timestamp() + interval '1 ms' END);
SELECT event_store.append('new-' || :n, 0, 'A', '{}') WHERE :n % 5 = 0;
SELECT event_store.append('load-' || :stream, -1, 'A', '{}');
COMMIT;
EOT
append_to_file($consumer, <<'EOT');
WITH got AS MATERIALIZED (SELECT * FROM message_bus.receive('tool', 20)),
	settled AS (SELECT (body->>'n')::int AS n, attempt,
		CASE WHEN (body->>'n')::int % 3 = 0 AND attempt < 3
			THEN message_bus.fail(delivery_id, 'E', 'e')
			ELSE (SELECT NULL::void FROM (SELECT message_bus.ack(delivery_id)) a) END FROM got)
INSERT INTO acked SELECT n FROM settled WHERE n % 3 <> 0 OR attempt >= 3;
EOT
my @load = map { IPC::Run::start(['pgbench', '-n', '-c', $_->[1], '-t', $_->[2], '-f', $_->[0],
		$node->connstr('postgres')], '<', \undef, '>', \my $out, '2>', \$_->[3],
		IPC::Run::timeout($timeout)) }
	my @scripts = ([$producer, 3, 1200, ''], [$consumer, 2, 400, '']);

for my $table (('event_store.stream', 'message_bus.aside', 'event_store.stored_event') x 2)
{
	command_ok(['pg_repack', '--no-order', '--no-kill-backend', '-T', 600,
		'-h', $node->host, '-p', $node->port, '-d', 'postgres', '-t', $table],
		"pg_repack of $table");
	$_->pump_nb for grep { $_->pumpable } @load;
}
$_->finish for @load;
is(join('', map { $_->[3] =~ /ERROR/ ? $_->[3] : '' } @scripts), '', 'no client failed');
for (1 .. 100)
{
	last if sql(q{WITH got AS MATERIALIZED (SELECT * FROM message_bus.receive('tool', 1000))
		INSERT INTO acked SELECT (body->>'n')::int FROM got
		WHERE message_bus.ack(delivery_id) = 1 RETURNING 1}) eq ''
		&& sql('SELECT count(*) FROM message_bus.aside') eq '0';
}
is(sql('SELECT n FROM sent EXCEPT SELECT n FROM acked'), '', 'no message is lost');
is(sql('SELECT n FROM acked GROUP BY n HAVING count(*) > 1'), '', 'no message came twice');
is(sql('SELECT problem FROM event_store.verify()'), '', 'no event is out of place');
is(sql('SELECT broken()'), '', 'indexes have what the tables have');

# ---------------------------------------------------------------- a subscriber

sub same
{
	my ($table, $columns) = @_;
	my $query = "SELECT $columns FROM $table ORDER BY 1, 2";

	is($node->safe_psql('copy', $query), $node->safe_psql('shop', $query), "$table is the same");
}

sql("CREATE DATABASE $_") for qw(shop copy);
$node->safe_psql($_, 'CREATE EXTENSION ecommerce') for qw(shop copy);
$node->safe_psql('shop', q{CREATE PUBLICATION everything FOR ALL TABLES});
$node->safe_psql('shop', q{SELECT pg_create_logical_replication_slot('copy', 'pgoutput')});
$node->safe_psql('copy', "CREATE SUBSCRIPTION copy CONNECTION '"
	. $node->connstr('shop') =~ s/'//gr . "' PUBLICATION everything"
	. " WITH (create_slot = false, slot_name = 'copy', copy_data = false)");
$node->safe_psql('shop', $_) for (
	q{SELECT message_bus.create_endpoint('e', 1,
			'{"kind": "interval", "limit": 3, "interval": "0 s"}'),
		message_bus.create_endpoint('gone', 1)},
	q{SELECT event_store.append(s || '-1', -1, 'A', '{}')
		FROM unnest('{kept,deleted,buried}'::text[]) s, generate_series(1, 3)},
	q{SELECT message_bus.send(e, 'T', jsonb_build_object('n', n)) FROM generate_series(1, 8) n,
		unnest('{e,gone}'::text[]) e},
	q{SELECT message_bus.send('e', 'Later', '{}', '00000000-0000-0000-0000-000000000001',
		deliver_at => now() + interval '1 day')},
	q{SELECT message_bus.fail(delivery_id, 'E', 'e') FROM message_bus.receive('e', 2)},
	q{SELECT message_bus.ack(delivery_id) FROM message_bus.receive('e', 2)},
	q{SELECT message_bus.skip(delivery_id) FROM message_bus.receive('e', 4)},
	q{SELECT message_bus.redrive(message_id) FROM message_bus.dead LIMIT 1},
	q{SELECT message_bus.discard(message_id) FROM message_bus.dead LIMIT 1},
	q{SELECT message_bus.cancel_scheduled('00000000-0000-0000-0000-000000000001')},
	q{SELECT event_store.delete_stream('deleted-1', -1),
		event_store.tombstone_stream('buried-1', -1)},
	q{SELECT event_store.scavenge()},
	q{SELECT message_bus.drop_endpoint('gone', true)},
	q{SELECT event_store.append('kept-1', -1, 'Last', '{}')});
ok( $node->poll_query_until('shop', q{SELECT confirmed_flush_lsn >= }
		. "'" . $node->safe_psql('shop', 'SELECT pg_current_wal_lsn()') . "'"
		. q{ FROM pg_replication_slots WHERE slot_name = 'copy'}),
	'the subscriber has followed');
same('event_store.stream', 'name, deleted_version, tombstoned');
same('event_store.stored_event', 'position, stream, event_type');
same('message_bus.aside', 'message_id, state, attempt');
same('message_bus.dead', 'message_id, reason');
same('message_bus.endpoint', 'name, lanes');
is($node->safe_psql('copy', q{SELECT count(*) FROM event_store.read_stream('kept-1')}), '4',
	'and what it has got can be read there');
$node->safe_psql('copy', 'ALTER SUBSCRIPTION copy DISABLE;'
	. ' ALTER SUBSCRIPTION copy SET (slot_name = NONE); DROP SUBSCRIPTION copy');
$node->stop;

done_testing();
