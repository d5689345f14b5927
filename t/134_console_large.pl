# Every list in the browser, in a store that BigStore.pm has filled: two pages of each are
# shown and none is refused, and no statement of the console's touches more pages of the
# database than it does anywhere. LOOKING_SCALE multiplies the store, see 130_looking.pl.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use BigStore;
use Console;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $scale = $ENV{LOOKING_SCALE} // 0.25;

# A call, with hundreds of endpoints and thousands of subscriptions; a table of this store that is
# read as a whole, at full scale, is ten times as much.
my $bound = 6000;

my $shop = Shop->new(name => 'large', conf => <<'END');
shared_preload_libraries = 'ecommerce, pg_stat_statements'
shared_buffers = 512MB
max_wal_size = 4GB
fsync = off
autovacuum = off
END
my $node = $shop->{node};

# Pages of the first overview in a connection.
sub first_overview
{
	my $plan = decode_json($shop->sql('EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
		SELECT ecommerce.overview()'))->[0]{Plan};
	return $plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'};
}

# Without anything: what it has to learn of the catalogues, at any size.
my $learned = first_overview();
BigStore::fill($node, 'shop', $scale, 'big_store.sql', 'big_shop.sql', 'big_many.sql');
$shop->sql('CREATE EXTENSION pg_stat_statements');
BigStore::vacuumed($node, 'shop', qw(message_bus.dead event_store.stored_event
	  ecommerce_order.order_summary ecommerce_inventory.product));
# What was written into tables by hand comes to shared memory with the first that looks.
$shop->sql('SELECT count(*) FROM message_bus._endpoint_status()');
my $first = first_overview();
cmp_ok($first, '<=', $bound + $learned, "the first overview of a connection: $first pages, "
	  . "of catalogues $learned");
my $console = Console->new($shop, operator => 'ecommerce_admin');
$console->start('--actions');

my ($id, $instance, $letter) = split /\|/, $shop->sql("SELECT
	(SELECT correlation_id FROM event_store.newest(max => 1)),
	(SELECT correlation_id FROM saga.list('big', max => 1)),
	(SELECT message_id FROM message_bus.list_dead(max => 1))");
$console->browse('console_large.mjs', { id => $id, instance => $instance, letter => $letter,
		full => 50 });

for my $line (split /\n/, $shop->sql(q(SELECT shared_blks_hit + shared_blks_read, calls,
		round(mean_exec_time::numeric, 1),
		left(regexp_replace(query, '\s+', ' ', 'g'), 150)
	FROM pg_stat_statements JOIN pg_roles r ON r.oid = userid
	WHERE r.rolname IN ('operator', 'ecommerce_console') AND query ~ 'SELECT' ORDER BY 1 DESC)))
{
	my ($pages, $calls, $ms, $query) = split /\|/, $line, 4;

	cmp_ok($pages, '<=', $bound * $calls + $learned,
		"$query: $pages pages in $calls calls, $ms ms");
}
$console->stop;
done_testing();
