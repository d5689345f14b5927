#!/usr/bin/perl
# Posts orders to a running shop (make up) and measures it: one at a time, then at a
# rate. Prints latencies of POST /orders, the time from the request to OrderConfirmed as
# the event store has it, and CPU time and memory of the daemons.
# Usage: services/tests/load.pl [--single=N] [--rate=R] [--seconds=S] [--workers=W] [--metrics]
#        [--cells=N] [--warm=N]
# With --single=0 or --rate=0 only the other is measured; --metrics prints lines of
# "name value" for bench/run, with what an order costs the server, which must be on this machine;
# --cells: how many databases have the orders (CELLS); --warm: orders before, that are not measured:
# in a shop that has just opened every session still finds out what it needs. Takes
# ECOMMERCE_RUN and PG* from the environment as services/up does.
use strict;
use warnings;

use Getopt::Long;
use IO::Socket::INET;
use JSON::PP;
use List::Util qw(max);
use POSIX ();
use Time::HiRes qw(sleep time);

my %option = (single => 50, rate => 150, seconds => 20, workers => 4, metrics => 0, cells => 0,
	warm => 0,
	address => '127.0.0.1:' . ($ENV{ECOMMERCE_GATEWAY_PORT} // 5000));
GetOptions(\%option, 'single=i', 'rate=f', 'seconds=i', 'workers=i', 'address=s',
	'metrics', 'cells=i', 'warm=i') or exit 64;
my $run = $ENV{ECOMMERCE_RUN} // '/tmp/ecommerce';
$ENV{PGHOST} //= "$run/pg";
$ENV{PGPORT} //= 54320;
$ENV{PGUSER} //= 'postgres';
$ENV{PGDATABASE} //= 'ecommerce';

my ($authorization) = slurp("$run/keys/operator") =~ /^(Authorization: Bearer \S+)$/
  or die "no key in $run/keys/operator: services/up makes one\n";
my $json = JSON::PP->new;
my $connection;
my @products = map { sprintf '10ad0000-0000-4000-8000-%012d', $_ } 1 .. 50;

sub query
{
	my ($sql, $database) = @_;
	open my $psql, '-|', 'psql', '-XqAt', '-c', $sql, $database // $ENV{PGDATABASE}
	  or die "cannot run psql: $!\n";
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
	my $request = "$method $path HTTP/1.1\r\nHost: shop\r\n$authorization\r\n"
	  . "Content-Type: application/json\r\nContent-Length: " . length($content)
	  . "\r\n\r\n$content";
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
			quantity => 1 + int rand 3, unit_price => 4.25 } } 1 .. 2;
	$_->{sku} = "load-$_->{product_id}" for @lines;
	my $started = time;
	my $reply = request('POST', '/orders', { customer_id => $products[ rand @products ],
		items => \@lines,
		shipping_address => { street => '1 Main Street', city => 'Town', state => 'ST',
			postal_code => '12345', country => 'DE' },
		payment_method => { type => 'card', last4_digits => '4242', token => 'tok_ok' } });
	return ($reply->{order_id}, time - $started);
}

sub quantile
{
	my ($part, @values) = @_;
	my @sorted = sort { $a <=> $b } @values;
	return @sorted ? $sorted[ $part * $#sorted ] : 0;
}

sub quantiles
{
	return sprintf 'p50 %.1f ms, p99 %.1f ms, max %.1f ms',
	  map { 1000 * quantile($_, @_) } 0.5, 0.99, 1;
}

# Seconds from the request to OrderConfirmed, of those that are.
sub confirmation
{
	my ($since, $begun) = @_;
	# With cells the events are elsewhere, but their time is in the list.
	my %confirmed = map { split /\|/ } split /\n/, query($option{cells} ? qq{
		SELECT s.order_id, extract(epoch FROM s.updated_at) FROM ecommerce_order.order_summary s
		WHERE s.created_at >= to_timestamp($since) AND s.status = 'Confirmed'} : qq{
		SELECT s.order_id, (SELECT extract(epoch FROM e.occurred_at)
			FROM event_store.read_stream('order-' || s.order_id) e
			WHERE e.event_type = 'OrderConfirmed')
		FROM ecommerce_order.order_summary s
		WHERE s.created_at >= to_timestamp($since) AND s.status <> 'Created'});
	return map { $confirmed{$_} - $begun->{$_} } grep { $confirmed{$_} } keys %$begun;
}

sub wait_until_settled
{
	my ($since, $posted) = @_;
	my $deadline = time + 120;
	while (time < $deadline)
	{
		# With cells the list has an order a moment after it was taken.
		return if query(qq{SELECT count(*) FILTER (WHERE status <> 'Created') >= $posted
				AND count(*) FILTER (WHERE status = 'Created') = 0
			FROM ecommerce_order.order_summary WHERE created_at >= to_timestamp($since)}) eq 't';
		sleep 0.2;
	}
	die "orders do not settle\n";
}

for my $product (@products)
{
	request('PUT', "/products/$product", { sku => "load-$product", name => 'Load',
		price => { amount => 4.25 } });
	request('POST', "/products/$product/stock", { delta => 1000000, reason => 'load' });
}

# Prices have to come to each cell.
for my $cell (1 .. $option{cells})
{
	until (query('SELECT count(*) FROM ecommerce_order.price_list',
			"$ENV{PGDATABASE}_cell$cell") >= @products)
	{
		sleep 0.05;
	}
}

# CPU seconds and greatest memory in MB of each daemon, and of the gateway's workers.
sub processes
{
	my %used;
	my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());
	for my $file (glob "$run/*.pid")
	{
		my ($name) = $file =~ m{([a-z]+)[^/]*$};
		my $pid = slurp($file) or next;
		next if $name eq 'consoled' || !-d "/proc/" . ($pid += 0);
		for my $process ($pid, split ' ', slurp("/proc/$pid/task/$pid/children"))
		{
			my @stat = split ' ', slurp("/proc/$process/stat") =~ s/^.*\) //sr;
			$used{$name}{cpu} += ($stat[11] + $stat[12]) / $ticks;
			my ($peak) = slurp("/proc/$process/status") =~ /^VmHWM:\s+(\d+)/m;
			$used{$name}{memory} = max($peak / 1024, $used{$name}{memory} // 0);
		}
	}
	return \%used;
}

