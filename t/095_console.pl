# The console: who is let in, what each role may do, and that this is what psql lets it do; in a
# browser under its content security policy with hostile data, by keyboard alone, behind the
# gateway; what becomes of the page when the server, the console or the network go away.
# console_pages.mjs drives the browser; 135_console_pages.pl looks at each page.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Console;
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $json = JSON::PP->new->canonical->allow_nonref;
my $shop = Shop->new(name => 'console');
my $node = $shop->{node};
my %groups = (viewer => 'ecommerce_reader', monitor => 'ecommerce_monitor',
	operator => 'ecommerce_admin', writer => 'ecommerce_writer', stranger => '',
	shipper => 'ecommerce_shipping', forgetful => 'ecommerce_reader');
my $console = Console->new($shop, %groups);
my $http = $console->{http};
$shop->start;
$console->start;

subtest 'who is let in' => sub {
	is($console->log_in('viewer', 'wrong')->{status}, 401, 'not with a wrong password');
	is($console->log_in('nobody', 'wrong')->{status}, 401, 'nor without a role');
	my $trusted = $console->log_in($node->safe_psql('shop', 'SELECT current_user'), 'anything');
	is($trusted->{status}, 401, 'nor whom the server asks for no password');
	like($trusted->{content}, qr/does not ask this role for a password/, 'and it says so');
	is($console->get(undef, 'api/endpoints')->{status}, 401, 'without a cookie nothing is shown');
	my $viewer = $console->log_in('viewer');
	is($console->get($viewer, 'api/endpoints')->{status}, 200, 'with one');
	is($console->post($viewer, 'pause-endpoint', { endpoint => 'payment' })->{status}, 403,
		'nothing is done without --actions');
	$console->post($viewer, 'log-out', {});
	is($console->get($viewer, 'api/endpoints')->{status}, 401, 'and nothing after logging out');
};

subtest 'wrong passwords' => sub {
	my @told = map { $console->log_in('forgetful', 'wrong')->{status} } 1 .. 3;
	is_deeply(\@told, [ 401, 401, 401 ], 'one may be wrong three times');
	my $refused = $console->log_in('forgetful');
	is($refused->{status}, 429, 'then one waits, even with the right one');
	like($refused->{headers}{'retry-after'}, qr/^[1-9]\d?$/, 'and is told how long');
	like(slurp_file($shop->log_file('console')), qr/forgetful was not let in from 127\.0\.0\.1/,
		'the log says who tried');
	is(ref $console->log_in('viewer'), 'HASH', 'others do not wait');
	my $elsewhere = HTTP::Tiny->new(local_address => '127.0.0.2');
	my $let_in = $console->log_in('forgetful', undef, $elsewhere);
	ok($let_in->{Cookie}, 'nor does he elsewhere, where nobody was wrong');
	ok($shop->until('the wait is over', sub { $console->log_in('forgetful')->{Cookie} }),
		'he is let in when the time is over');
	is($console->log_in('forgetful', 'wrong')->{status}, 401, 'and has all tries again');
};

$console->start('--actions', '--pool-size=1');
my %who = map { $_ => $console->log_in($_) } keys %groups;

