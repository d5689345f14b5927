# Every page of the console as pictures: of a shop with nothing in it, of one with a little, and
# of one with much of everything that goes wrong; light and dark, wide and narrow. `make gallery`;
# nothing is judged here, somebody looks at them.
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
	$shop->{node}->safe_psql('shop', slurp_file("$t/console_data.sql"));
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

for my $amount (split ' ', $ENV{GALLERY} // 'nothing little much')
{
	my $shop = Shop->new(name => $amount, conf => "shared_buffers = 256MB\nfsync = off");
	my $console = Console->new($shop, operator => 'ecommerce_admin');

	$shop->start;
	$console->start('--actions');
	{ no strict 'refs'; &$amount($shop); }
	my $order = $shop->sql(q(SELECT order_id FROM ecommerce_order.order_summary
		WHERE confirmation_number <> '' ORDER BY updated_at DESC LIMIT 1));
	my $story = $shop->sql("SELECT metadata ->> 'correlation_id'
		FROM event_store.read_stream('order-$order', 1, 1)");
	my $letter = $shop->sql(q(SELECT message_id FROM message_bus.list_dead(max => 1)));
	$console->browse('console_gallery.mjs', { order => $order, story => $story,
		letter => $letter, amount => $amount });
	$console->stop;
}
done_testing();
