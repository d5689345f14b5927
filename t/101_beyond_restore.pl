# What leads beyond a database - a bridge with the ids it has taken, an endpoint that forwards,
# a projection of another database's events, a rebuild beside that is half done - dumped and
# restored in parallel while others use it, on a standby, through a crash, and dropped.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('beyond');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
saga.workers = 0
restart_after_crash = on
log_statement = none
EOT
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(source shop);
$node->safe_psql('source', q{CREATE EXTENSION ecommerce;
	SELECT count(event_store.append('order-' || n % 7, -1, 'Placed', jsonb_build_object('n', n)))
	FROM generate_series(1, 40) n});

my $source = $node->connstr('source') =~ s/'/''/gr;
$node->safe_psql('shop', <<"EOT");
CREATE EXTENSION ecommerce;
CREATE EXTENSION dblink;
SELECT message_bus.create_endpoint('in', 2),
	message_bus.create_endpoint('out', 2, forward_to => 'rabbit');
SELECT message_bus.create_bridge('partners', 'raw',
	'{"queue": "q", "endpoint": "out", "target": "in"}');
CREATE TABLE seen (n int PRIMARY KEY);
CREATE FUNCTION see(event event_store.event) RETURNS void LANGUAGE sql AS
	'INSERT INTO public.seen VALUES ((event.data->>''n'')::int)';
SELECT event_store.create_projection('there', 'see(event_store.event)', 'order', source => 'source',
	tables => '{seen}');
CREATE TABLE own (n int PRIMARY KEY);
CREATE TABLE stumble AS SELECT 17 AS n;
CREATE FUNCTION own(event event_store.event) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
	IF event_store.replaying()
		AND EXISTS (SELECT FROM public.stumble s WHERE s.n = (event.data->>'n')::int) THEN
		RAISE EXCEPTION 'this far';
	END IF;
	INSERT INTO public.own VALUES ((event.data->>'n')::int);
END \$\$;
SELECT event_store.create_projection('here', 'own(event_store.event)', 'cart', tables => '{own}');
SELECT count(event_store.append('cart-1', -1, 'Filled', jsonb_build_object('n', n)))
FROM generate_series(1, 30) n;
-- What a program brings, and what linkd brings.
CREATE FUNCTION bring(first int, last int, OUT accepted int, OUT repeated int, OUT refused int)
LANGUAGE sql AS \$\$
	SELECT message_bus.accept_foreign('partners', array_agg(jsonb_build_object(
		'routing_key', 'Do', 'body', n::text,
		'properties', jsonb_build_object('message_id', 'm-' || n))))
	FROM generate_series(first, last) n \$\$;
CREATE FUNCTION feed(most int) RETURNS int LANGUAGE sql AS \$\$
	SELECT event_store.apply_remote('there', g.checkpoint, r.events, r.upto, r.read_from, r.head)
	FROM event_store.projection_progress g LEFT JOIN event_store.projection_remote p USING (name),
		LATERAL public.dblink('$source', format('SELECT upto, head, events::text, read_from
			FROM event_store.read_durable(%s, %s, ''order'', NULL, %L)',
			g.checkpoint, most, p.incarnation))
			d (upto bigint, head bigint, events text, read_from text),
		LATERAL (SELECT d.events::event_store.event[] AS events, d.upto, d.head, d.read_from) r
	WHERE g.name = 'there' \$\$;
EOT

sub shop { return $node->safe_psql('shop', $_[0]); }
my $nothing_wrong = q{SELECT * FROM event_store.verify()
	UNION ALL SELECT * FROM message_bus.verify()
	UNION ALL SELECT * FROM saga.verify()};

shop($_) for (
	'SELECT bring(1, 20)', q{SELECT message_bus.send('out', 'T', jsonb_build_object('n', n))
		FROM generate_series(1, 9) n},
	'SELECT feed(15)', 'SELECT event_store.run_projections()',
	q{SELECT event_store.rebuild_projection('here', 'public.own_2')},
	'SELECT event_store.run_projections()');
