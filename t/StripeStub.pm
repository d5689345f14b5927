# A Stripe for tests that misbehaves on demand: authorize, capture, refund and list as
# API version 2020-08-27 has them, idempotency keys, and a ledger of what was charged.
# What goes wrong is chosen by the token that a charge is made with, see %faults.
#
# What is done there by others is asked for by POST /stub/refund, /stub/dispute, /stub/win
# and /stub/lose with charge=ID; /stub/away and /stub/back begin and end an outage, in which
# all is answered by 503. GET /stub/events tells the events that there were so far; the test
# delivers them as webhooks, in the order and as often as it likes.
package StripeStub;

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use Time::HiRes qw(time);

my $json = JSON::PP->new->canonical->utf8;

# token => [request it concerns, what happens to its answer, how often]. The request itself
# has its effect, unless the fault is "lost".
my %faults = (
	tok_authorize_cut => [ 'authorize', 'cut', 9 ],
	tok_authorize_html => [ 'authorize', 'html', 9 ],
	tok_authorize_hangup => [ 'authorize', 'hangup', 1 ],
	tok_authorize_huge => [ 'authorize', 'huge', 1 ],
	tok_authorize_lost => [ 'authorize', 'lost', 3 ],
	tok_authorize_error => [ 'authorize', 'error', 99 ],
	tok_capture_cut => [ 'capture', 'cut', 9 ],
	tok_capture_failed => [ 'capture', 'error', 9 ],
	tok_capture_less => [ 'capture', 'less', 9 ],
	tok_capture_silent => [ 'capture', 'silent', 9 ],
	tok_refund_failed => [ 'refund', 'error', 2 ],
	tok_slow => [ 'authorize', 'slow', 9 ]);

# Starts it on that port (a free one if 0) in a process of its own; returns port and pid.
sub start
{
	my ($port) = @_;
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port // 0,
		Listen => 100, ReuseAddr => 1) // die "cannot listen: $!\n";
	my $pid = fork // die "cannot fork: $!\n";
	if ($pid == 0)
	{
		serve($listener);
		POSIX::_exit(0);
	}
	return ($listener->sockport, $pid);
}

my (%charges, %answers, %used, %input, @later, @events, $away);