# Each action once as everybody, and the same by psql: the console lets a role do what the
# server lets it do, and nothing else.
subtest 'roles and actions' => sub {
	my $none = Shop::uuid();
	my $everything = q('{"endpoint": "payment"}');
	my $superuser = $node->background_psql('shop');
	my $pid = $superuser->query_safe('BEGIN; SELECT pg_backend_pid()');
	my %case = (
		redrive => [ { filter => { endpoint => 'payment' } },
			"SELECT message_bus.redrive_matching($everything)" ],
		'redrive-one' => [ { message_id => $none, endpoint => 'payment' },
			"SELECT message_bus.redrive('$none'::uuid, NULL::jsonb, 'payment')" ],
		discard => [ { filter => { endpoint => 'payment' } },
			"SELECT message_bus.discard_matching($everything)" ],
		cancel => [ { message_id => $none, endpoint => 'payment' },
			"SELECT message_bus.cancel('$none', 'payment')" ],
		'retry-now' => [ { endpoint => 'payment' }, q(SELECT message_bus.retry_now('payment')) ],
		purge => [ { endpoint => 'payment', filter => { message_type => 'Nothing' } },
			q(SELECT message_bus.purge('payment', '{"message_type": "Nothing"}')) ],
		'pause-endpoint' => [ { endpoint => 'payment' }, q(SELECT message_bus.pause('payment')) ],
		'resume-endpoint' => [ { endpoint => 'payment' },
			q(SELECT message_bus.resume('payment')) ],
		'reset-breaker' => [ { endpoint => 'payment', message_type => 'Nothing' },
			q(SELECT message_bus.reset_breaker('payment', 'Nothing')) ],
		send => [ { endpoint => 'spare', message_type => 'Nothing', body => {} },
			q(SELECT message_bus.send('spare', 'Nothing', '{}')) ],
		'pause-projection' => [ { name => 'order_summary' },
			q(SELECT event_store.pause_projection('order_summary')) ],
		'resume-projection' => [ { name => 'order_summary' },
			q(SELECT event_store.resume_projection('order_summary')) ],
		'skip-event' => [ { name => 'order_summary', position => 1 },
			q(SELECT event_store.skip_event('order_summary', 1)) ],
		'rebuild-projection' => [ { name => 'order_summary' },
			q(SELECT event_store.rebuild_projection('order_summary')) ],
		'reset-subscription' => [ { name => 'nobody', position => 0 },
			q(SELECT event_store.reset_subscription('nobody', 0)) ],
		'replay-parked' => [ { name => 'nobody', position => 1 },
			q(SELECT event_store.replay_parked('nobody', 1)) ],
		'end-session' => [ { pid => $pid, since => since($pid) },
			"SELECT pg_terminate_backend($pid)" ],
		(map {
			my $schema = $_ eq 'sink' ? 'event_store' : 'message_bus';
			("pause-$_" => [ { name => 'nobody' }, "SELECT $schema.pause_$_('nobody')" ],
				"resume-$_" => [ { name => 'nobody' }, "SELECT $schema.resume_$_('nobody')" ]) }
		  qw(link bridge sink)),
		'retry-saga' => [ { saga => 'order', id => $none },
			"SELECT saga.retry('order', '$none')" ],
		'cancel-saga' => [ { saga => 'order', id => $none },
			"SELECT saga.cancel('order', '$none', NULL)" ],
		'goto-saga' => [ { saga => 'order', id => $none, state => 'Cancelled' },
			"SELECT saga.goto('order', '$none', 'Cancelled', NULL)" ],
		'migrate-saga' => [ { saga => 'order', id => $none, version => 1 },
			"SELECT saga.migrate('order', '$none'::uuid, 1)" ],
		'set-patience' => [ { saga => 'order', state => 'Confirmed', longest => '30 days' },
			q(SELECT saga.set_patience('order', 'Confirmed', '30 days')) ],
		# what takes a body and changes nothing
		check => [ { message_type => 'Nothing', body => {} },
			q(SELECT event_store.check_data('Nothing', '{}', NULL)) ],
		simulate => [ { saga => 'order', scenario => {}, schedules => 1 },
			q(SELECT saga.simulate('order', '{}', 1, 0)) ]);
	my %table = map { $_ => slurp_file("$FindBin::RealBin/../services/console/$_.c") }
	  qw(actions resources);
	my @posts = ($table{actions} =~ /\bACTION\("([\w-]+)"/g,
		$table{resources} =~ /^\t\{"([\w-]+)", "body/mg);

	is_deeply([ sort @posts ], [ sort keys %case ], 'each POST is tried');
	$shop->sql(q(SELECT message_bus.create_endpoint('spare')));
	for my $role (sort keys %groups)
	{
		my %told = psql_says($role, \%case);

		for my $action (sort keys %case)
		{
			my $may = $told{$action} ne '42501';
			my $reply = $console->post($who{$role}, $action, $case{$action}[0]);
			my $did = $reply->{status} == 200
			  || $reply->{status} == 422 && $reply->{content} !~ /"sqlstate":"42501/;

			ok($may ? $did : $reply->{status} == 403, sprintf '%s %s %s, as in psql', $role,
				$may ? 'may' : 'may not', $action) or diag("$told{$action} $reply->{content}");
		}
	}
	for my $action (sort keys %case)
	{
		my %forged = (%{ $who{operator} }, 'X-CSRF-Token' => $who{viewer}{'X-CSRF-Token'});
		is($console->post(\%forged, $action, $case{$action}[0])->{status}, 403,
			"a page of somebody else's may not $action for him");
	}
	my ($acted) = $node->safe_psql('shop', "SELECT count(*) FROM
		event_store.read_stream('console-operator') WHERE event_type = 'OperatorActed'
			AND data ->> 'action' = 'pause-endpoint'");
	is($acted, 1, 'who acted is recorded');
	is($node->safe_psql('shop', "SELECT string_agg(DISTINCT stream || ' ' || (data ->> 'action'),
		', ') FROM event_store.read_all(0, 1000, 'console') WHERE stream <> 'console-operator'"),
		'console-shipper send, console-writer send', 'what was refused is not');
	$superuser->quit;
};

# When a session's transaction began, exactly.
sub since
{
	my ($pid) = @_;
	return $shop->sql("SELECT to_json(xact_start) #>> '{}' FROM ecommerce._sessions()
		WHERE pid = $pid");
}

subtest 'a session in the way' => sub {
	local $ENV{PGPASSWORD} = $console->{password}{writer};
	my $held = $node->background_psql('shop', extra_params => [ '-U', 'writer' ]);
	my $pid = $held->query_safe('BEGIN; SELECT pg_backend_pid()');
	my $since = since($pid);
	my $end = sub {
		$console->post($who{operator}, 'end-session', { pid => $pid, since => $_[0] }) };

	is($end->($since)->{status}, 403, 'is not for whoever may not signal in psql');
	$shop->sql('GRANT pg_signal_backend TO operator');
	is($end->('2000-01-01')->{content}, '[]', 'one that has gone on is left alone');
	like($end->($since)->{content}, qr/^\[\{"result" ?: ?"ended"\}\]$/, 'he who may ends it');
	is($shop->sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"), 0, 'it is gone');
	$held->{run}->kill_kill;
	$shop->sql('REVOKE pg_signal_backend FROM operator');
};

# Action => SQLSTATE of what psql makes of its statement as that role; all is taken back.
sub psql_says
{
	my ($role, $case) = @_;
	local $ENV{PGPASSWORD} = $console->{password}{$role};
	my ($code, $out) = $node->psql('shop', join('', map {
		"BEGIN; $case->{$_}[1] \\g /dev/null\n\\echo $_ :SQLSTATE\nROLLBACK;\n" } sort keys %$case),
		on_error_stop => 0, extra_params => [ '-U', $role ]);
	return map { split / / } split /\n/, $out;
}

subtest 'what can be looked at' => sub {
	my $table = slurp_file("$FindBin::RealBin/../services/console/resources.c");
	my @resources = $table =~ /^\t\{"([\w-]+)", "(?!body)/mg;

	ok(@resources > 30, 'there are many');
	for my $resource (grep { !/^verify/ } @resources)
	{
		my $reply = $console->get($who{stranger}, "api/$resource");
		ok($reply->{status} =~ /^(?:403|404|422)$/, "$resource is not for strangers")
		  or diag($reply->{status} . $reply->{content});
	}
	is($console->get($who{stranger}, "api/$_")->{status}, 403,
		"$_: what the daemon sees is not for strangers either") for qw(live samples);
	is($console->get($who{viewer}, 'api/endpoints?nothing=1')->{status}, 422,
		'an unknown parameter is refused');
	like($console->get(undef, 'metrics')->{content}, qr/^ecommerce_console_up 1$/m, '/metrics');
};

# An order, dead letters, an event that was put aside.
my $order = $shop->order($shop->product(1000), 1);
$node->safe_psql('shop', slurp_file("$FindBin::RealBin/console_data.sql"));

# Who may see how much there is sees it on every page that tells it, and nothing that is stored.
for my $path ('endpoint?endpoint=payment', "story?id=$order", 'saga-diagram?saga=order',
	"saga-instance?saga=order&id=$order", 'health', 'carriers', 'sizes', 'subscriptions',
	'projections', 'dead')
{
	my $reply = $console->get($who{monitor}, "api/$path");
	is($reply->{status}, 200, "a monitor sees $path") or diag($reply->{content});
}
{
	my $holder = $node->background_psql('shop');
	$holder->query_safe('BEGIN; LOCK TABLE event_store.stored_event, message_bus.ring_1');
	is($console->get($who{monitor}, 'api/health')->{status}, 200,
		'who has locked tables does not hide it');
	my $reply = $console->get($who{monitor}, 'api/sizes');
	is($reply->{status}, 503, 'though sizes wait for them');
	like($reply->{content}, qr/locked what this needs/, 'which is said');
	$holder->quit;
}
my $instance = "api/saga-instance?saga=order&id=$order";
$shop->until('the saga has begun', sub {
	$json->decode($console->get($who{viewer}, $instance)->{content})->{instance}{data} });
is($json->decode($console->get($who{monitor}, $instance)->{content})->{instance}{data}, undef,
	'but not what an instance holds');

# What a saga has sent is handled; it has gone on since, without an answer.
my $errand = Shop::uuid();
$node->safe_psql('shop', slurp_file("$FindBin::RealBin/console_errand.sql"));
errand_hears('ErrandBegun');
my $handled = 0;
$shop->until('what it has sent is handled', sub { 3 == ($handled += $shop->sql(q(SELECT coalesce(
	message_bus.ack(VARIADIC array_agg(delivery_id)), 0) FROM message_bus.receive('desk')))) });
errand_hears('Nudged');

sub errand_hears
{
	my ($type) = @_;
	my $version = "SELECT coalesce(max(version), 0) FROM saga.instances
		WHERE correlation_id = '$errand'";
	my $before = $shop->sql($version);

	$shop->sql("BEGIN; SELECT ecommerce.set_context('$errand');
		SELECT message_bus.publish('$type', '{}'); COMMIT");
	$shop->until("it hears $type", sub { $shop->sql($version) > $before });
	return;
}

# Behind the gateway, where that was asked for.
my $render = "$FindBin::RealBin/../services/gateway/render";
$shop->start_gateway($render);
is($shop->call('gateway', 'GET', '/console/')->{status}, 404, 'the gateway has no console');
$shop->stop_gateway;
$shop->start_gateway($render, GATEWAY_CONSOLED => "127.0.0.1:$console->{port}");
for my $path ('metrics', 'health/ready', 'nothing')
{
	is($shop->call('gateway', 'GET', "/console/$path")->{status}, 404,
		"with one, its /$path stays inside");
}
is($shop->call('gateway', 'GET', '/console/api/endpoints', undef, Authorization => undef)->{status},
	401, 'and a key is no way in');
is($shop->call('gateway', 'GET', '/console')->{status}, 200, '/console leads there');

$console->browse('console_pages.mjs',
	{ gateway => "http://127.0.0.1:$shop->{port}{gateway}", errand => $errand },
	'tell the errand' => sub { errand_hears('Told'); return },
	'hostile data' => sub {
		$node->safe_psql('shop', slurp_file("$FindBin::RealBin/console_hostile.sql"));
		return;
	},
	'stop server' => sub { $node->stop('fast'); return },
	'start server' => sub { $node->start; return },
	'stop console' => sub { kill 'STOP', $console->{pid}; return },
	'continue console' => sub { kill 'CONT', $console->{pid}; return },
	'expire viewer' => sub {
		$node->safe_psql('shop', "ALTER ROLE viewer VALID UNTIL '2000-01-01'");
		$node->safe_psql('shop', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE usename = 'viewer'");
		return;
	});
$shop->stop_gateway;
$console->stop;
done_testing();