is(shop(q{SELECT count(*) FROM seen}), '15', 'some of the other database is projected');
like(shop(q{SELECT state, (SELECT count(*) FROM own_2) FROM event_store.rebuilds}),
	qr/^(?:retrying|failed)\|16$/,
	'a rebuild is under way');
is(shop($nothing_wrong), '', 'nothing is wrong');

# All goes on in a database as it did where it comes from.
sub goes_on
{
	my ($which, $database, $what) = @_;

	is($which->safe_psql($database, $nothing_wrong), '', "$what: all fits together");
	is($which->safe_psql($database, 'SELECT * FROM bring(11, 25)'), '5|10|0',
		"$what: a bridge knows what it has taken");
	is($which->safe_psql($database, q{SELECT count(message_bus.ack(delivery_id))
		FROM message_bus.receive('in', 100)}), '25', "$what: which is there once");
	is($which->safe_psql($database, q{SELECT count(*) FROM message_bus.read_bridge('partners')}),
		'9',
		"$what: what waits to leave is there");
	$which->safe_psql($database, 'SELECT feed(100)');
	is($which->safe_psql($database, 'SELECT count(*), sum(n) FROM seen'), '40|820',
		"$what: a remote projection goes on where it was");
	$which->safe_psql($database,
		q{DELETE FROM stumble; SELECT event_store.resume_projection('here')});
	ok($which->poll_query_until($database, q{SELECT event_store.run_projections() >= 0
		AND NOT EXISTS (SELECT FROM event_store.rebuilds)}), "$what: a rebuild ends");
	is($which->safe_psql($database,
			q{SELECT count(*), sum(n), to_regclass('public.own_2') IS NULL FROM own}),
		'30|465|t', "$what: with its rows");
	return;
}

# ---------------------------------------------------------------- dump and restore

