#!/usr/bin/perl
# Posts orders to a running shop (make up) and measures it: one at a time, then at a
# rate. Prints latencies of POST /orders, the time from OrderCreated to OrderConfirmed
# as the event store has it, and the memory of the daemons.
# Usage: services/tests/load.pl [--single=N] [--rate=R] [--seconds=S] [--workers=W]
# Takes ECOMMERCE_RUN and PG* from the environment as services/up does.
use strict;
use warnings;

use Getopt::Long;
use IO::Socket::INET;
use JSON::PP;
use Time::HiRes qw(sleep time);

my %option = (single => 50, rate => 150, seconds => 20, workers => 4,
	address => '127.0.0.1:' . ($ENV{ECOMMERCE_GATEWAY_PORT} // 5000));
GetOptions(\%option, 'single=i', 'rate=f', 'seconds=i', 'workers=i', 'address=s') or exit 64;
my $run = $ENV{ECOMMERCE_RUN} // '/tmp/ecommerce';
$ENV{PGHOST} //= "$run/pg";
$ENV{PGPORT} //= 54320;
$ENV{PGUSER} //= 'postgres';
$ENV{PGDATABASE} //= 'ecommerce';

my $json = JSON::PP->new;
my $connection;
my @products = map { sprintf '10ad0000-0000-4000-8000-%012d', $_ } 1 .. 50;

sub query
{
	my ($sql) = @_;
	open my $psql, '-|', 'psql', '-XqAt', '-c', $sql or die "cannot run psql: $!\n";
	my $out = join '', <$psql>;
	close $psql or die "psql failed\n";
	chomp $out;
	return $out;
}

# One write per request: a client that sends head and body apart waits for the
# network's delayed acknowledgements, which is not what is measured here.
sub request
{
	my ($method, $path, $body) = @_;
	my $content = $json->encode($body);
	$connection //= IO::Socket::INET->new(PeerAddr => $option{address})
	  // die "cannot connect: $!\n";
	my $request = "$method $path HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
	  . 'Content-Length: ' . length($content) . "\r\n\r\n$content";
	syswrite($connection, $request) == length $request or die "cannot send: $!\n";
	my $reply = '';
	while (1)
	{
		sysread($connection, $reply, 65536, length $reply) or die "no reply to $method $path\n";
		my ($status, $length, $json_text) =
		  $reply =~ /^HTTP\S+ (\d+).*?\r\nContent-Length: (\d+).*?\r\n\r\n(.*)/si
		  or next;
		next if length $json_text < $length;
		die "$method $path: $reply\n" if $status >= 300;
		return $json->decode($json_text);
	}
}

# Two lines per order, any two products.
sub post_order
{
	my @lines = map { { product_id => $products[ rand @products ], product_name => 'Load',
			sku => 'load', quantity => 1 + int rand 3, unit_price => 4.25 } } 1 .. 2;
	my $started = time;
	my $reply = request('POST', '/orders', { customer_id => $products[ rand @products ],
		items => \@lines,
		shipping_address => { street => '1 Main Street', city => 'Town', state => 'ST',
			postal_code => '12345', country => 'DE' },
		payment_method => { type => 'card', last4_digits => '4242', token => 'tok_ok' } });
	return ($reply->{order_id}, time - $started);
}

sub quantiles
{
	my @sorted = sort { $a <=> $b } @_;
	return 'none' unless @sorted;
	return sprintf 'p50 %.1f ms, p99 %.1f ms, max %.1f ms, n %d',
	  (map { 1000 * $sorted[ $_ * $#sorted ] } 0.5, 0.99, 1), scalar @sorted;
}

# Seconds from created to confirmed of orders created since then, and how many are not.
sub confirmation
{
	my ($since) = @_;
	my @rows = split /\n/, query(qq{
		SELECT extract(epoch FROM (SELECT e.occurred_at FROM event_store.read_stream('order-'
			|| s.order_id) e
			WHERE e.event_type = 'OrderConfirmed') - s.created_at)
		FROM ecommerce_order.order_summary s WHERE s.created_at >= to_timestamp($since)});
	return ([ grep { $_ ne '' } @rows ], scalar grep { $_ eq '' } @rows);
}

sub wait_until_settled
{
	my ($since) = @_;
	my $deadline = time + 120;
	while (time < $deadline)
	{
		return if query(qq{SELECT count(*) FROM ecommerce_order.order_summary
			WHERE status = 'Created' AND created_at >= to_timestamp($since)}) == 0;
		sleep 0.2;
	}
	die "orders do not settle\n";
}

for my $product (@products)
{
	request('PUT', "/products/$product", { sku => "load-$product", name => 'Load' });
	request('POST', "/products/$product/stock", { delta => 1000000, reason => 'load' });
}

my $since = time;
my @posts;
for (1 .. $option{single})
{
	my ($order, $seconds) = post_order();
	push @posts, $seconds;
	wait_until_settled($since);
}
my ($confirmed, $open) = confirmation($since);
print "one at a time: POST ", quantiles(@posts), "\n";
print "one at a time: created to confirmed ", quantiles(@$confirmed), "\n";

$since = time;
my @pipes;
for my $worker (1 .. $option{workers})
{
	pipe my $read, my $write or die "cannot make a pipe: $!\n";
	my $pid = fork // die "cannot fork: $!\n";
	if ($pid == 0)
	{
		undef $connection;
		srand $$;
		my $interval = $option{workers} / $option{rate};
		my $next = $since + rand $interval;
		while ($next < $since + $option{seconds})
		{
			my $wait = $next - time;
			sleep $wait if $wait > 0;
			my (undef, $seconds) = post_order();
			# counted from when it was due, so that a slow shop cannot hide behind its clients
			print $write time - $next, "\n";
			$next += $interval;
		}
		exit 0;
	}
	close $write;
	push @pipes, $read;
}
@posts = map { my $pipe = $_; map { chomp; $_ } <$pipe> } @pipes;
1 while wait > 0;
my $posted = time - $since;
wait_until_settled($since);
my $settled = time - $since;
($confirmed, $open) = confirmation($since);
printf "at %g/s: %d orders posted in %.1f s, settled %.1f s later: "
  . "%.1f/s to Confirmed, %d not confirmed\n",
  $option{rate}, scalar @posts, $posted, $settled - $posted, @$confirmed / $settled, $open;
print "at $option{rate}/s: POST ", quantiles(@posts), "\n";
print "at $option{rate}/s: created to confirmed ", quantiles(@$confirmed), "\n";
for my $daemon (qw(orderd inventoryd paymentd shippingd notificationd))
{
	my $pid = do { open my $file, '<', "$run/$daemon.pid" or next; <$file> };
	open my $status, '<', "/proc/" . ($pid + 0) . '/status' or next;
	my ($rss) = map { /^VmHWM:\s+(\d+)/ ? $1 : () } <$status>;
	printf "%s: at most %.1f MB\n", $daemon, $rss / 1024;
}
