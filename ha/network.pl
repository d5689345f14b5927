# A link over a network that is cut: linkd is in a network namespace of its own, and what
# joins it to the source's server is taken down. Packets vanish, as with a cable; nobody says
# that a connection has ended. `make check-network`; it takes until TCP gives up, minutes.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../t";
use Test::More;

# Everything in namespaces that an ordinary user may make, where the kernel lets him.
BEGIN
{
	my @inside = qw(unshare --user --net --map-current-user --keep-caps --);

	if (!$ENV{LINK_NAMESPACE})
	{
		system(@inside, qw(ip link add va type veth peer name vb)) == 0
		  or die "no network here to cut: iproute2, kernel.unprivileged_userns_clone\n";
		$ENV{LINK_NAMESPACE} = 1;
		exec @inside, $^X, '-w', (map { "-I$_" } @INC), $0 or die "cannot run again: $!\n";
	}
}

use LinkBed;
use PostgreSQL::Test::Utils;

my ($here, $there) = qw(10.99.0.1 10.99.0.2);
my $other = fork // die "cannot fork: $!";
exec qw(unshare --net -- sleep 86400) if $other == 0;

END
{
	kill 'KILL', $other if $other;
}

sub ip
{
	my @command = @_;
	system('ip', @command) == 0 or die "ip @command failed\n";
	return;
}

sub ip_there
{
	my @command = @_;
	system(qw(nsenter --net --target), $other, '--', 'ip', @command) == 0
	  or die "ip @command failed there\n";
	return;
}

# Is in its own namespace as soon as it is sleep.
LinkBed::meanwhile(10_000) until slurp_file("/proc/$other/comm") eq "sleep\n";
ip(qw(link set lo up));
ip(qw(link add va type veth peer name vb));
ip(qw(link set vb netns), $other);
ip(qw(addr add), "$here/24", qw(dev va));
ip(qw(link set va up));
ip_there(qw(addr add), "$there/24", qw(dev vb));
ip_there(qw(link set), $_, 'up') for qw(lo vb);

my $bed = LinkBed->new('network', conf_a => "listen_addresses = '$here'\n");
append_to_file($bed->{a}->data_dir . '/pg_hba.conf', "host all all $there/32 trust\n");
$bed->{a}->reload;
$bed->{before} = [ qw(nsenter --net --target), $other, '--' ];
$bed->write_services(host => $here);
my $pid = $bed->start_linkd;

# Why connections were given up, in turn.
sub losses
{
	my @reasons =
	  slurp_file($bed->{log}) =~ /"\@m":"Database connection unavailable: ((?:[^"\\]|\\.)*)/g;
	return @reasons;
}

$bed->send_some(100);
ok($bed->drained, 'it carries over the network');
like($bed->sql('a', q{SELECT string_agg(DISTINCT host(client_addr), ' ') FROM pg_stat_activity
	WHERE application_name = 'linkd'}), qr/^\Q$there\E$/, 'from there');

subtest 'cut for moments, under load' => sub {
	$bed->start_senders(5);
	for (1 .. 8)
	{
		LinkBed::meanwhile(rand 400_000);
		ip(qw(link set va down));
		LinkBed::meanwhile(rand 500_000);
		ip(qw(link set va up));
	}
	$bed->finish_senders;
	ok($bed->drained, 'everything arrives');
	is($bed->complaints, '', 'once, and in order');
};

# Until the program notices by itself, while the network is down: TCP tells it before it loses
# patience with what it has asked, which is how a connection would be lost that asks nothing.
sub cut_until_noticed
{
	my ($prepare, $what) = @_;
	my $before = losses();
	my $waited = 0;

	ip(qw(link set va down));
	$prepare->();
	LinkBed::meanwhile(100_000) while losses() == $before && $waited++ < 1800;
	my $why = (losses())[$before];
	isnt($why, undef, "$what: it notices that nobody answers");
	unlike($why // '', qr/no answer from the server in time/, "and needs no clock for that: $why");
	ip(qw(link set va up));
	ok($bed->drained, 'everything arrives afterwards');
	is($bed->complaints, '', 'once, and in order');
	return;
}

subtest 'cut for long, at rest' =>
  sub { cut_until_noticed(sub { $bed->send_some(10) }, 'keepalives') };
subtest 'cut for long, while it reads' => sub {
	$bed->start_senders(4);
	LinkBed::meanwhile(1_000_000);
	cut_until_noticed(sub { $bed->finish_senders }, 'tcp_user_timeout');
};
is($bed->stop_linkd($pid), 0, 'it ends when asked to');
done_testing();
