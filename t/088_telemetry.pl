# Telemetry as a collector wants it: every header of the list, what it has no time for (429)
# once more, and the request that began a trace at the gateway as its root.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $accepted = PostgreSQL::Test::Utils::tempdir . '/accepted';
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 10, ReuseAddr => 1)
  // die "cannot listen: $!\n";
my $collector = fork // die "cannot fork: $!\n";
if ($collector == 0)
{
	collect();
	POSIX::_exit(0);
}

END
{
	kill 'KILL', $collector if $collector;
}

# Answers 429 to the first two posts; writes down what it has accepted.
sub collect
{
	my $select = IO::Select->new($listener);
	my ($refused, %input) = (0);

	while (1)
	{
		for my $socket ($select->can_read)
		{
			if ($socket == $listener)
			{
				$select->add(scalar $listener->accept);
				next;
			}
			if (!sysread $socket, $input{$socket}, 65536, length($input{$socket} // ''))
			{
				$select->remove($socket);
				delete $input{$socket};
				close $socket;
				next;
			}
			my ($head, $body) = split /\r\n\r\n/, $input{$socket}, 2;
			my ($length) = $head =~ /^Content-Length: (\d+)/mi;
			next unless defined $body && length $body >= ($length // 0);
			my $status = $refused++ < 2 ? '429 Too Many Requests' : '200 OK';
			if ($status eq '200 OK')
			{
				open my $file, '>>:raw', $accepted or die "cannot write: $!\n";
				print $file $input{$socket};
				close $file;
			}
			$input{$socket} = '';
			print $socket "HTTP/1.1 $status\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
			$socket->flush;
		}
	}
	return;
}

my $shop = Shop->new(name => 'telemetry', env => {
	OTEL_EXPORTER_OTLP_TRACES_ENDPOINT => 'http://127.0.0.1:' . $listener->sockport . '/v1/traces',
	OTEL_EXPORTER_OTLP_HEADERS => 'api-key=a%20b, x-shop=mine,broken' });
$shop->start('order');
my %correlation = (root => Shop::uuid(), child => Shop::uuid());
my $parent = '00f067aa0ba902b7';
$shop->call('order', 'GET', '/orders/nope', undef, 'X-Correlation-Id' => $correlation{root},
	traceparent => "00-0af7651916cd43dd8448eb211c80319c-$parent-01", 'X-Trace-Begins' => 1);
$shop->call('order', 'GET', '/orders/nope', undef, 'X-Correlation-Id' => $correlation{child},
	traceparent => "00-1af7651916cd43dd8448eb211c80319c-$parent-01");
my $received = $shop->until('the collector has taken both', sub {
	return unless -e $accepted;
	my $all = PostgreSQL::Test::Utils::slurp_file($accepted);
	$all =~ /$correlation{root}/ && $all =~ /$correlation{child}/ && $all;
});
like($received, qr/^api-key: a b\r$/mi, 'the first header, decoded');
like($received, qr/^x-shop: mine\r$/mi, 'and the second');
unlike($shop->call('order', 'GET', '/metrics')->{body},
	qr/^\w*export\w*\{[^}]*dropped[^}]*\} [1-9]/m, 'nothing was dropped');
is(() = $received =~ /\Q${\ pack 'H*', $parent}\E/g, 1, 'only the child has a parent');
$shop->stop;
done_testing();
