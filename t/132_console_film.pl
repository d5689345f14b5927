# A film: orders come in, paymentd is killed while it is being deployed, and comes back to a table
# that a migration has broken. Somebody who only clicks in the console finds both causes, and has
# what was given up handled once that is mended; then orders and books agree. FILM_RATE orders a
# second; `make film` takes 100.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Console;
use Customers;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;
use Time::HiRes qw(time);

use constant PRODUCTS => 20;

my $rate = $ENV{FILM_RATE} // 2;
my $shop = Shop->new(name => 'film');
my $console = Console->new($shop, operator => 'ecommerce_admin');

sub orders
{
	my ($where) = @_;
	return $shop->sql("SELECT count(*) FROM ecommerce_order.order_summary WHERE $where");
}

$shop->start;
$console->start('--actions');
my @products = map { $shop->product(1_000_000) } 1 .. PRODUCTS;
my $begun = time;
my $customers = Customers->come($shop, $rate, @products);
$shop->until('orders are confirmed', sub { orders("status = 'Confirmed'") >= $rate });

my ($taken, $given_up);
$console->browse('console_film.mjs', {},
	'kill payment' => sub {
		$shop->kill_daemon('payment', 'KILL');
		$shop->sql('ALTER TABLE ecommerce_payment.payment
			ADD CONSTRAINT amount_is_small CHECK (amount < 0) NOT VALID');
		return;
	},
	'start payment' => sub { $shop->start('payment'); return },
	'mend payment' => sub {
		my $known = 'SELECT count(*) FROM ecommerce_payment.payment';

		$given_up = $shop->sql(q(SELECT count(*) FROM message_bus.dead_letters));
		$shop->sql('ALTER TABLE ecommerce_payment.payment DROP CONSTRAINT amount_is_small');
		my $before = $shop->sql($known);
		$shop->until('payments are made again', sub { $shop->sql($known) > $before });
		return;
	});
$taken = $customers->go;
my $reached = $taken / (time - $begun);
note(sprintf '%d orders, %.1f a second; %d messages had been given up', $taken, $reached,
	$given_up);
cmp_ok($reached, '>=', 0.9 * $rate, "customers ordered $rate a second") if $ENV{FILM_RATE};

# However many they are: as long as some more are settled, there is hope.
while ((my $left = orders("status = 'Created'")) > 0)
{
	$shop->until("fewer than $left orders are open",
		sub { orders("status = 'Created'") < $left });
}
is(orders('true'), $taken, 'no order is lost or doubled');
cmp_ok(orders("status = 'Confirmed'"), '>=', $taken - orders("cancel_reason <> ''"),
	'each is confirmed, or says why not');
is($shop->sql('SELECT count(*) FROM message_bus.dead_letters'), 0, 'nothing is given up');
$shop->agrees('after the film');
$console->stop;
$shop->stop;
done_testing();
