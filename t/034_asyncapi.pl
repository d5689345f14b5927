# event_store.asyncapi() is a valid AsyncAPI 3 document, by the parser of the AsyncAPI initiative,
# and its schemas take and refuse what appends take and refuse.
use strict;
use warnings FATAL => 'all';

use IPC::Run qw(run);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '-E', 'UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;

# Gives the program what it reads, returns its status and what it says.
sub check
{
	my ($samples) = @_;
	my $input = $node->safe_psql('postgres',
		"SELECT jsonb_build_object('document', event_store.asyncapi(), 'samples', ($samples))");
	my $output = '';
	run [ 'node', 't/asyncapi.mjs' ], '<', \$input, '>', \$output, '2>&1';
	return ($?, $output);
}

$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');
my ($status, $said) = check("'[]'::jsonb");
is($status, 0, 'without a registered type') or diag($said);

$node->safe_psql(
	'postgres', q{
	SELECT ecommerce.register_contracts();
	CREATE TYPE mood AS ENUM ('glad', 'sad');
	CREATE DOMAIN score AS int NOT NULL CHECK (VALUE BETWEEN 1 AND 10);
	CREATE TYPE "Odd type" AS (m mood, s score, a text[], n numeric(6, 2), "ü key" date,
		t varchar(3),
		j jsonb, i interval, nested ecommerce.address, many ecommerce.order_item[]);
	SELECT event_store.register_event_type('odd type/ü', '"Odd type"', 3);
	-- A document with its schema, and what is to become of it. The names are the test's.
	CREATE TABLE sample (type text, schema text, data jsonb);
	INSERT INTO sample VALUES ('OrderCreated', 'ecommerce.order_created', '{
		"customer_id": "c0000000-0000-4000-8000-000000000001",
		"items": [{"product_id": "b0000000-0000-4000-8000-000000000001", "product_name": "Mug",
			"sku": "MUG-1", "quantity": 2, "unit_price": 7.5, "total_price": 15}],
		"total_amount": 15,
		"shipping_address": {"street": "1 High St", "city": "Leeds", "state": "",
			"postal_code": "LS1", "country": "GB"},
		"payment_method": {"type": "card", "last4_digits": "4242", "token": null}}'),
		('ReserveInventory', 'ecommerce.reserve_inventory', '{
		"order_id": "a0000000-0000-4000-8000-000000000001", "ttl": null,
		"items": [], "not_after": "2024-02-29T12:00:00Z",
		"key": "a0000000-0000-4000-8000-000000000002"}'),
		('OrderCompleted', 'ecommerce.order_completed', '{}');
	INSERT INTO sample SELECT type, schema, change FROM sample, LATERAL (VALUES
		(data || '{"unknown": 1}'), (data - 'customer_id'), (data - 'items'), (data - 'key'),
		(data #- '{items,0,sku}'), (jsonb_set(data, '{items,0,quantity}', '2.5')),
		(jsonb_set(data, '{items,0,colour}', '"red"')), (jsonb_set(data, '{items,0}', 'null')),
		(jsonb_set(data, '{items}', '[[]]')), (jsonb_set(data, '{shipping_address}', '[]')),
		(jsonb_set(data, '{customer_id}', '"nobody"')),
		(jsonb_set(data, '{total_amount}', '"NaN"')),
		(jsonb_set(data, '{not_after}', '"2024-02-30T12:00:00Z"')),
		(jsonb_set(data, '{not_after}', 'null')), (data - 'not_after')) v (change);
	CREATE FUNCTION fits(type text, data jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM event_store.check_data(type, data);
		RETURN true;
	EXCEPTION WHEN SQLSTATE 'ST004' THEN
		RETURN false;
	END $$;
});
($status, $said) = check(q{SELECT jsonb_agg(jsonb_build_object('schema', schema, 'data', data,
	'fits', fits(type, data))) FROM sample});
is($status, 0, 'with all contracts') or diag($said);
like($said, qr/^messages 42$/m, 'it has every message');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT fits(type, data)) FROM sample'),
	'2', 'some samples fit and some do not');

$node->stop;
done_testing();