# CPU time of the server: the postmaster, its children, and those that it has reaped.
sub server_cpu
{
	my ($postmaster) = query(q{SELECT pg_read_file('postmaster.pid')}) =~ /^(\d+)/;
	my @own = split ' ', slurp("/proc/$postmaster/stat") =~ s/^.*\) //sr;
	my $sum = $own[11] + $own[12] + $own[13] + $own[14];

	for my $child (split ' ', slurp("/proc/$postmaster/task/$postmaster/children"))
	{
		my @stat = split ' ', slurp("/proc/$child/stat") =~ s/^.*\) //sr or next;
		$sum += $stat[11] + $stat[12];
	}
	return $sum / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

sub slurp
{
	my ($path) = @_;
	open my $file, '<', $path or return '';
	local $/;
	return <$file> // '';
}

# Posts orders at the rate; returns order => when it was due, and the latencies, counted
# from then, so that a slow shop cannot hide behind its clients.
sub post_at_rate
{
	my ($since) = @_;
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
				my ($order) = post_order();
				print $write join(' ', $order, $next, time - $next), "\n";
				$next += $interval;
			}
			close $write;
			POSIX::_exit(0);
		}
		close $write;
		push @pipes, $read;
	}
	my (%begun, @posts);
	for my $pipe (@pipes)
	{
		while (my $line = <$pipe>)
		{
			my ($order, $due, $latency) = split ' ', $line;
			$begun{$order} = $due;
			push @posts, $latency;
		}
	}
	1 while wait > 0;
	return (\%begun, \@posts);
}

sub report
{
	my ($what, $posts, $confirmed, $seconds, $before, $server) = @_;
	my $after = processes();
	my $n = @$confirmed;

	if ($option{metrics})
	{
		print "events $n\nseconds $seconds\nper_s ", $n / $seconds, "\nopen ", @$posts - $n, "\n";
		for (['post', $posts], [ 'confirm', $confirmed ])
		{
			my ($name, $values) = @$_;
			printf "%s_p%d %g\n", $name, 100 * $_, 1000 * quantile($_, @$values) for 0.5, 0.99;
		}
		printf "%s_cpu_ms %g\n%s_mb %g\n", $_, 1000 * ($after->{$_}{cpu} - $before->{$_}{cpu}) / $n,
		  $_, $after->{$_}{memory}
		  for sort keys %$after;
		printf "server_us %g\n", 1e6 * $server / $n if defined $server;
		return;
	}
	printf "%s: %d confirmed in %.1f s, %.1f/s, %d not confirmed\n", $what, $n, $seconds,
	  $n / $seconds, @$posts - $n;
	print "  POST /orders: ", quantiles(@$posts), "\n";
	print "  until confirmed: ", quantiles(@$confirmed), "\n";
	printf "  %s: %.2f ms CPU per order, at most %.1f MB\n", $_,
	  1000 * ($after->{$_}{cpu} - $before->{$_}{cpu}) / $n, $after->{$_}{memory}
	  for sort keys %$after;
	return;
}

if ($option{warm} > 0)
{
	my $since = time;
	post_order() for 1 .. $option{warm};
	wait_until_settled($since, $option{warm});
}
if ($option{single} > 0)
{
	my $before = processes();
	my $since = time;
	my (%begun, @posts);
	for (1 .. $option{single})
	{
		my $began = time;
		my ($order, $seconds) = post_order();
		push @posts, $seconds;
		$begun{$order} = $began;
		sleep 0.2;				# whoever looks would be in the way
		wait_until_settled($since, scalar @posts);
	}
	my @confirmed = confirmation($since, \%begun);
	report('one at a time', \@posts, \@confirmed, time - $since, $before);
}
if ($option{rate} > 0)
{
	my $before = processes();
	my $server = $option{metrics} ? server_cpu() : undef;
	my $since = time;
	my ($begun, $posts) = post_at_rate($since);
	wait_until_settled($since, scalar @$posts);
	my $seconds = time - $since;
	$server = server_cpu() - $server if defined $server;
	report("$option{rate}/s", $posts, [ confirmation($since, $begun) ], $seconds, $before,
		$server);
}
