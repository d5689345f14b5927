# Daemons, carriers and servers are killed while orders come in, in five
# databases on three servers: 081_shop_chaos.pl there, shorter. `make check-five` runs it longer.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Shop;

$ENV{SHOP_DATABASES} = 'five';
$ENV{SHOP_ORDERS} //= 52;
require "$FindBin::RealBin/081_shop_chaos.pl";
