# The demo's reading of the data set, on lines that break every rule: each line ends
# in exactly one order or in the report with its reason, and posting is idempotent.
use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $heading = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country';
my $partial = 'it returns no earlier order of this customer completely';
my $disagree = 'the lines of the invoice disagree about customer, country or date';
my $quantity = 'the quantity is no whole number other than 0';
my $neither = 'the invoice number is neither a sale nor a cancellation';
my $positive = 'the quantity of a cancellation is not negative';
my $price = 'the price is not an amount in pounds and pence';

# A line of the file, and the reason it is reported with; '' when it is in an order.
my @lines = (
	[ '500001,10001,"LAMP, 2"" WIDE",2,1/12/2010,1.50,100,France', '' ],
	[ '500001,10002b,MUG,3,1/12/2010,0,100,France', '' ],
	[ '500001,POST,POSTAGE,1,1/12/2010,18,100,France', 'the stock code is no product' ],
	[ '500002,10001,LAMP,1,1/12/2010,1.50,100,France', '' ],
	[ '500003,10001,LAMP,1,1/12/2010,1.50,,France', 'the invoice has no customer' ],
	[ '500004,10001,LAMP,1,31/2/2010,1.50,100,France', 'the date is not day/month/year' ],
	[ '500005,10001,LAMP,-1,1/12/2010,1.50,100,France', 'the quantity of a sale is negative' ],
	[ '500005,10001,LAMP,0,1/12/2010,1.50,100,France', $quantity ],
	[ '500005,10001,LAMP,1,1/12/2010,-1.50,100,France', $price ],
	[ '500005,10001,LAMP,1,1/12/2010,1.505,100,France', $price ],
	[ '500005,10001,,1,1/12/2010,1.50,100,France', 'the product has no description' ],
	[ '500006,10001,LAMP,1,1/12/2010,1.50,100,France', $disagree ],
	[ '500006,10002,MUG,1,1/12/2010,1.50,101,France', $disagree ],
	[ '500007,10001,LAMP,1,1/12/2010', 'it has 5 fields instead of 8' ],
	[ '', 'it has 1 fields instead of 8' ],
	[ 'A500008,B,Adjust,1,1/12/2010,11062.06,100,France', $neither ],
	[ '500009,10001,LAMP,1,1/12/2010,1.50,x,France', 'the customer is no number' ],
	[ '500010,10001,LAMP,1,1/12/2010,1.50,100,', 'the line names no country' ],
	# Covers 500002 only; 500001 has a mug as well.
	[ 'C500011,10001,LAMP,-2,2/12/2010,1.50,100,France', '' ],
	# Covers 500001, whatever the case of the stock code, and gives back a mug too many.
	[ 'C500012,10001,LAMP,-2,2/12/2010,1.50,100,France', '' ],
	[ 'C500012,10002B,MUG,-4,2/12/2010,0,100,France', '' ],
	[ 'C500012,D,Discount,-1,2/12/2010,5,100,France', 'the stock code is no product' ],
	# Nothing is left to cancel: an order is cancelled once, and by its own customer.
	[ 'C500013,10001,LAMP,-9,2/12/2010,1.50,100,France', $partial ],
	[ 'C500014,10001,LAMP,-9,2/12/2010,1.50,101,France', $partial ],
	[ 'C500015,10001,LAMP,1,2/12/2010,1.50,100,France', $positive ],
	# Cancels no order that comes later.
	[ 'C500016,10003,BOWL,-1,2/12/2010,2.00,102,Norway', $partial ],
	[ '500017,10003,BOWL,1,3/12/2010,2.00,102,Norway', '' ]);
my @long = map { "500018,10003,BOWL,$_,3/12/2010,2.00,102,Norway" } 1 .. 501;

my $node = PostgreSQL::Test::Cluster->new('demo');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');

my $csv = $node->basedir . '/dirty.csv';
append_to_file($csv, join('', map { "$_\n" } $heading, (map { $_->[0] } @lines), @long));

# Loads the file and posts it, as demo/demo.sh does.
sub post
{
	for my $part (sort glob "$FindBin::RealBin/../demo/sql/*.sql")
	{
		$node->safe_psql('postgres', slurp_file($part));
	}
	$node->safe_psql('postgres',
		"\\copy demo.raw_line (content) FROM '$csv' "
		  . "(FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02', NULL E'\\x03')");
	$node->safe_psql('postgres', $_) for 'CALL demo.parse()', 'CALL demo.post_all()';
	$node->safe_psql('postgres', 'CALL demo.check_report()');
}

post();
for my $i (0 .. $#lines)
{
	my $number = $i + 2;
	my $problem = "SELECT problem FROM demo.reported WHERE line_no = $number";

	is($node->safe_psql('postgres', $problem), $lines[$i][1], "line $number: $lines[$i][0]");
}
is( $node->safe_psql('postgres', "SELECT * FROM demo.line_reasons WHERE reason LIKE '%500%'"),
	'the invoice has more than 500 lines|501|29-529', 'too many lines');
is($node->safe_psql('postgres', 'TABLE demo.tally'),
	"invoices|17|3|2|12\nlines|528|4|3|521", 'the report adds up');

my $order = $node->safe_psql('postgres',
	"SELECT stream FROM demo.invoice WHERE invoice_no = '500001'");
is( $node->safe_psql('postgres', "
		SELECT version, event_type, (occurred_at AT TIME ZONE 'UTC')::date,
			   data ->> 'total_amount', data #>> '{items,0,product_name}', data ->> 'reason',
			   metadata #>> '{headers,invoice}'
		FROM event_store.read_stream('$order')"),
	qq{1|OrderCreated|2010-12-01|3.00|LAMP, 2" WIDE||500001\n}
	. '2|OrderCancelled|2010-12-02|||returned with invoice C500012|C500012',
	'the order and its cancellation');

my $mark = $node->safe_psql('postgres', 'SELECT event_store.high_water_mark()');
post();
is($node->safe_psql('postgres', 'SELECT event_store.high_water_mark()'), $mark,
	'posting again writes nothing');

# The report must not pass when something is missing.
$node->safe_psql('postgres', 'DELETE FROM demo.line WHERE line_no = 2');
my ($status, undef, $stderr) = $node->psql('postgres', 'CALL demo.check_report()');
like($stderr, qr/the report does not add up: lines of 528 are missing/, 'a lost line is noticed');

$node->stop;
done_testing();
