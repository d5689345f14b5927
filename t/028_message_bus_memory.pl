# Memory that cannot be had: a process that cannot map what the bus shares, a bus that has
# used up what it may, and numbers in tables that point beyond what there is. Whoever meets
# it gets an error, nothing is lost, and all is well when the cause has gone.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
dynamic_shared_memory_type = mmap
saga.workers = 0
log_statement = none
EOT
$node->start;

sub sql { return $node->safe_psql('postgres', @_); }
sub session { return $node->background_psql('postgres', on_error_stop => 0); }

# What a session is told; empty if nothing.
sub told
{
	my ($session, $statement) = @_;

	$session->{stderr} = '';
	$session->query($statement);
	my $told = $session->{stderr};
	$session->{stderr} = '';
	return $told =~ /((?:ERROR|FATAL|PANIC|WARNING):\s.*)/ ? $1 : '';
}

# Shared memory lies in files here, PostgreSQL's statistics too, which have got all they will
# need before ours begins. Files that are not named are put where nobody finds them, until
# brought back.
my $memory = $node->data_dir . '/pg_dynshmem';
sub segments { return map { m{/(mmap\.\d+)$} } glob "$memory/mmap.*"; }
sub hide
{
	my %kept = map { $_ => 1 } @_;

	rename "$memory/$_", "$memory/hidden.$_" or die "cannot hide $_: $!"
	  for grep { !$kept{$_} } segments();
	return;
}
sub bring_back
{
	for my $hidden (glob "$memory/hidden.*")
	{
		rename $hidden, $hidden =~ s/hidden\.//r or die "cannot bring back $hidden: $!";
	}
	return;
}

sql(q{DO $$ BEGIN
	FOR n IN 1 .. 1500 LOOP
		EXECUTE format('CREATE TABLE counted_%s AS SELECT 1', n);
	END LOOP;
	END $$});
my @statistics = segments();
sql(q{CREATE EXTENSION ecommerce;
	CREATE FUNCTION drain(name text) RETURNS text LANGUAGE sql AS $$
		WITH got AS MATERIALIZED (SELECT * FROM message_bus.receive(name, 1000)),
			acked AS MATERIALIZED (SELECT message_bus.ack(VARIADIC array_agg(delivery_id))
				FROM got HAVING count(*) > 0)
		SELECT string_agg(body->>'n', ' ' ORDER BY (body->>'n')::int) FROM got,
			(SELECT count(*) FROM acked) a $$;
	CREATE FUNCTION say(name text, n int) RETURNS void LANGUAGE sql AS $$
		SELECT message_bus.send(name, 'T', jsonb_build_object('n', n)) $$});
my $first = session();
$first->query_safe(q{SELECT message_bus.create_endpoint('e', 1, '{"kind": "none"}')});
$first->query_safe(q{SELECT say('e', 1)});
my @old = segments();
cmp_ok(scalar @old, '>', scalar @statistics, 'what the bus shares is in files');

# ---------------------------------------------------------------- not to be mapped

hide(@statistics);
my $second = session();
like(told($second, q{SELECT say('e', 2)}), qr/ERROR:.*could not open shared memory/,
	'who comes now and sends is told');
like(told($second, q{SELECT drain('e')}), qr/ERROR:.*could not open shared memory/,
	'so is who receives');
like(told($second, q{SELECT count(*) FROM message_bus.endpoints}), qr/ERROR:.*could not open/,
	'and who looks');
is(told($first, q{SELECT say('e', 2)}), '', 'who was there before goes on');
bring_back();
is(told($second, q{SELECT say('e', 3)}), '', 'afterwards all is well');

# More of it, made by somebody else while this one looks on.
$first->query_safe(q{SELECT message_bus.create_endpoint('wide-' || n, 256),
	say('wide-' || n, n) FROM generate_series(1, 400) n});
cmp_ok(scalar segments(), '>', scalar @old, 'there is more of it');
$second->query_safe(q{BEGIN; SELECT say('e', 4); SAVEPOINT s});
hide(@old);
like(told($second, q{SELECT say('wide-' || n, 1000 + n) FROM generate_series(1, 400) n}),
	qr/ERROR:.*could not open shared memory/, 'what has been made since cannot be mapped');
$second->query_safe(q{ROLLBACK TO s});
like(told($second, q{SELECT drain('wide-' || n) FROM generate_series(1, 400) n}),
	qr/ERROR:.*could not open shared memory/, 'nor received from');
$second->query_safe(q{ROLLBACK TO s; SELECT drain('e')});
is(told($second, 'COMMIT'), '', 'a commit needs no more than it has');
is(told($second, q{SELECT drain('e')}), '', 'and the session goes on');
bring_back();
is(told($second, q{SELECT say('wide-' || n, 1000 + n) FROM generate_series(1, 400) n}), '',
	'afterwards all of it is there');
is($second->query_safe(q{SELECT count(*) FROM generate_series(1, 400) n
	WHERE drain('wide-' || n) = n || ' ' || 1000 + n}), '400', 'and nothing was lost or doubled');
