# Money that moves on its own, while carriers are killed, in five databases on three
# servers: 089_reconciliation.pl there, shorter. `make check-five` runs it longer.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Shop;

$ENV{SHOP_DATABASES} = 'five';
$ENV{SHOP_ROUNDS} //= 4;
require "$FindBin::RealBin/089_reconciliation.pl";
