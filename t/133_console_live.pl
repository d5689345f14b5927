# A hundred browsers look on: there is one look at the database for all of them, which finds out
# once what is wrong, over one connection, and one that listens; where nothing moves there is hardly
# any. LIVE_SECONDS: measures so long what that costs a server that rests, and as long what it costs
# without them, and insists on less than 1 % of a core in all (`make check-live`).
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Console;
use IO::Select;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use POSIX ();
use Shop;
use Test::More;
use Time::HiRes qw(time);

use constant { BROWSERS => 100, SAMPLES => 6 };

my $shop = Shop->new(name => 'live', conf => "track_functions = 'all'");
my $console = Console->new($shop, viewer => 'ecommerce_reader');
$console->start;
my $viewer = $console->log_in('viewer');
my $select = IO::Select->new;
my (%buffer, %samples, %still);

# Seconds of CPU of the daemon and its connections.
sub cpu
{
	my $seconds = 0;

	for my $pid ($console->{pid}, split /\n/, $shop->sql(q(SELECT pid FROM pg_stat_activity
		WHERE usename = 'ecommerce_console')))
	{
		my @field = split ' ', (slurp_file("/proc/$pid/stat") =~ s/.*\) //sr);
		$seconds += ($field[11] + $field[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
	}
	return $seconds;
}

# Which part of a core that is, over LIVE_SECONDS; meanwhile is called all the time.
sub share
{
	my ($meanwhile) = @_;
	my ($begun, $cpu) = (time, cpu());

	$meanwhile->() until time > $begun + $ENV{LIVE_SECONDS};
	return 100 * (cpu() - $cpu) / (time - $begun);
}
my $alone = $ENV{LIVE_SECONDS} ? share(sub { select undef, undef, undef, 0.2 }) : undef;

for (1 .. BROWSERS)
{
	my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$console->{port}")
	  or die "cannot connect: $!\n";

	print $socket "GET /api/live HTTP/1.1\r\nHost: a\r\nCookie: $viewer->{Cookie}\r\n\r\n";
	$buffer{$socket} = '';
	$samples{$socket} = $still{$socket} = 0;
	$select->add($socket);
}

# Reads what has come, and counts samples, and what has come since the last that nothing has moved;
# a browser that is cut off is a failure.
sub hear
{
	for my $socket ($select->can_read(0.2))
	{
		sysread($socket, $buffer{$socket}, 1 << 20, length $buffer{$socket})
		  or die "a browser was cut off\n";
		while ($buffer{$socket} =~ s/\A.*?^event: (sample|still)$//ms)
		{
			$samples{$socket}++ if $1 eq 'sample';
			$still{$socket} = $1 eq 'sample' ? 0 : $still{$socket} + 1;
		}
	}
	return;
}

sub least
{
	my ($value) = sort { $a <=> $b } values %samples;
	return $value;
}

# Something happens in the database, so that there is something to look at.
sub move { $shop->sql('SELECT pg_current_xact_id()'); return; }

$shop->until('all look on', sub {
	hear();
	least() > 0;
});
like($console->get(undef, 'metrics')->{content}, qr/^ecommerce_console_browsers 100$/m,
	'a hundred look on');
$shop->until('the daemon has two connections', sub { $shop->sql(q(SELECT count(*)
	FROM pg_stat_activity WHERE usename = 'ecommerce_console')) == 2 });
pass('the daemon has two connections');
$shop->until('the first has given way to one with what was set before', sub {
	move();
	hear();
	least() > 2;
});
my $connections = q(SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity
	WHERE usename = 'ecommerce_console');
my $had = $shop->sql($connections);
my $wanted = least() + SAMPLES;
$shop->until('all have seen more', sub {
	move();
	hear();
	least() >= $wanted;
});
is($shop->sql($connections), $had, 'and keeps them');

# Where nothing moves nobody looks, for ten seconds; what moves is seen at the next look.
my %most;
my $seen = least();
move();
$shop->until('that is seen', sub {
	hear();
	least() > $seen;
});
$shop->until('nothing has moved since a sample', sub {
	hear();
	!grep { $_ != 1 } values %still;
});
$seen = least();
move();
$shop->until('all see what has', sub {
	hear();
	for (keys %still) { $most{$_} = $still{$_} if $still{$_} > ($most{$_} // 0) }
	least() > $seen;
});
my ($longest) = sort { $b <=> $a } values %most;
cmp_ok($longest, '<=', 2, 'what moves is seen at the next look');
if (defined $alone)
{
	my $share = share(\&hear);

	diag(sprintf '%.2f %% of a core with them, %.2f %% without', $share, $alone);
	cmp_ok($share, '<', 1, 'all of it is less than 1 % of a core');
}

# What is set meanwhile is what a connection would get that begins now.
sub hears { hear(); return scalar grep { /"disk_low"/ } values %buffer }
is(hears(), 0, 'the disk is not low');
$shop->sql('ALTER DATABASE shop SET ecommerce.disk_low = 100');
$shop->until('all hear that it is, by what is set now', sub { hears() == BROWSERS });
$shop->sql('ALTER DATABASE shop RESET ecommerce.disk_low');
$shop->until('and that it is not', sub { hears() == 0 });
pass('settings of the database are followed');
my ($most) = sort { $b <=> $a } values %samples;
$_->close for $select->handles;

# Its connections tell what they have called when they end.
$console->stop;
my %calls = map { split /\|/ } split /\n/, $shop->sql(q(SELECT funcname, calls
	FROM pg_stat_user_functions WHERE schemaname = 'ecommerce'));
note("$most samples seen, $calls{overview} looks");
cmp_ok($calls{overview}, '<=', $most + 8, 'one look for all of them');
is($calls{$_}, $calls{overview}, "$_ was asked once for each look")
  for qw(_store_problems _bus_problems _saga_problems);
cmp_ok($calls{metrics}, '>', 0, 'also when metrics were wanted');
done_testing();