sub serve
{
	my ($listener) = @_;
	my $select = IO::Select->new($listener);

	local $SIG{PIPE} = 'IGNORE';
	while (1)
	{
		for my $socket ($select->can_read(@later ? 0.01 : undef))
		{
			if ($socket == $listener)
			{
				$select->add(scalar $listener->accept);
			}
			elsif (!sysread $socket, $input{$socket}, 65536, length($input{$socket} // ''))
			{
				$select->remove($socket);
				delete $input{$socket};
				close $socket;
			}
			else
			{
				answer($socket, $select);
			}
		}
		my $now = time;
		print { $_->[1] } $_->[2] for grep { $_->[0] <= $now } @later;
		@later = grep { $_->[0] > $now } @later;
	}
	return;
}

sub answer
{
	my ($socket, $select) = @_;
	my ($head, $body) = split /\r\n\r\n/, $input{$socket}, 2;
	my ($length) = $head =~ /^Content-Length: (\d+)/mi;

	return unless defined $body && length $body >= ($length // 0);
	$input{$socket} = '';
	my ($method, $path) = split ' ', $head;
	my ($key) = $head =~ /^Idempotency-Key: (\S+)/mi;
	my %form = map { s/%(..)/chr hex $1/ger } map { (split /=/, $_, 2)[ 0, 1 ] } split /&/,
	  $body =~ s/\+/ /gr;
	my ($purpose, $charge, $reply) = $away && $path =~ m{^/v1/} ? ('away', {}, { refused => 503 })
	  : act($method, $path, $key, \%form);
	my $fault = fault($purpose, $charge);

	$reply = { %$reply, amount => $reply->{amount} - 1 } if $fault eq 'less';
	my $status = delete $reply->{refused} // ($reply->{error} ? 402 : 200);
	my $text = $json->encode($reply);
	$text = substr $text, 0, length($text) / 2 if $fault eq 'cut';
	$text = '<html>Welcome</html>' if $fault eq 'html';
	$text = '"' . 'x' x 2_000_000 . '"' if $fault eq 'huge';
	($status, $text) = (500, '{}') if $fault eq 'error';
	my $bytes = "HTTP/1.1 $status X\r\nContent-Type: application/json\r\nContent-Length: "
	  . length($text) . "\r\n\r\n$text";
	if ($fault eq 'hangup' || $fault eq 'lost')
	{
		$select->remove($socket);
		close $socket;
	}
	elsif ($fault eq 'slow')
	{
		push @later, [ time + 0.3, $socket, $bytes ];
	}
	elsif ($fault ne 'silent')
	{
		print $socket $bytes;
		$socket->flush;
	}
	return;
}

# What befalls the answer to this request.
sub fault
{
	my ($purpose, $charge) = @_;
	my ($wanted, $what, $times) = @{ $faults{ $charge->{token} // '' } // [''] };

	return '' if $wanted ne $purpose || $used{ $charge->{key} }{$purpose}++ >= $times;
	return $what;
}

# Does it; returns which request it was, the charge, and the answer.
sub act
{
	my ($method, $path, $key, $form) = @_;

	if ($path eq '/ledger')
	{
		return ('ledger', {}, { charges => [ sort { $a->{id} cmp $b->{id} } values %charges ] });
	}
	if ($method eq 'GET' && $path =~ m{^/v1/charges\?.*transfer_group=([^&]+)})
	{
		return ('list', {}, { data => [ map { shown($_) } grep { $_->{group} eq $1 }
			  values %charges ] });
	}
	if ($path eq '/v1/charges')
	{
		my $lost = $form->{source} eq 'tok_authorize_lost'
		  && ($used{ $form->{'metadata[key]'} }{authorize} // 0) < 3;
		my $charge = $answers{$key} // { id => 'ch_' . (1 + keys %charges), captured => 0,
			refunded => 0, token => $form->{source}, group => $form->{transfer_group},
			amount => $form->{amount}, currency => $form->{currency},
			order_id => $form->{'metadata[order_id]'}, key => $form->{'metadata[key]'} };
		$charges{ $charge->{id} } = $answers{$key} = $charge unless $lost;
		return ('authorize', $charge, shown($charge));
	}
	if ($path =~ m{^/v1/charges/(\w+)/capture$})
	{
		my $charge = $charges{$1};
		event('charge.captured', shown($charge)) unless $charge->{captured}++;
		return ('capture', $charge, shown($charge));
	}
	if ($path =~ m{^/v1/refunds/(re_\w+)$})
	{
		my ($refund) = grep { $_->{id} eq $1 } map { @{ $_->{refunds} // [] } } values %charges;
		return ('follow', {}, $refund);
	}
	return ('stub', {}, by_others($1, $form)) if $path =~ m{^/stub/(\w+)$};
	my $charge = $charges{ $form->{charge} };
	$answers{$key} //= refund($charge, $charge->{token} eq 'tok_refund_pending' ? 'pending'
		: 'succeeded');
	return ('refund', $charge, { %{ $answers{$key} } });
}

# Gives the money of a charge back, if it is there.
sub refund
{
	my ($charge, $status) = @_;
	my $code = ($charge->{dispute} // '') eq 'needs_response' ? 'charge_disputed'
	  : $charge->{refunded} ? 'charge_already_refunded' : '';
	return { refused => 400, error => { code => $code } } if $code;
	my $refund = { id => "re_$charge->{id}_" . (1 + @{ $charge->{refunds} // [] }),
		object => 'refund', charge => $charge->{id}, amount => 0 + $charge->{amount},
		currency => $charge->{currency}, status => $status };
	push @{ $charge->{refunds} }, $refund;
	$charge->{refunded}++;
	event('charge.refunded', shown($charge)) if $charge->{captured};
	return $refund;
}

# What somebody else does there.
sub by_others
{
	my ($deed, $form) = @_;
	my $charge = $charges{ $form->{charge} // '' };

	return { events => [@events] } if $deed eq 'events';
	$away = 1 if $deed eq 'away';
	$away = 0 if $deed eq 'back';
	refund($charge, 'succeeded') if $deed eq 'refund';
	if ($deed =~ /^(?:settle|fail)$/)
	{
		my $refund = $charge->{refunds}[-1];
		$refund->{status} = $deed eq 'fail' ? 'failed' : 'succeeded';
		$charge->{refunded} = 0 if $deed eq 'fail';
		event('charge.refund.updated', {%$refund});
	}
	my $status = { dispute => 'needs_response', win => 'won', lose => 'lost' }->{$deed};
	if ($status && !$charge->{refunded} && ($charge->{dispute} // '') !~ /won|lost/)
	{
		$charge->{dispute} = $status;
		event($deed eq 'dispute' ? 'charge.dispute.created' : 'charge.dispute.closed',
			{ id => "dp_$charge->{id}", object => 'dispute', charge => $charge->{id},
				status => $status, amount => 0 + $charge->{amount} });
	}
	return {};
}

sub event
{
	my ($type, $object) = @_;
	push @events, { id => 'evt_' . (1 + @events), type => $type, data => { object => $object } };
	return;
}

sub truth
{
	my ($value) = @_;
	return $value ? JSON::PP::true : JSON::PP::false;
}

sub shown
{
	my ($charge) = @_;
	return { id => $charge->{id}, object => 'charge', status => 'succeeded',
		amount => 0 + $charge->{amount} - ($charge->{token} eq 'tok_capture_less' ? 1 : 0),
		currency => $charge->{currency}, metadata => { key => $charge->{key} },
		captured => truth($charge->{captured}), refunded => truth($charge->{refunded}),
		disputed => truth($charge->{dispute}),
		refunds => { data => [ map { {%$_} } reverse @{ $charge->{refunds} // [] } ] } };
}

1;
