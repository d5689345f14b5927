# The console in a browser: every page with data and without, by keyboard alone, in light and
# dark, narrow and wide, with hostile data; under its content security policy, without a
# violation of WCAG that axe finds; what each role may do; what becomes of the page when the
# server goes away; and a film: a service is killed, somebody who only clicks finds the cause
# and mends it. console_pages.mjs drives the browser. Pictures are left beside the logs.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use HTTP::Tiny;
use IPC::Open2;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $json = JSON::PP->new->canonical->allow_nonref;
my $shop = Shop->new(name => 'console');
my $node = $shop->{node};
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $address = "http://127.0.0.1:$port";
my $http = HTTP::Tiny->new(timeout => 60);
my %password = map { $_ => 'secret-' . Shop::uuid() } qw(viewer monitor operator stranger);
my $console;

END
{
	if ($console)
	{
		local $?;
		kill 'TERM', $console;
		waitpid $console, 0;
	}
}

sub start_console
{
	my (@options) = @_;
	if ($console)
	{
		kill 'TERM', $console;
		waitpid $console, 0;
		is($?, 0, 'consoled stops on request');
	}
	$console = fork // die "cannot fork: $!\n";
	if ($console == 0)
	{
		delete @ENV{qw(PGUSER PGSERVICE)};
		exec($shop->program('console'), '--database=' . $node->connstr('shop')
			  . ' user=ecommerce_console', "--port=$port", '--log-file='
			  . $shop->log_file('console'), @options) or die "cannot run consoled: $!\n";
	}
	$shop->until('consoled is ready', sub { $http->get("$address/health/ready")->{status} == 200 });
	return;
}

# Logs in; returns the headers that go with every request, or the status.
sub log_in
{
	my ($role, $word) = @_;
	my $reply = $http->post("$address/api/log-in", { headers => { 'Content-Type' =>
		'application/json' }, content => $json->encode({ role => $role, password => $word }) });
	return $reply if $reply->{status} != 200;
	my ($cookie) = $reply->{headers}{'set-cookie'} =~
	  /^([^;]+); Path=\/; HttpOnly; SameSite=Strict$/;
	return { Cookie => $cookie, 'X-CSRF-Token' => $json->decode($reply->{content})->{csrf} };
}

sub act
{
	my ($who, $action, $body) = @_;
	return $http->post("$address/api/$action", { headers => { %$who, 'Content-Type' =>
		'application/json' }, content => $json->encode($body) });
}

