# Wake-up: notifications come from the worker, at most one per channel and interval,
# for every category that has something new although another one is held back; wait
# wakes at once, holds no snapshot, can be cancelled, and is refused in a transaction.
use strict;
use warnings;

use EventStress qw(poll);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
log_statement = none
autovacuum = off
EOT
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');
my $worker_is = "pid IN (SELECT pid FROM pg_stat_activity WHERE backend_type = 'ecommerce worker')";
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE $worker_is")
  or die 'no worker';
my $worker = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $worker_is");

sub append_to
{
	my ($stream, $session) = @_;
	my $sql = qq{SELECT "position" FROM event_store.append('$stream', -1, 'Happened', '{}')};

	return $session ? $session->query_safe($sql) : $node->safe_psql('postgres', $sql);
}

# A session that listens, and all that it was notified of so far: [channel, payload, pid].
sub listen_to
{
	my (@channels) = @_;
	my $session = $node->background_psql('postgres');

	$session->query_safe("LISTEN \"$_\"") for @channels;
	return { session => $session, got => [] };
}

sub received
{
	my ($listener) = @_;
	my $output = $listener->{session}->query_safe('SELECT 1');

	push @{ $listener->{got} }, [ $1, $2, $3 ]
	  while $output =~ /notification "([^"]+)" with payload "([^"]*)" .* PID (\d+)/g;
	return @{ $listener->{got} };
}

sub is_told
{
	my ($listener, $channel, $payload, $what) = @_;
	ok(poll { grep { $_->[0] eq $channel && $_->[1] >= $payload } received($listener) }, $what);
	return;
}

# --- LISTEN
my $listener = listen_to('event_store', 'event_store.order', 'event_store.payment');
my $position = append_to('order-1');
is_told($listener, 'event_store', $position, 'LISTEN event_store');
is_told($listener, 'event_store.order', $position, 'LISTEN to a category');
my @got = received($listener);
is_deeply([ map { $_->[0] } grep { $_->[0] eq 'event_store.payment' } @got ],
	[], 'another category is not notified');
is_deeply([ grep { $_->[2] != $worker } @got ], [], 'all of it comes from the worker');

my $long = 'category with a name that is so long that no channel can carry it';
my $channel = $node->safe_psql('postgres', "SELECT event_store.channel('$long')");
my $long_listener = listen_to($channel);
is_told($long_listener, $channel, append_to("$long-1"),
	'the channel of a category with a long name');
$long_listener->{session}->quit;

# --- the bus
# The worker is not woken for each message of an endpoint that it is to tell of anyway.
my $script = "$PostgreSQL::Test::Utils::tmp_check/burst.sql";
append_to_file($script, <<'EOT');
\set pause random(0, 12000)
SELECT message_bus.send('q', 'T', '{}');
\sleep :pause us
EOT
$node->safe_psql('postgres', q{SELECT message_bus.create_endpoint('q')});
my $bus_listener = listen_to('message_bus.q');
my $heard = 0;
for my $burst (1 .. 30)
{
	run_command([ 'pgbench', '-n', '-c', 4, '-t', 5, '-f', $script, $node->connstr('postgres') ]);
	$heard += poll { grep { $_->[1] == 20 * $burst } received($bus_listener) };
}
is($heard, 30, 'however many send at once, the last that is heard is all there is');
$bus_listener->{session}->quit;

# --- one category held back
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN');
my $held = append_to('order-1', $holder);
$position = append_to('payment-1');
is_told($listener, 'event_store.payment', $position,
	'a category is notified while another one is held back');
is($node->safe_psql('postgres', 'SELECT event_store.high_water_mark()'), $held - 1,
	'the whole store is held back');
is($node->safe_psql('postgres', "SELECT event_store.high_water_mark('order')"), $held - 1,
	'so is its category');
cmp_ok($node->safe_psql('postgres', "SELECT event_store.high_water_mark('payment')"),
	'>=', $position, 'the other is not');
is( $node->safe_psql('postgres', "SELECT pid IN (SELECT pid FROM pg_stat_activity
	WHERE state = 'idle in transaction'),
		lowest_position, category FROM event_store.appenders"),
	"t|$held|order", 'appenders shows who does it');

# In flight when the worker last looked, and committed later.
my $late = $node->background_psql('postgres');
$late->query_safe('BEGIN');
my $late_position = append_to('payment-2', $late);
is_told($listener, 'event_store.payment', $position, 'before');
my $shipping_listener = listen_to('event_store.shipping');
$position = append_to('shipping-1');
is_told($shipping_listener, 'event_store.shipping', $position, 'a category that is new meanwhile');
$late->query_safe('COMMIT');
is_told($listener, 'event_store.payment', $late_position,
	'a category whose events committed after later ones');
$late->quit;
is_deeply([ grep { $_->[0] eq 'event_store' && $_->[1] >= $held } received($listener) ],
	[], 'nobody is told of a mark that is not reached');
$holder->query_safe('ROLLBACK');
is_told($listener, 'event_store', $position, 'the rollback of what held it back is told');
$shipping_listener->{session}->quit;
$listener->{session}->quit;

# --- how often
my $interval = 250;
$node->append_conf('postgresql.conf', "event_store.notify_interval = $interval");
$node->reload;
$node->poll_query_until('postgres', "SELECT setting = '$interval' FROM pg_settings
	WHERE name = 'event_store.notify_interval'");
append_to('order-1');
my $busy = listen_to('event_store', 'event_store.order');
my $started = time;
$node->command_ok(
	[
		'pgbench', '-n', '-c', 4, '-t', 500,
		'-f', EventStress::write_file($node->basedir . '/burst.sql',
			# What wakes the worker for another reason is none to tell of anything.
			"\\set wake random(1, 20)\n\\if :wake = 1\nSELECT pg_reload_conf();\n\\endif\n"
			  . "SELECT event_store.append('order-' || :client_id, -1, 'Happened', '{}');\n"),
		$node->connstr('postgres') ],
	'a burst of 2000 appends');
my $mark = $node->safe_psql('postgres', 'SELECT event_store.high_water_mark()');
is_told($busy, 'event_store', $mark, 'its end is notified');
is_told($busy, 'event_store.order', $mark, 'on the channel of its category too');
my $most = int((time() - $started) * 1000 / $interval) + 2;
for my $name ('event_store', 'event_store.order')
{
	my @times = grep { $_->[0] eq $name } received($busy);
	cmp_ok(scalar @times, '<=', $most, "on channel $name at most one notification per interval");
}
$busy->{session}->quit;
$node->append_conf('postgresql.conf', 'event_store.notify_interval = 10');
$node->reload;

# --- wait
# Starts a session that waits for what comes after $mark; returns when it sleeps.
sub start_waiter
{
	my ($arguments) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $it = "wait_event_type = 'Extension'
		AND query LIKE \$q\$CALL event_store.wait($arguments)%\$q\$";

	# The first statement: a session that has been idle has a timer that ends a sleep
	# after 10 seconds.
	$session->{stdin} .= "CALL event_store.wait($arguments);\n\\echo returned\n";
	$session->{run}->pump_nb;
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE $it")
	  or die 'the waiter does not sleep';
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $it");
	return ($session, $pid);
}

$mark = $node->safe_psql('postgres', 'SELECT event_store.high_water_mark()');
my ($waiter, $pid) = start_waiter("$mark, '1 hour'");
is($node->safe_psql('postgres', "SELECT backend_xmin IS NULL AND backend_xid IS NULL
	FROM pg_stat_activity WHERE pid = $pid"),
	't', 'a waiter holds no snapshot');
my ($other, $other_pid) = start_waiter("$mark, '1 hour', 'refund'");
my ($of_stream) = start_waiter("$mark, '1 hour', NULL, 'order-9'");
$position = append_to('order-8');
is($waiter->query_until(qr/returned/, ''), "$position\nreturned\n", 'wait returns the new mark');
$position = append_to('refund-1');
is($other->query_until(qr/returned/, ''), "$position\nreturned\n",
	'wait for a category returns for it, not for another');
$position = append_to('order-9');
is($of_stream->query_until(qr/returned/, ''), "$position\nreturned\n",
	'wait for a stream returns for it, not for another');
$_->quit for $waiter, $other, $of_stream;

($waiter, $pid) = start_waiter("$position, '1 hour'");
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
$waiter->query_until(qr/returned/, '');
like($waiter->{stderr}, qr/canceling statement due to user request/, 'wait can be cancelled');
is($waiter->query('SELECT 1'), '1', 'and the session goes on');
# It listens no more, else this would be twice at a time.
$waiter->{stdin} .= "CALL event_store.wait($position, '1 hour');\n\\echo returned\n";
$waiter->{run}->pump_nb;
$node->poll_query_until('postgres',
	"SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid")
  or die 'the waiter does not sleep';
$position = append_to('order-1');
is($waiter->query_until(qr/returned/, ''), "$position\nreturned\n", 'it can wait again');
$waiter->quit;

# A reader of events has nothing to read after a deletion or a rollback, though the mark has moved.
$node->safe_psql('postgres', q{
	SELECT event_store.append('gone-1', 0, 'A', '{}');
	SELECT event_store.delete_stream('gone-1', 1);
	BEGIN; SELECT event_store.append('gone-2', 0, 'A', '{}'); ROLLBACK});
($waiter, $pid) = start_waiter("$position, '1 hour'");
$node->safe_psql('postgres', "SELECT event_store.delete_stream('order-9', -1)");
is( $node->safe_psql('postgres', "SELECT event_store.high_water_mark() > $position
	AND (SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid) = 'Extension'"),
	't', 'wait sleeps on when a stream is deleted');
$position = append_to('order-10');
is($waiter->query_until(qr/returned/, ''), "$position\nreturned\n", 'and is ended by an event');
$waiter->quit;

# What is held back is waited for, and its rollback lets later events through.
$holder->query_safe('BEGIN');
$held = append_to('order-1', $holder);
$position = append_to('order-2');
($waiter, $pid) = start_waiter(($held - 1) . ", '1 hour'");
$holder->query_safe('ROLLBACK');
is($waiter->query_until(qr/returned/, ''), "$position\nreturned\n",
	'a rollback that lifts the mark wakes');
$waiter->quit;
$holder->quit;

$started = time;
is($node->safe_psql('postgres', "CALL event_store.wait($position, '200 ms')"), $position,
	'at the timeout it returns the mark');
cmp_ok(time() - $started, '>=', 0.2, 'not earlier');
my $call = "DECLARE m bigint; BEGIN CALL event_store.wait(0, '1 s', NULL, NULL, m); END";
$node->safe_psql('postgres', "CREATE FUNCTION waits() RETURNS void LANGUAGE plpgsql
	AS \$\$ $call \$\$");
for my $block ("BEGIN; CALL event_store.wait(0, '1 s'); COMMIT", "BEGIN; DO \$\$ $call \$\$;
	COMMIT", 'SELECT waits()')
{
	my ($status, $stdout, $stderr) = $node->psql('postgres', $block, extra_params => [ '-v',
		'VERBOSITY=verbose' ]);
	like($stderr, qr/ERROR:  25001: .*HINT:  CALL it on its own/s, "refused: $block");
}

# --- idle
# What a sleeping process costs: how often it gave up the processor.
sub switches
{
	my (@pids) = @_;
	return join ' ',
		map { slurp_file("/proc/$_/status") =~ /^voluntary_ctxt_switches:\s*(\d+)/m } @pids;
}
my @processes = split /\n/, $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity
	WHERE backend_type LIKE 'ecommerce%'");
is(scalar @processes, 2, 'launcher and worker are there');
($waiter, $pid) = start_waiter("$position, '1 hour'");
push @processes, $pid;
$node->poll_query_until('postgres',
	'SELECT event_store.published_mark() = event_store.high_water_mark()');
# What the tests before have left to do is over when nothing happens for a while: the
# last statistics are sent up to 10 s later.
my ($before, $quiet) = ('', 0);
poll {
	my $now = switches(@processes);

	$quiet = $now eq $before ? $quiet + 1 : 0;
	$before = $now;
	$quiet == 130
};
$node->safe_psql('postgres', 'SELECT pg_sleep(10)');
is(switches(@processes), $before, 'in 10 idle seconds none wakes up, nor does who waits');
$position = append_to('order-1');
is($waiter->query_until(qr/returned/, ''), "$position\nreturned\n",
	'so that it is the append that wakes him');
$waiter->quit;
$node->stop;
done_testing();
