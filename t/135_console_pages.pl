# Every page of the console in a browser: its heading, nothing refused, light and dark, narrow and
# wide, under its content security policy, without a violation of WCAG that axe finds; and how
# many bytes all of it is. Pictures are left beside the logs, of which README shows two.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Console;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $shop = Shop->new(name => 'pages');
my $console = Console->new($shop, operator => 'ecommerce_admin');

$shop->start;
$console->start('--actions', '--pool-size=1');

# A day's work: orders that go well and not, dead letters.
my $product = $shop->product(1000);
my @orders = map { $shop->order($product, 1 + $_ % 3, token => $_ % 5 ? 'tok_ok' : 'tok_declined') }
  1 .. 12;
$shop->reaches($orders[0], 'Confirmed');
$shop->{node}->safe_psql('shop', slurp_file("$FindBin::RealBin/console_data.sql"));
$console->browse('console_pages.mjs', { part => 'pages', order => $orders[0],
		story => $shop->sql("SELECT metadata ->> 'correlation_id'
			FROM event_store.read_stream('order-$orders[0]', 1, 1)") });
$console->stop;
done_testing();