# Who may log in with a password, and by what else he is somebody.
$node->safe_psql('shop', "CREATE ROLE ecommerce_console LOGIN IN ROLE ecommerce_monitor;
	SET password_encryption = 'scram-sha-256';
	CREATE ROLE viewer LOGIN IN ROLE ecommerce_reader PASSWORD '$password{viewer}';
	CREATE ROLE monitor LOGIN IN ROLE ecommerce_monitor PASSWORD '$password{monitor}';
	CREATE ROLE operator LOGIN IN ROLE ecommerce_admin PASSWORD '$password{operator}';
	CREATE ROLE stranger LOGIN PASSWORD '$password{stranger}'");
my $hba = $node->data_dir . '/pg_hba.conf';
my $before = slurp_file($hba);
unlink $hba;
append_to_file($hba, "local all viewer,monitor,operator,stranger scram-sha-256\n$before");
$node->reload;
$shop->start;
start_console();

subtest 'who is let in' => sub {
	is(log_in('viewer', 'wrong')->{status}, 401, 'not with a wrong password');
	is(log_in('nobody', 'wrong')->{status}, 401, 'nor without a role');
	my $trusted = log_in('postgres', 'anything');
	is($trusted->{status}, 401, 'nor whom the server asks for no password');
	like($trusted->{content}, qr/does not ask this role for a password/, 'and it says so');
	is($http->get("$address/api/endpoints")->{status}, 401, 'without a cookie nothing is shown');
	my $viewer = log_in('viewer', $password{viewer});
	is($http->get("$address/api/endpoints", { headers => $viewer })->{status}, 200, 'with one');
	is(act($viewer, 'pause-endpoint', { endpoint => 'payment' })->{status}, 403,
		'nothing is done without --actions');
	$http->post("$address/api/log-out", { headers => { %$viewer, 'Content-Type' =>
		'application/json' }, content => '{}' });
	is($http->get("$address/api/endpoints", { headers => $viewer })->{status}, 401,
		'and nothing after logging out');
};

start_console('--actions', '--pool-size=1');
my %who = map { $_ => log_in($_, $password{$_}) } keys %password;

# Each action once as everybody: what is no right of the role is refused by the server.
subtest 'roles and actions' => sub {
	my $none = Shop::uuid();
	my %body = (
		redrive => { filter => { endpoint => 'payment' } },
		'redrive-one' => { message_id => $none, endpoint => 'payment' },
		discard => { filter => { endpoint => 'payment' } },
		cancel => { message_id => $none, endpoint => 'payment' },
		'retry-now' => { endpoint => 'payment' },
		purge => { endpoint => 'payment', filter => { message_type => 'Nothing' } },
		'pause-endpoint' => { endpoint => 'payment' },
		'resume-endpoint' => { endpoint => 'payment' },
		'reset-breaker' => { endpoint => 'payment', message_type => 'Nothing' },
		'pause-projection' => { name => 'order_summary' },
		'resume-projection' => { name => 'order_summary' },
		'skip-event' => { name => 'order_summary', position => 1 },
		'rebuild-projection' => { name => 'order_summary' },
		'reset-subscription' => { name => 'nobody', position => 0 },
		'retry-saga' => { saga => 'order', id => $none },
		'cancel-saga' => { saga => 'order', id => $none },
		'goto-saga' => { saga => 'order', id => $none, state => 'Cancelled' },
		'migrate-saga' => { saga => 'order', id => $none, version => 1 },
		'set-patience' => { saga => 'order', state => 'Confirmed', longest => '30 days' });
	my $table = slurp_file("$FindBin::RealBin/../services/console/actions.c");
	my @actions = $table =~ /\bACTION\("([\w-]+)"/g;

	is_deeply([ grep { !$body{$_} && $_ ne 'send' } @actions ], [], 'none is forgotten');
	for my $action (sort keys %body)
	{
		for my $role (qw(viewer monitor stranger))
		{
			is(act($who{$role}, $action, $body{$action})->{status}, 403, "$role may not $action");
		}
		my $reply = act($who{operator}, $action, $body{$action});
		ok( $reply->{status} == 200
			  || $reply->{status} == 422 && $reply->{content} !~ /"sqlstate":"42/,
			"operator may $action") or diag($reply->{content});
		my %forged = (%{ $who{operator} }, 'X-CSRF-Token' => $who{viewer}{'X-CSRF-Token'});
		is(act(\%forged, $action, $body{$action})->{status}, 403, 'but not another page for him');
	}
	my ($acted) = $node->safe_psql('shop', "SELECT count(*) FROM
		event_store.read_stream('console-operator') WHERE event_type = 'OperatorActed'
			AND data ->> 'action' = 'pause-endpoint'");
	is($acted, 1, 'who acted is recorded');
	is($node->safe_psql('shop', "SELECT count(*) FROM event_store.streams
		WHERE category = 'console'"), 1, 'what was refused is not');
};

subtest 'what can be looked at' => sub {
	my $table = slurp_file("$FindBin::RealBin/../services/console/resources.c");
	my @resources = $table =~ /^\t\{"([\w-]+)", "(?!body)/mg;

	ok(@resources > 30, 'there are many');
	for my $resource (grep { !/^verify/ } @resources)
	{
		my $reply = $http->get("$address/api/$resource", { headers => $who{stranger} });
		ok($reply->{status} =~ /^(?:403|404|422)$/, "$resource is not for strangers")
		  or diag($reply->{status} . $reply->{content});
	}
	is($http->get("$address/api/$_", { headers => $who{stranger} })->{status}, 403,
		"$_: what the daemon sees is not for strangers either") for qw(live samples);
	is($http->get("$address/api/endpoints?nothing=1", { headers => $who{viewer} })->{status}, 422,
		'an unknown parameter is refused');
	like($http->get("$address/metrics")->{content}, qr/^ecommerce_console_up 1$/m, '/metrics');
};

# A day's work: orders that go well and not, dead letters.
my $product = $shop->product(1000);
my @orders = map { $shop->order($product, 1 + $_ % 3, token => $_ % 5 ? 'tok_ok' : 'tok_declined') }
  1 .. 12;
$shop->reaches($orders[0], 'Confirmed');
$node->safe_psql('shop', slurp_file("$FindBin::RealBin/console_data.sql"));
my $correlation = $node->safe_psql('shop', "SELECT metadata ->> 'correlation_id'
	FROM event_store.read_stream('order-$orders[0]', 1, 1)");

# The browser tells what it found as lines of TAP, and asks for what only we can do.
my $pictures = "$ENV{TESTLOGDIR}/console_pictures";
mkdir $pictures;
my $pid = open2(my $out, my $in, 'node', "$FindBin::RealBin/console_pages.mjs");
print $in $json->encode({ address => $address, password => \%password, order => $orders[0],
	story => $correlation, pictures => $pictures,
	profile => PostgreSQL::Test::Utils::tempdir() }), "\n";
$in->flush;

my %duties = (
	'hostile data' => sub {
		$node->safe_psql('shop', slurp_file("$FindBin::RealBin/console_hostile.sql"));
	},
	'stop server' => sub { $node->stop('fast') },
	'start server' => sub { $node->start },
	'kill payment' => sub { $shop->kill_daemon('payment', 'KILL') },
	'start payment' => sub { $shop->start('payment') },
	'order' => sub { push @orders, $shop->order($product, 1) },
	'break payment' => sub {
		$node->safe_psql('shop', 'ALTER TABLE ecommerce_payment.payment
			ADD CONSTRAINT broken CHECK (amount < 0) NOT VALID');
	},
	'mend payment' => sub {
		$node->safe_psql('shop', 'ALTER TABLE ecommerce_payment.payment DROP CONSTRAINT broken');
	},
	'books agree' => sub {
		$shop->reaches($_, 'Confirmed') for @orders[ -3 .. -1 ];
		my $last = join("', '", @orders[ -3 .. -1 ]);
		is($node->safe_psql('shop', "SELECT count(*) FROM ecommerce_payment.payment
			WHERE status = 'captured' AND order_id IN ('$last')"), 3, 'each was paid once');
	},
	'expire viewer' => sub {
		$node->safe_psql('shop', "ALTER ROLE viewer VALID UNTIL '2000-01-01'");
		$node->safe_psql('shop', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE usename = 'viewer'");
	});
while (my $line = <$out>)
{
	chomp $line;
	if ($line =~ /^(not )?ok (.*)/) { ok(!$1, $2) }
	elsif ($line =~ /^do (.*)/)
	{
		$duties{$1}->();
		print $in "done\n";
		$in->flush;
	}
	else { diag($line) }
}
waitpid $pid, 0;
is($?, 0, 'the browser ran to its end');
start_console();
done_testing();
