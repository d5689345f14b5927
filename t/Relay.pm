# A relay before a server's socket, to be stopped and killed: a network that can be cut.
package Relay;

use strict;
use warnings;

use POSIX ();

# Starts one that takes connections of a socket and joins each to what the function connects to;
# returns its process id. $most: each connection breaks after so many bytes at most, by chance.
sub start
{
	my ($listen, $connect, $most) = @_;
	my $pid = fork // die "cannot fork: $!";

	if ($pid == 0)
	{
		$SIG{PIPE} = 'IGNORE';
		_run($listen, $connect, $most);
		POSIX::_exit(0);
	}
	close $listen;
	return $pid;
}

sub _run
{
	my ($listen, $connect, $most) = @_;
	my %peer;

	for (;;)
	{
		my $ready = '';
		vec($ready, fileno $_, 1) = 1 for $listen, map { $_->[0] } values %peer;
		select($ready, undef, undef, undef);
		for my $number (keys %peer)
		{
			my ($from, $to, $left) = @{ $peer{$number} // next };
			next unless vec($ready, $number, 1);
			next if _pass_on($from, $to, $left);
			delete @peer{ $number, fileno $to };
			close $_ for $from, $to;
		}
		if (vec($ready, fileno $listen, 1))
		{
			my $client = $listen->accept or next;
			my $server = $connect->() or do { close $client; next };
			my $left = $most ? 1 + int rand $most : undef;
			$peer{ fileno $client } = [ $client, $server, \$left ];
			$peer{ fileno $server } = [ $server, $client, \$left ];
		}
	}
	return;
}

# What one side has said; false when it has hung up, or enough was said.
sub _pass_on
{
	my ($from, $to, $left) = @_;
	my $done = 0;
	my $got = sysread $from, my $bytes, 65536;

	return 0 if !$got;
	$bytes = substr $bytes, 0, $$left if defined $$left;
	$done += syswrite($to, $bytes, length($bytes) - $done, $done) // last
	  while $done < length $bytes;
	return 1 if !defined $$left;
	$$left -= length $bytes;
	return $$left > 0;
}

1;
