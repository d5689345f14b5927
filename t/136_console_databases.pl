# The console over the shop in five databases on three servers: one page tells an order's way
# through all of them, Find looks everywhere, each role may in each database what it may there;
# a database that is away or lets nobody in says so, and the others go on.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Console;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $json = JSON::PP->new->canonical->allow_nonref;
my $shop = Shop->new(name => 'places', databases => 'five');
my $console = Console->new($shop, operator => 'ecommerce_admin', viewer => 'ecommerce_reader');
my @others = qw(inventory payment shipping notification);

# The same roles on the other servers; one of them only where he logs in.
for my $node (@{ $shop->{nodes} }[1, 2])
{
	my $hba = $node->data_dir . '/pg_hba.conf';
	my $before = slurp_file($hba);

	$node->safe_psql('postgres', "SET password_encryption = 'scram-sha-256';
		CREATE ROLE operator LOGIN PASSWORD '$console->{password}{operator}'
			IN ROLE ecommerce_admin");
	unlink $hba;
	append_to_file($hba, "local all operator,viewer scram-sha-256\n$before");
	$node->reload;
}
$shop->start;
sub start
{
	$console->start('--actions', '--pool-size=1', '--name=order', '--also=away=host=/nowhere',
		map { my ($node, $name) = @{ $shop->{elsewhere}{$_} };
			"--also=$_=" . $node->connstr($name) } @others);
	return $console->log_in('operator');
}
my $operator = start();

my $product = $shop->product(100);
my $order = $shop->order($product, 2);
$shop->reaches($order, 'Confirmed');
ok($shop->until('all is done', sub { $shop->under_way == 0 }), 'an order goes its way');

sub in_database
{
	my ($who, $database, $path) = @_;
	my $reply = $console->get({ %$who, 'X-Database' => $database }, "api/$path");
	return ($reply->{status}, $json->decode($reply->{content}));
}

subtest 'what is asked of each' => sub {
	my ($status, $session) = in_database($operator, '', 'session');

	is($json->encode([ @$session{qw(name also)} ]),
		$json->encode([ 'order', [ 'away', @others ] ]), 'the page is told which there are');
	for my $database (@others)
	{
		($status, my $endpoints) = in_database($operator, $database, 'endpoints');
		is($status, 200, "$database answers");
		ok((grep { $_->{name} eq 'to-order' } @$endpoints), 'of itself');
	}
	is((in_database($operator, 'nowhere', 'endpoints'))[0], 422,
		'one that there is not is refused');
	($status, my $problem) = in_database($operator, 'away', 'endpoints');
	is($status, 503, 'one that is away is told of');
	like($problem->{detail}, qr/nowhere/, 'with what is wrong');
	my $viewer = $console->log_in('viewer');
	is((in_database($viewer, '', 'endpoints'))[0], 200, 'who may log in here');
	($status, $problem) = in_database($viewer, 'payment', 'endpoints');
	is($status, 503, 'need not be let in there');
	like($problem->{detail}, qr/viewer/, 'and is told why');
	is((in_database($viewer, '', 'endpoints'))[0], 200, 'he stays logged in here');
	my $reply = $console->post({ %$operator, 'X-Database' => 'payment' }, 'pause-endpoint',
		{ endpoint => 'payment' });
	is($reply->{status}, 200, 'what is done is done there');
	my $paused = q{SELECT paused FROM message_bus.endpoints WHERE name = 'payment'};
	is($shop->sql_at('payment', $paused), 't', 'in the database that was named');
	is($shop->sql($paused), 'f', 'and not here');
	is($shop->sql_at('payment', "SELECT count(*) FROM
		event_store.read_stream('console-operator')"), 1, 'and is recorded there');
	$shop->sql_at('payment', "SELECT message_bus.resume('payment')");
	$console->post($viewer, 'log-out', {});
	is((in_database($viewer, 'payment', 'endpoints'))[0], 401,
		'who has logged out is out everywhere');
};

# Another, which hangs in the database of the payments.
$shop->sql_at('payment', "SELECT message_bus.pause('payment')");
my $hanging = $shop->order($product, 1);
ok($shop->until('it waits for its payment', sub { $shop->sql_at('payment',
	"SELECT depth FROM message_bus.endpoints WHERE name = 'payment'") > 0 }),
	'another order waits');
$console->browse('console_databases.mjs', { order => $order, hanging => $hanging,
		others => \@others }, 'resume' => sub {
	$shop->sql_at('payment', "SELECT message_bus.resume('payment')");
	$shop->reaches($hanging, 'Confirmed');
	return 'done';
});
$console->stop;
done_testing();
