# pg_dump and pg_restore carry events, counters, subscriptions and policies; what is
# restored can be read at once, verifies clean, and goes on where it stood.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dump');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql(
	'shop', q{
	CREATE EXTENSION ecommerce;
	SELECT event_store.append('order-' || (i % 40), -1, 'OrderPlaced', jsonb_build_object('i', i))
	FROM generate_series(1, 400) i;
	SELECT ecommerce.set_context('11111111-1111-4111-8111-111111111111');
	SELECT event_store.append('payment-1', 0, 'Paid', '{"amount": 1.5}');
	SELECT event_store.create_subscription('mailer', 'order', partitions => 3);
	SELECT event_store.set_retention('payment', max_count => 10);
	SELECT event_store.delete_stream('order-7', -1);
	SELECT event_store.tombstone_stream('order-8', -1);
});
$node->safe_psql(
	'shop', q{
	DO $$
	DECLARE
		last bigint;
	BEGIN
		SELECT max(position) INTO last FROM event_store.fetch('mailer', 50);
		PERFORM event_store.advance('mailer', last);
	END $$;
	-- Rolled-back positions leave the counter above the newest event.
	BEGIN;
	SELECT event_store.append('order-1', -1, 'OrderPlaced', '{}') FROM generate_series(1, 50);
	ROLLBACK;
});

my @tables = map { "event_store.$_" }
  qw(stored_event stream retention truncated_stream deletion subscription subscription_partition);
my $contents = join ' UNION ALL ',
  map { "SELECT '$_', count(*)::text, md5(string_agg(t::text, '|' ORDER BY t::text))
  	FROM $_ t" } @tables;
my $readable = q{SELECT count(*), max(position), md5(string_agg(e::text, '|' ORDER BY position))
	FROM event_store.read_all(0, 100000, NULL, '{*,$deleted,$tombstoned}') e};
my $before = $node->safe_psql('shop', $contents);
my $read_before = $node->safe_psql('shop', $readable);
my $counter = $node->safe_psql('shop', 'SELECT event_store.position_counter()');
like($before, qr/^event_store\.stored_event\|401\|/, 'there is something to dump');

my $dump = $node->data_dir . '/../shop.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('shop') ], 'pg_dump');

# Into the same server, and as plain text into another one that has none of the roles.
my $other = PostgreSQL::Test::Cluster->new('restored');
$other->init;
$other->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$other->start;
for my $target ($node, $other)
{
	my $name = $target->name;

	$target->safe_psql('postgres', 'CREATE DATABASE copy');
	$target->command_ok([ 'pg_restore', '--exit-on-error', '-d', $target->connstr('copy'), $dump ],
		"$name: pg_restore");
	is($target->safe_psql('copy', $contents), $before, "$name: every table is as it was");
	is($target->safe_psql('copy', $readable), $read_before,
		"$name: all that could be read can be read at once");
	is($target->safe_psql('copy', 'SELECT * FROM event_store.verify()'), '', "$name:
		verify finds nothing");
	cmp_ok($target->safe_psql('copy', 'SELECT event_store.position_counter()'),
		'>=', $counter, "$name: the counter is not behind");

	is( $target->safe_psql('copy', q{SELECT version FROM event_store.append('order-1', 10,
		'OrderPlaced', '{}')}),
		'11', "$name: numbering of a stream goes on");
	is( $target->safe_psql('copy', q{SELECT version FROM event_store.append('order-7', 0,
		'OrderPlaced', '{}')}),
		'11', "$name: numbering of a deleted stream goes on");
	cmp_ok($target->safe_psql('copy', q{SELECT "position" FROM event_store.append('order-99', 0,
		'OrderPlaced', '{}')}),
		'>', $counter, "$name: positions go on above the old counter");
	my ($code, $out, $err) = $target->psql('copy',
		q{SELECT event_store.append('order-8', -1, 'OrderPlaced', '{}')}, extra_params => [ '-v',
			'VERBOSITY=sqlstate' ]);
	like($err, qr/ST002/, "$name: a tombstone stays");
	is( $target->safe_psql('copy',
			q{SELECT count(*) FROM (SELECT stream_id FROM event_store.stream
				GROUP BY 1 HAVING count(*) > 1) s}),
		'0', "$name: no stream number was given twice");
	is($target->safe_psql('copy', 'SELECT * FROM event_store.verify()'), '', "$name:
		verify still finds nothing");
}

# A counter behind the data, as after a careless restore.
$node->safe_psql('copy', q{SELECT setval('event_store.position_seq', 5)});
like($node->safe_psql('copy', 'SELECT * FROM event_store.verify()'),
	qr/^error\|sequence event_store\.position_seq\|/, 'verify finds a counter behind the data');
like($node->safe_psql('copy', 'SELECT * FROM event_store.verify(repair => true)'),
	qr/^repaired\|sequence event_store\.position_seq\|/, 'verify mends it');
is($node->safe_psql('copy', 'SELECT * FROM event_store.verify()'), '', 'then all is well');
is($node->safe_psql('copy', q{SELECT version FROM event_store.append('order-99', 1,
	'OrderPlaced', '{}')}),
	'2', 'and appends go on');

done_testing();
