# The first of several servers takes connections and says nothing: a daemon goes on to the
# next, at either end of a link and in the pool of a service.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use IO::Socket::UNIX;
use LinkBed;
use POSIX ();
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $hanging = fork // die "cannot fork: $!";
if ($hanging == 0)
{
	my $listen = IO::Socket::UNIX->new(Local => "$directory/.s.PGSQL.5432", Listen => 10)
	  or POSIX::_exit(1);
	my @taken;
	push @taken, $listen->accept for 1 .. 1000;
	POSIX::_exit(0);
}

END
{
	kill 'KILL', $hanging if $hanging;
}

# Nobody is there, one hangs, one is well.
sub hosts
{
	my ($node) = @_;
	return "host=$directory/nobody,$directory," . $node->host . "\nport=5432,5432,"
	  . $node->port . "\nconnect_timeout=2\n";
}

my $bed = LinkBed->new('hanging');
unlink "$bed->{directory}/services";
append_to_file("$bed->{directory}/services",
	"[$_]\n" . hosts($bed->{$_}) . "dbname=$bed->{database}\n") for qw(a b);
my $linkd = $bed->start_linkd;
$bed->send_some(100);
ok($bed->drained, 'a link carries');
is($bed->complaints, '', 'all of it');
like(slurp_file($bed->{log}), qr/\Q$directory\E does not answer|"Server":"\Q$directory\E"/,
	'its log names the server that hangs');
is($bed->stop_linkd($linkd), 0, 'it ends when asked to');

my $shop = Shop->new(name => 'hanging_shop');
$shop->{server} = join(' ', split /\n/, hosts($shop->{node})) . ' dbname=shop';
$shop->start('inventory');
is($shop->call('inventory', 'GET', '/products')->{status}, 200, 'a service serves');
$shop->stop;
done_testing();
