# Customers of a shop in processes of their own, who order at a rate until they are told to go.
package Customers;

use strict;
use warnings;

use HTTP::Tiny;
use POSIX ();
use Time::HiRes qw(sleep time);

# Each waits for its reply before it orders again; it is in time while that takes 150 ms at most.
use constant { LEAST_WORKERS => 4, ORDERS_EACH => 6 };

# They come: each orders one of the products, at its share of rate orders a second.
sub come
{
	my ($class, $shop, $rate, @products) = @_;
	my $self = bless { workers => [] }, $class;
	my $workers = $rate / ORDERS_EACH > LEAST_WORKERS ? int($rate / ORDERS_EACH) : LEAST_WORKERS;

	for (1 .. $workers)
	{
		pipe(my $read, my $write) or die "cannot make a pipe: $!\n";
		my $pid = fork // die "cannot fork: $!\n";
		if ($pid == 0)
		{
			print $write order_on($shop, $workers / $rate, @products);
			close $write;
			POSIX::_exit(0);
		}
		close $write;
		push @{ $self->{workers} }, { pid => $pid, read => $read };
	}
	return $self;
}

# Orders every so many seconds until there is a signal; how many orders were taken.
sub order_on
{
	my ($shop, $interval, @products) = @_;
	my ($taken, $home, $next) = (0, 0, time);

	local $SIG{TERM} = sub { $home = 1 };
	srand $$;
	$shop->{http} = HTTP::Tiny->new(timeout => 60, keep_alive => 1);
	until ($home)
	{
		my $body = $shop->order_body($products[ rand @products ], 1 + int rand 3);

		$taken++ if $shop->call('order', 'POST', '/orders', $body)->{status} == 202;
		$next += $interval;
		sleep $next - time if $next > time;
	}
	return $taken;
}

# They go home; how many orders they have placed.
sub go
{
	my ($self) = @_;
	my $taken = 0;

	kill 'TERM', map { $_->{pid} } @{ $self->{workers} };
	for my $worker (splice @{ $self->{workers} })
	{
		$taken += readline $worker->{read};
		waitpid $worker->{pid}, 0;
	}
	return $taken;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;

	kill 'KILL', map { $_->{pid} } @{ $self->{workers} };
	return;
}

1;
