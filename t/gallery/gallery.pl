# Every page of the console as pictures: of a shop with nothing in it, of one with a little, of one
# with much of everything that goes wrong, and of one where all around it is wrong: links, bridges,
# sinks, the server, another database; light and dark, wide and narrow. `make gallery`; nothing is
# judged here, somebody looks at them.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/..";
use BigStore;
use Console;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $t = "$FindBin::RealBin/..";
my @sessions;
sub nothing { return }

# A dozen orders, some of which were cancelled, and a consumer whose neighbour was away.
sub little
{
	my ($shop) = @_;
	my $product = $shop->product(1000);

	my $orders = join("', '", map {
		$shop->order($product, 1 + $_ % 3, token => $_ % 5 ? 'tok_ok' : 'tok_declined') } 1 .. 12);

	$shop->until('all have settled', sub { $shop->sql("SELECT count(*)
		FROM ecommerce_order.order_summary WHERE status = 'Created'
			AND order_id IN ('$orders')") == 0 });
	$shop->{node}->safe_psql('shop', slurp_file("$t/$_"))
	  for 'console_data.sql', 'console_errand.sql';
	return;
}

# The same after millions of other things, with a payment service that is away, a projection
# that fails, and what people send who wish nobody well.
sub much
{
	my ($shop) = @_;

	BigStore::fill($shop->{node}, 'shop', 1, 'big_store.sql', 'big_shop.sql');
	little($shop);
	$shop->{node}->safe_psql('shop', slurp_file("$t/console_hostile.sql"));
	$shop->sql(q{CREATE FUNCTION fails(event event_store.event) RETURNS void LANGUAGE plpgsql
			AS $$ BEGIN RAISE EXCEPTION 'the ledger of % is closed', event.stream; END $$;
		SELECT event_store.create_projection('ledger', 'fails(event_store.event)',
			category => 'ledger');
		SELECT event_store.append('ledger-2026', 0, 'Booked', '{"amount": 1}')});
	$shop->kill_daemon('payment', 'KILL');
	$shop->order($shop->product(5), 1) for 1 .. 3;
	return;
}

# What goes wrong around the shop, by hand: carriers that nobody has heard of, or that have lost
# their place, sessions in the way, a disk, a slot, the archive.
sub around
{
	my ($shop) = @_;
	my $node = $shop->{node};

	little($shop);
	$node->safe_psql('shop', slurp_file("$t/gallery/around.sql"));
	$node->safe_psql('other', "CREATE EXTENSION ecommerce;
		SELECT message_bus.create_endpoint('audit');
		SELECT message_bus.send('audit', 'Noted', '{}')");
	$node->safe_psql('shop', "INSERT INTO held VALUES (1); SELECT pg_switch_wal()") for 1 .. 4;
	for my $sql ("BEGIN; SELECT event_store.append('slow-1', 0, 'Slow', '{}');",
		'BEGIN; LOCK TABLE held;',
		"BEGIN; CREATE TABLE forgotten (); PREPARE TRANSACTION 'forgotten';",
		'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class;')
	{
		push @sessions, $node->background_psql('shop');
		$sessions[-1]->query($sql);
	}
	push @sessions, $node->background_psql('shop');
	$sessions[-1]->query_until(qr/^waits$/m, "\\echo waits\nSELECT count(*) FROM held;\n");
	$shop->until('all of it is seen', sub { $shop->sql("SELECT count(DISTINCT kind)
		FROM ecommerce.problems WHERE kind IN ('mark_held', 'lock_held', 'transaction_long',
			'transaction_prepared', 'link_lost', 'link_paused', 'link_unfed', 'bridge_unfed',
			'sink_lost', 'sink_failing', 'disk_low', 'slot_behind', 'archive_failing')") == 13 });
	return;
}

for my $amount (split ' ', $ENV{GALLERY} // 'nothing little much around')
{
	my $shop = Shop->new(name => $amount, conf => <<'END');
shared_buffers = 256MB
fsync = off
wal_level = replica
max_replication_slots = 2
max_wal_size = 32MB
max_prepared_transactions = 2
archive_mode = on
archive_command = 'true'
END
	my $console = Console->new($shop, operator => 'ecommerce_admin', viewer => 'ecommerce_monitor');
	my @also;

	if ($amount eq 'around')
	{
		$shop->{node}->safe_psql('postgres',
			"CREATE DATABASE other ENCODING 'UTF8' TEMPLATE template0");
		@also = ('--name=shop', '--also=away=host=/nowhere',
			'--also=audit=' . $shop->{node}->connstr('other'));
	}
	$shop->start;
	$console->start('--actions', @also);
	{ no strict 'refs'; &$amount($shop); }
	my $order = $shop->sql(q(SELECT order_id FROM ecommerce_order.order_summary
		WHERE confirmation_number <> '' ORDER BY updated_at DESC LIMIT 1));
	my $story = $shop->sql("SELECT metadata ->> 'correlation_id'
		FROM event_store.read_stream('order-$order', 1, 1)");
	my $letter = $shop->sql(q(SELECT message_id FROM message_bus.list_dead(max => 1)));
	$console->browse('console_gallery.mjs', { order => $order, story => $story,
		letter => $letter, amount => $amount });
	$console->stop;
	for my $session (splice @sessions) { $session->{run}->kill_kill }
	$shop->stop;
}
done_testing();
