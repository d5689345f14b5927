# The life of a daemon: options, exit codes, the service manager, signals, health, what its
# log lines and metrics say on every hop of an order.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run qw(run);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Shop;
use Socket qw(SOCK_DGRAM);
use Test::More;

my @services = qw(order inventory payment shipping notification access);
my $directory = PostgreSQL::Test::Utils::tempdir_short;
my $manager = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "$directory/notify")
  // die "no socket: $!\n";
my $shop = Shop->new(name => 'daemons', env => { NOTIFICATIOND_REQUEST_TIMEOUT => '2s' });

# Runs a daemon to its end; returns exit status, standard output and standard error.
sub ends
{
	my ($service, @options) = @_;
	my ($out, $err) = ('', '');
	run [ $shop->program($service), @options ], '>', \$out, '2>', \$err;
	return ($? >> 8, $out, $err);
}

sub told
{
	my ($what) = @_;
	my $deadline = time + Shop::PATIENCE;
	while (time < $deadline && IO::Select->new($manager)->can_read(1))
	{
		recv $manager, my $said, 4096, 0;
		return pass("the manager is told $what") if $said =~ /^\Q$what\E/m;
	}
	return fail("the manager is told $what");
}

subtest 'options' => sub {
	for my $service (@services)
	{
		my ($status, $out) = ends($service, '--help');
		is($status, 0, "${service}d --help");
		like($out, qr/--port .*--database .*--batch .*--log-level .*Exit status: 0 /s, 'says all');
		is((ends($service, '--version'))[0], 0, '--version');
	}
	local %ENV = (%ENV, ECOMMERCE_BATCH => 7, PAYMENTD_POOL_SIZE => 3);
	my (undef, $config) = ends('payment', '--stripe-secret-key=sk_live_1', '--batch=9',
		'--print-config');
	like($config, qr/^batch = 9 +# flag$/m, 'a flag is stronger than the environment');
	like($config, qr/^pool-size = 3 +# environment$/m, 'the environment than the default');
	like($config, qr/^port = 5003 +# default$/m, 'the default');
	unlike($config, qr/sk_live/, 'secrets stay hidden');
	for my $bad ([ '--nothing=1', qr/unknown option "--nothing=1"/ ],
		[ '--port=0', qr/"port" must be between 1 and 65535/ ],
		[ '--port=x', qr/"port" is a whole number/ ], [ '--port', qr/needs a value/ ],
		[ '--poll-interval=1 day', qr/is a duration such as 250ms/ ],
		[ 'word', qr/unexpected argument "word"/ ], [ '--log-level=Loud', qr/unknown log level/ ],
		[ '--log-file=/nowhere/x', qr/cannot open log file/ ],
		[ '--config=/nowhere/x', qr/cannot read/ ])
	{
		my ($status, undef, $err) = ends('order', $bad->[0]);
		is($status, 64, "$bad->[0] is refused");
		like($err, $bad->[1], 'and it says why');
	}
	my $taken = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') // die "no port: $!\n";
	my ($status, undef, $err) = ends('order', '--port=' . $taken->sockport);
	is($status, 69, 'a port that is taken');
	like($err, qr/Cannot listen on 127\.0\.0\.1 port/, 'and it says so');
	for my $wrong ([ 'payment', '--provider=abacus' ], [ 'payment', '--provider=stripe' ],
		[ 'notification', '--sink=pigeon' ])
	{
		is((ends(@$wrong))[0], 69, "$wrong->[0]d $wrong->[1]: cannot work");
	}
};

# Where the server is comes from PG* variables and a service file, the rest from a file.
append_to_file("$directory/pg_service.conf", "[shop]\nhost=" . $shop->{node}->host . "\nport="
	. $shop->{node}->port . "\ndbname=shop\nuser=ecommerce_order\n");
append_to_file("$directory/orderd.conf",
	"# a comment\nlog-level = Debug\nlog-file = $directory/orderd.log\n");
my $orderd = fork // die "cannot fork: $!\n";
if ($orderd == 0)
{
	delete @ENV{ grep { /^PG/ } keys %ENV };
	@ENV{qw(PGSERVICEFILE PGSERVICE NOTIFY_SOCKET ECOMMERCE_GATEWAY_SECRET)} =
	  ("$directory/pg_service.conf", 'shop', "$directory/notify", $shop->{secret});
	exec($shop->program('order'), "--port=$shop->{port}{order}",
		"--config=$directory/orderd.conf") or die "cannot run orderd: $!\n";
}
$shop->{pid}{order} = $orderd;

subtest 'the service manager, SIGHUP' => sub {
	told('READY=1');
	$shop->until('ready', sub { $shop->call('order', 'GET', '/health/ready')->{status} == 200 });
	my $log = "$directory/orderd.log";
	rename $log, "$log.1";
	unlink "$directory/orderd.conf";
	append_to_file("$directory/orderd.conf", "log-level = Warning\nport = 1\n");
	kill 'HUP', $orderd;
	told('RELOADING=1');
	told('READY=1');
	ok(-e $log, 'the log file is opened again');
	is($shop->call('order', 'GET', '/orders')->{status}, 200, 'the port stays');
	unlike(slurp_file($log), qr/answered 200/, 'the log level has changed');
	append_to_file("$directory/orderd.conf", "log-level = Loud\n");
	kill 'HUP', $orderd;
	$shop->until('it complains', sub { slurp_file($log) =~ /Configuration is faulty/ });
	is($shop->call('order', 'GET', '/health/live')->{status}, 200, 'and goes on as it was');
};

$shop->start(qw(inventory payment shipping notification access));
my $product = $shop->product(100);

subtest 'SIGTERM finishes what is in hand' => sub {
	my $lock = $shop->{node}->background_psql('shop');
	$lock->query_safe('BEGIN; LOCK ecommerce_order.idempotency IN EXCLUSIVE MODE');
	my $body = $shop->encode($shop->order_body($product, 1));
	my %credentials = $shop->credentials('order');
	my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$shop->{port}{order}")
	  // die "cannot connect: $!\n";
	print $socket "POST /orders HTTP/1.1\r\nHost: x\r\nIdempotency-Key: last\r\n"
	  . join('', map { "$_: $credentials{$_}\r\n" } sort keys %credentials)
	  . "Connection: close\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
	$socket->flush;
	$shop->until('the request waits', sub { $shop->sql(q{SELECT count(*) FROM pg_stat_activity
		WHERE application_name = 'orderd' AND wait_event_type = 'Lock'}) == 1 });
	kill 'TERM', $orderd;
	told('STOPPING=1');
	$shop->until('nothing more is accepted', sub {
		!IO::Socket::INET->new(PeerAddr => "127.0.0.1:$shop->{port}{order}") });
	$lock->quit;
	my $reply = do { local $/; <$socket> };
	like($reply, qr{^HTTP/1.1 202 }, 'the request in hand is answered');
	waitpid $orderd, 0;
	is($?, 0, 'exit status 0');
	delete $shop->{pid}{order};
};

subtest 'health' => sub {
	$shop->start('order');
	is_deeply($shop->call('notification', 'GET', '/health/ready')->{body}, { status => 'ok',
		checks => { database => { status => 'ok' }, bus => { status => 'ok' },
		mail => { status => 'ok' } } }, 'each dependency with its state');
	is($shop->call('payment', 'GET', '/health/ready')->{body}{checks}{provider}{status}, 'ok',
		'the provider too');
	my $version = $shop->sql("SELECT extversion FROM pg_extension WHERE extname = 'ecommerce'");
	for my $extension (qw(ecommerce ecommerce_payment))
	{
		my $set = "UPDATE pg_extension SET extversion = '%s' WHERE extname = '$extension'";
		$shop->sql(sprintf $set, '0.10');
		my $ready = $shop->call('payment', 'GET', '/health/ready');
		$shop->sql(sprintf $set, $version);
		is($ready->{status}, 503, "not ready with an older $extension");
		is( $ready->{body}{checks}{sql}{status},
			"$extension 0.10 is older than the daemon: type ALTER EXTENSION $extension UPDATE",
			'and says what to type');
	}
	my $newer = "UPDATE pg_extension SET extversion = '%s' WHERE extname = 'ecommerce_payment'";
	$shop->sql(sprintf $newer, '1.10');
	is($shop->call('payment', 'GET', '/health/ready')->{status}, 200, 'a newer one is upgraded to');
	$shop->sql(sprintf $newer, $version);
	$shop->{node}->stop('immediate');
	for my $service (qw(order notification))
	{
		my $ready = $shop->call($service, 'GET', '/health/ready');
		is($ready->{status}, 503, "$service is not ready without the database");
		is($ready->{body}{checks}{database}{status}, 'unreachable', 'and says why');
		is($shop->call($service, 'GET', '/health/live')->{status}, 200, 'but alive');
	}
	is($shop->call('notification', 'GET', '/notifications')->{status}, 503,
		'requests are refused');
	$shop->{node}->start;
	for my $service (@services)
	{
		$shop->until("$service is ready again", sub {
			$shop->call($service, 'GET', '/health/ready')->{status} == 200 });
	}
};

subtest 'every hop in logs and metrics' => sub {
	my $correlation = Shop::uuid();
	my $trace = '0af7651916cd43dd8448eb211c80319c';
	my $order = $shop->call('order', 'POST', '/orders', $shop->order_body($product, 1),
		'X-Correlation-Id' => $correlation,
		traceparent => "00-$trace-b7ad6b7169203331-01")->{body}{order_id};
	$shop->reaches($order, 'Confirmed');
	$shop->agrees('with a trace');
	my %hops = (inventory => 'ReserveInventory CommitReservation', payment => 'ProcessPayment',
		shipping => 'ArrangeShipment', notification => 'SendNotification');
	for my $service (sort keys %hops)
	{
		my @lines = grep { ($_->{CorrelationId} // '') eq $correlation }
		  map { decode_json($_) } split /\n/, slurp_file($shop->log_file($service));
		is(scalar(grep { !$_->{Service} || !$_->{MessageType} || $_->{'@tr'} ne $trace
			|| !$_->{'@sp'} || !$_->{'@t'} || !$_->{'@mt'} } @lines), 0,
			"$service: each line has service, message type, trace and span");
		for my $type (split ' ', $hops{$service})
		{
			my $said = "Processing message $type with correlation $correlation";
			ok((grep { $_->{'@m'} eq $said } @lines), "$service: $type is logged");
		}
		my $metrics = $shop->call($service, 'GET', '/metrics')->{body};
		like($metrics, qr/^messages_total\{type="$_",outcome="done"\} [1-9]/m, "$_ is counted")
		  for split ' ', $hops{$service};
		like($metrics, qr/^# TYPE $_->[0] $_->[1]$/m, "$service: $_->[0]")
		  for [ 'messages_total', 'counter' ], [ 'message_duration_seconds', 'histogram' ],
		  [ 'message_delay_seconds', 'histogram' ], [ 'consumer_connected', 'gauge' ],
		  [ 'database_connections', 'gauge' ], [ 'process_resident_memory_bytes', 'gauge' ];
	}
	my ($line) = grep { ($_->{CorrelationId} // '') eq $correlation }
	  map { decode_json($_) } split /\n/, slurp_file($shop->log_file('order'));
	is_deeply([ @$line{qw(Route Status Service @tr)} ], [ 'POST /orders', '202', 'orderd', $trace ],
		'the request is logged');
	like($shop->call('order', 'GET', '/metrics')->{body},
		qr{^http_requests_total\{method="POST",route="/orders",status="202"\} [1-9]}m,
		'and counted');
	like(slurp_file($shop->{node}->logfile), qr/created saga "order" with correlation $order: /,
		'the saga logs what it does');
};

$shop->stop;
done_testing();