my $directory = $node->basedir . '/shop.directory';
$node->command_ok([ 'pg_dump', '-Fd', '-f', $directory, '-d', $node->connstr('shop') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
# Programs that carry, and do not know that something is being restored.
my $polling = $node->background_psql('copy', on_error_stop => 0);
$polling->query_until(qr/polling/, "\\echo polling\n" . <<'EOT');
DO $$
BEGIN
	WHILE current_setting('server_version_num')::int > 0 LOOP
		BEGIN
			PERFORM message_bus.accept_foreign('partners', ARRAY['{"routing_key": "Do", "body": "1",
				"properties": {"message_id": "m-1"}}'::jsonb]);
			EXIT;
		EXCEPTION WHEN OTHERS THEN
		END;
		COMMIT;
	END LOOP;
END $$;
EOT
$node->command_ok([ 'pg_restore', '--exit-on-error', '-j', '4', '-d', $node->connstr('copy'),
		$directory ],
	'restored in parallel');
$polling->query('SELECT 1');
$polling->quit;
is($node->safe_psql('copy', q{SELECT repeated FROM message_bus.bridges}), '1',
	'who has tried all the time has brought nothing anew');
goes_on($node, 'copy', 'restored');
$node->safe_psql('copy',
	q{SELECT message_bus.create_bridge('another', 'raw', '{"queue": "q", "target": "in"}')});
is($node->safe_psql('copy', q{SELECT count(*) FROM message_bus.bridge b WHERE b.name = 'another'
	AND EXISTS (SELECT FROM message_bus.inbox i WHERE i.bridge_id = b.bridge_id)}), '0',
	'another bridge knows no ids of the first');

# A bridge is carried in each database for itself.
my @carriers = map { $node->background_psql($_) } qw(shop copy);
is(join('', map { $_->query_safe(q{SELECT message_bus.claim_bridge('partners')}) } @carriers), 'tt',
	'databases do not know of each other');
is($node->safe_psql('shop', q{SELECT message_bus.claim_bridge('partners')}), 'f',
	'in each one carries at a time');
$_->quit for @carriers;
# Nor is anybody in the way who may do nothing here.
$node->safe_psql('shop', 'CREATE ROLE guest LOGIN');
my $guest = $node->background_psql('shop', extra_params => [ '-U', 'guest' ]);
$guest->query_safe(q{SELECT count(pg_advisory_lock(a, b)) FROM generate_series(0, 100) b,
	unnest(ARRAY[hashtext('message_bus.bridge'), hashtext('event_store.sink'), 0, 60422]) a});
ok($node->poll_query_until('shop', q{SELECT message_bus.claim_bridge('partners')}),
	"whoever takes PostgreSQL's advisory locks does not keep it from being carried");
$guest->quit;

# ---------------------------------------------------------------- a standby

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('beyond_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
for my $look ('SELECT * FROM message_bus.bridges', 'SELECT * FROM message_bus.links',
	q{SELECT * FROM message_bus.inbox}, q{SELECT * FROM message_bus.read_bridge('partners')},
	q{SELECT message_bus.bridge_topology('partners')},
	q{SELECT * FROM message_bus.forward_lanes('out')},
	q{SELECT * FROM message_bus.forwarded('out', 0, 0)}, 'SELECT * FROM message_bus.forwards',
	q{SELECT * FROM event_store.read_durable(0)}, 'SELECT * FROM event_store.projections',
	'SELECT * FROM event_store.rebuilds', 'SELECT * FROM message_bus.verify()',
	'SELECT bring(1, 2)',
	'SELECT feed(1)', q{SELECT message_bus.claim_bridge('partners')}, 'SELECT ecommerce.new_id()',
	q{SELECT message_bus.pause_bridge('partners')},
	q{SELECT message_bus.refuse_forwarded('out', 0, 1, 'x', 'y')},
	q{SELECT event_store.reset_remote('there', 0)},
	q{SELECT event_store.lose_remote('there', 0, 'x', 'y')},
	q{SELECT event_store.cancel_rebuild('here')},
	q{SELECT event_store.rebuild_projection('here', 'public.x')},
	'SELECT * FROM ecommerce.problems')
{
	my ($code, $out, $told) = $standby->psql('shop', $look,
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	like($told, qr/^$|ERROR:  25006|ERROR:  55000/, "on a standby: $look");
}
$standby->promote;
goes_on($standby, 'shop', 'promoted');
$standby->stop;

# ---------------------------------------------------------------- a crash

my $victim = $node->background_psql('shop', on_error_stop => 0);
my $pid = $victim->query_safe('SELECT pg_backend_pid()');
$victim->query_safe('BEGIN; SELECT bring(11, 25); SELECT feed(100);
	SELECT event_store.run_projections(3)');
my $offset = -s $node->logfile;
kill 'KILL', $pid;
$victim->{run}->finish;
$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
ok($node->poll_query_until('postgres', undef, ''), 'the server comes back');
goes_on($node, 'shop', 'crashed');

# ---------------------------------------------------------------- dropped

is(shop(q{SET event_store.allow_drop = on; DROP EXTENSION ecommerce CASCADE;
	SELECT count(*) FROM pg_namespace
	WHERE nspname IN ('event_store', 'message_bus', 'saga')}), '0',
	'DROP EXTENSION with all of it');
is(shop('SELECT count(*) FROM seen'), '40', 'tables of users stay');
shop('CREATE EXTENSION ecommerce');
is(shop(q{SELECT count(*) FROM message_bus.bridges})
		. shop(q{SELECT count(*) FROM message_bus.inbox}), '00',
	'a new one knows of none');
is(shop($nothing_wrong), '', 'and nothing is wrong');
$node->safe_psql('postgres', "DROP DATABASE $_") for qw(copy shop source);
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|signal 11/, 'nothing crashed but what was killed');
$node->stop;
done_testing();
