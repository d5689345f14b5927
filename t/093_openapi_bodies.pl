# 10 000 random bodies, good and bad: the services take a body just where their OpenAPI
# documents allow it. OPENAPI_SEED gives other bodies.
use strict;
use warnings;

use FindBin;
use IPC::Run qw(run);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{OPENAPI_SEED} // 20261129;
note "OPENAPI_SEED=$seed";
my $services = "$FindBin::RealBin/../services";
my $documents = '{' . join(',', map { "\"$_\": " . slurp_file("$services/$_/openapi.json") }
	  qw(order inventory)) . '}';
my $bodies = PostgreSQL::Test::Utils::tempdir . '/bodies';
run([ 'node', "$FindBin::RealBin/openapi_bodies.mjs", $seed ], '<', \$documents, '>', $bodies)
  or die "no bodies were made\n";

my $node = PostgreSQL::Test::Cluster->new('bodies');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', q{CREATE DATABASE shop ENCODING 'UTF8' TEMPLATE template0});
$node->safe_psql('shop', <<"SQL");
CREATE EXTENSION ecommerce;
CREATE EXTENSION ecommerce_order;
CREATE EXTENSION ecommerce_inventory;
CREATE TABLE request (number bigint GENERATED ALWAYS AS IDENTITY, asked jsonb);
\\copy request (asked) FROM '$bodies' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')
-- What JSON Schema cannot say: decimals of an amount, products and sums, which three
-- letters are a currency, and what digits look like a card's.
CREATE VIEW verdict AS
SELECT r.number, r.asked ->> 0 AS operation, (r.asked ->> 1)::boolean AS documented,
	r.asked -> 2 AS body, e.errors, NOT EXISTS (SELECT FROM jsonb_array_elements(e.errors) AS error
		WHERE NOT error ->> 'detail' ~ 'decimals\$|^must be quantity times|^must be a currency'
			AND NOT error ->> 'detail' ~ 'never a card number\$') AS taken
FROM request r, LATERAL (SELECT CASE r.asked ->> 0
		WHEN 'submitOrder' THEN ecommerce_order._order_errors(r.asked -> 2)
		WHEN 'cancelOrder' THEN ecommerce_order._cancel_errors(r.asked -> 2)
		WHEN 'putProduct' THEN ecommerce_inventory._product_errors(r.asked -> 2)
		WHEN 'adjustStock' THEN ecommerce_inventory._stock_errors(r.asked -> 2) END AS errors) e;
SQL

for my $operation (qw(submitOrder cancelOrder putProduct adjustStock))
{
	my ($good, $bad) = split /\|/, $node->safe_psql('shop', "SELECT
		count(*) FILTER (WHERE documented), count(*) FILTER (WHERE NOT documented)
		FROM verdict WHERE operation = '$operation'");
	cmp_ok($good, '>', 300, "$operation: bodies that the document allows");
	cmp_ok($bad, '>', 300, "$operation: bodies that it does not");
	is($node->safe_psql('shop', "SELECT body, errors FROM verdict
		WHERE operation = '$operation' AND documented AND NOT taken LIMIT 5"), '',
		"$operation: whatever is documented is taken (seed $seed)");
	is($node->safe_psql('shop', "SELECT left(body::text, 500) FROM verdict
		WHERE operation = '$operation' AND NOT documented AND errors = '[]' LIMIT 5"), '',
		"$operation: whatever is not is refused (seed $seed)");
}
$node->stop;
done_testing();