is($second->query_safe(q{SELECT coalesce(drain('e'), 'nothing')}), 'nothing', 'here neither');

# A commit's last part, while others have changed and enlarged what it is about.
$second->query_safe(q{SELECT say('e', n) FROM generate_series(5, 6) n});
$second->query_safe(q{BEGIN; SELECT message_bus.fail(delivery_id, 'E', 'e')
	FROM message_bus.receive('e', 2)});
$first->query_safe(q{SELECT message_bus.create_endpoint('more-' || n, 256),
	say('more-' || n, n) FROM generate_series(1, 200) n});
hide(@old);
my $refused = told($second, 'COMMIT');
like($refused, qr/^$|^ERROR:.*could not open shared memory/,
	'a commit of failures is one or is none');
is($second->query_safe('SELECT 1'), '1', 'and the session goes on');
bring_back();
is(sql(q{SELECT count(*) FROM message_bus.dead}), $refused ? '0' : '2',
	'all of it is done, or nothing');
is(sql(q{SELECT coalesce(drain('e'), 'nothing')}), $refused ? '5 6' : 'nothing',
	'and what is not dead comes again');

# ---------------------------------------------------------------- half of it

my $locker = session();
$locker->query_safe(q{SELECT pg_advisory_lock(hashtext('bus_area')::bigint)});
my $third = session();
like(told($third, q{SELECT say('e', 7)}), qr/ERROR:\s+bus_area fails/,
	'who fails when part of it is mapped');
like(told($third, q{SELECT drain('e')}), qr/ERROR:\s+bus_area fails/, 'again');
$locker->query_safe('SELECT pg_advisory_unlock_all()');
is(told($third, q{SELECT say('e', 7)}), '', 'goes on when the cause has gone');
is($third->query_safe(q{SELECT drain('e')}), '7', 'as if nothing had been');
$_->quit for $first, $second, $third;

# ---------------------------------------------------------------- numbers beyond the end

# Lanes that there are not, wherever a number of one can stand: after a start, when tables
# are read anew, and under a server that has read them.
sql(q{SELECT message_bus.create_endpoint('odd', 2, '{"kind": "interval", "limit": 9,
	"interval": "0 s"}', '{"kind": "none"}')});
sql(q{SELECT say('odd', n) FROM generate_series(1, 5) n});
sql(q{SELECT message_bus.fail(delivery_id, 'E', 'e') FROM message_bus.receive('odd', 2)});
sql(q{SELECT count(*) FROM message_bus.receive('odd', 1, '1 h')});
my @places = split /\n/, sql(q{
	SELECT a.attrelid::regclass FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	JOIN pg_attribute e ON e.attrelid = a.attrelid AND e.attname = 'endpoint_id'
	WHERE a.attname = 'lane' AND c.relkind = 'r'
		AND c.relnamespace = 'message_bus'::regnamespace ORDER BY 1});
cmp_ok(scalar @places, '>', 10, 'tables have numbers of lanes');
my $uses = join ";\n", q{SELECT say('odd', 9)}, q{SELECT drain('odd')},
  q{SELECT message_bus.maintain()}, q{SELECT * FROM message_bus.endpoints},
  q{SELECT message_bus.ack(delivery_id) FROM message_bus.lease},
  q{SELECT message_bus.extend_lease(array_agg(delivery_id), '1 h') FROM message_bus.lease},
  q{SELECT * FROM message_bus.peek('odd')};
for my $number (2, -1, 2_000_000_000)
{
	# Where a key allows only one row of a lane, one row it is.
	$node->psql('postgres', join(";\n", map {
			"UPDATE $_ SET lane = $number WHERE lane IS NOT NULL AND endpoint_id =
				(SELECT endpoint_id FROM message_bus.endpoint WHERE name = 'odd')" } @places),
		on_error_stop => 0);
	for my $fresh ('', ' after a start')
	{
		$node->restart if $fresh;
		my (undef, undef, $told) = $node->psql('postgres', $uses, on_error_stop => 0,
			extra_params => [ '-v', 'VERBOSITY=verbose' ]);

		is(join('', grep { /connection|XX000/ } split /\n/, $told), '',
			"lane $number$fresh: errors are told");
	}
}

# ---------------------------------------------------------------- used up

$node->stop;
{
	local $ENV{ECOMMERCE_BREAK} = 'bus_area_small';
	$node->start;
}
my $full = session();
my ($made, $problem) = (0, '');
while ($made < 4000 && !$problem)
{
	$made++;
	$problem = told($full,
		"SELECT message_bus.create_endpoint('last-$made', 256), say('last-$made', 1)");
}
like($problem, qr/ERROR:\s+out of memory/, "there is room for $made endpoints of 256 lanes more");
is(told($full, q{SELECT say('e', 10)}), '', 'those that there are go on');
is($full->query_safe(q{SELECT drain('e')}), '10', 'from beginning to end');
like(told($full, "SELECT say('last-$made', 1)"), qr/ERROR:\s+endpoint .* does not exist/,
	'of the one that was not made there is nothing');
$full->quit;

my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|terminated by signal|attach the same segment/, 'nothing crashed');
$node->stop;
done_testing();
