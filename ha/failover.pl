# Leaders die under load, and Patroni makes others: what was acknowledged is there, once,
# in the order of its key; what anybody has seen is there too; daemons find the new leader.
# HA_KILLS: how many leaders, 4. HA_SYNCHRONOUS=off loses, and must be found out.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use HaCluster;
use HTTP::Tiny;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;
use Time::HiRes qw(time usleep);

my $synchronous = ($ENV{HA_SYNCHRONOUS} // 'on') eq 'on' ? 'true' : 'false';
my $cluster = HaCluster->new(nodes => 3, synchronous => $synchronous);
my $notes = PostgreSQL::Test::Utils::tempdir();
my $http = HTTP::Tiny->new(timeout => 10);
my %pid;
my %port = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(linkd inventoryd);

# Must succeed: nobody dies while these run.
sub prepare
{
	my ($database, $sql) = @_;
	is($cluster->sql($database, "$sql; SELECT 'done'") =~ /done$/, 1, "$database is prepared");
	return;
}

sub launch
{
	my ($name, %options) = @_;
	my $pid = fork // die "cannot fork: $!";

	if ($pid == 0)
	{
		delete @ENV{ grep { /^PG/ } keys %ENV };
		%ENV = (%ENV, %{ $options{env} // {} });
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$notes/$name.log";
		open STDERR, '>&', \*STDOUT;
		exec @{ $options{command} } or POSIX::_exit(127);
	}
	$pid{$name} = $pid;
	return;
}

sub finish
{
	my ($name) = @_;
	my $pid = delete $pid{$name};

	kill 'TERM', $pid;
	waitpid $pid, 0;
	return is($?, 0, "$name ends when asked to");
}

# Everything that clients have noted under this name.
sub noted
{
	my ($name) = @_;
	return map { split /\n/, slurp_file($_) } grep { -e } "$notes/$name", glob "$notes/$name.*";
}

my $consume = <<'EOT';
CREATE SCHEMA ha;
CREATE TABLE ha.handled (ord bigserial, endpoint text, key text, n bigint);
CREATE FUNCTION ha.consume(endpoint text) RETURNS TABLE (key text, n bigint)
LANGUAGE sql AS $$
	WITH r AS MATERIALIZED (SELECT * FROM message_bus.receive(endpoint, 50)),
		a AS MATERIALIZED (SELECT message_bus.ack(r.delivery_id) FROM r)
	INSERT INTO ha.handled (endpoint, key, n)
	SELECT r.endpoint, r.body->>'key', (r.body->>'n')::bigint FROM r
	WHERE (SELECT count(*) FROM a) > 0
	ORDER BY r.delivery_id RETURNING handled.key, handled.n
$$;
EOT

prepare('postgres', 'CREATE DATABASE shop');
prepare('postgres', 'CREATE DATABASE stock');
prepare('shop', "CREATE EXTENSION ecommerce; $consume" . <<'EOT');
CREATE EXTENSION ecommerce_inventory;
SELECT ecommerce_inventory.install();
SELECT message_bus.create_endpoint('work', 4);
SELECT message_bus.create_endpoint('flights');
SELECT message_bus.create_endpoint('to-stock', 4, forward_to => 'stock');
SELECT saga.define('trip', '{"endpoint": "trip", "initial": "Booking",
	"events": {"TripRequested": {"correlate": "$.message.trip_id"},
		"FlightBooked": {"correlate": "$.message.trip_id"}},
	"start": {"TripRequested": {"set": {"trip_id": "$.message.trip_id", "key": "$.message.key",
			"n": "$.message.n"},
		"send": {"step": "flight", "endpoint": "flights", "type": "BookFlight",
			"body": {"trip_id": "$.data.trip_id", "key": "$.data.key", "n": "$.data.n"},
			"resend": {"timer": "flight", "every": "60 s", "limit": 100}, "compensation": "none"},
		"goto": "Booking"}},
	"states": {
		"Booking": {"default": "ignore", "on": {
			"FlightBooked": {"unschedule": "flight", "goto": "Booked"},
			"timer:flight": {"goto": "Failed"}}},
		"Booked": {"kind": "final", "default": "ignore"},
		"Failed": {"kind": "final", "default": "ignore"}}}');
CREATE FUNCTION ha.book(endpoint text) RETURNS TABLE (key text, n bigint)
LANGUAGE plpgsql AS $$
DECLARE
	d message_bus.delivery;
BEGIN
	FOR d IN SELECT * FROM message_bus.receive(book.endpoint, 20) LOOP
		PERFORM message_bus.publish('FlightBooked', jsonb_build_object('trip_id',
			d.body->'trip_id'), partition_key => d.body->>'trip_id');
		PERFORM message_bus.ack(d.delivery_id);
		key := d.body->>'key';
		n := (d.body->>'n')::bigint;
		RETURN NEXT;
	END LOOP;
END $$;
EOT
prepare('stock', "CREATE EXTENSION ecommerce; $consume" . <<'EOT');
SELECT message_bus.create_endpoint('in', 3);
SELECT message_bus.create_link('from-shop', 'shop', 'to-stock', 'in');
EOT

append_to_file("$notes/services", "[$_]\n"
	  . join("\n", split / /, $cluster->conninfo($_)) . "\n") for qw(shop stock);
launch('linkd', env => { PGSERVICEFILE => "$notes/services" },
	command => [ 'linkd', '--database=service=stock target_session_attrs=read-write',
		"--port=$port{linkd}", '--pool-size=1' ]);
launch('inventoryd', command => [ 'inventoryd', "--port=$port{inventoryd}", '--database='
	  . ($cluster->conninfo('shop') =~ s/user=\w+/user=ecommerce_inventory/r)
	  . ' target_session_attrs=read-write' ]);
launch("load-$_", command => [ '/usr/bin/python3', "$FindBin::RealBin/load.py", $_, $notes ],
	env => { SHOP => $cluster->conninfo('shop'), STOCK => $cluster->conninfo('stock') })
  for qw(write read);

sub appended_since
{
	my ($moment) = @_;
	return (sort { $a <=> $b } grep { $_ > $moment } map { (split)[4] } noted('appended'))[0];
}

sub daemons_are_ready
{
	$cluster->until("$_ is ready", sub {
			$http->get("http://127.0.0.1:$port{$_}/health/ready")->{status} == 200
	}) for qw(linkd inventoryd);
	return 1;
}

# What has been handled in the target of the link.
sub arrived { return scalar noted('handled.in'); }

$cluster->until('clients work', sub { appended_since(0) && arrived() });
ok(daemons_are_ready(), 'daemons are ready');
for my $round (1 .. $ENV{HA_KILLS} // 4)
{
	my $died;
	my $dead = $cluster->kill_leader($round % 2);
	my $successor;

	# What was on its way is noted within a second.
	$died = time;
	$cluster->until('there is a new leader', sub {
			$successor = $cluster->leader;
			return $successor && appended_since($died + 1);
	});
	isnt($successor, $dead, "$dead died, $successor leads");
	diag(sprintf 'gap between acknowledged appends: %.1f s, ttl %d s',
		appended_since($died + 1) - $died, $cluster->{ttl});
	ok(eval { daemons_are_ready() }, 'daemons are ready again');
	my $before = arrived();
	ok(eval { $cluster->until('the link carries', sub { arrived() > $before }) },
		'the link carries');
	$cluster->start($dead);
	ok(eval { $cluster->until_whole }, "$dead follows");
}

finish('load-write');
ok(eval { $cluster->until('it is handled', sub {
		$cluster->sql('shop', <<'EOT') eq 't' && $cluster->sql('stock', <<'EOT') eq 't' }) },
SELECT (SELECT sum(depth) = 0 FROM message_bus.endpoints WHERE name <> 'to-stock')
	AND (SELECT sum(unconfirmed) = 0 FROM message_bus.forwards)
	AND NOT EXISTS (SELECT FROM saga.instance WHERE current_state = 'Booking')
EOT
SELECT depth = 0 FROM message_bus.endpoints WHERE name = 'in'
EOT
	'all that was sent is handled');
$cluster->until('the standby has shown all', sub {
		my $newest = $cluster->sql('shop', 'SELECT event_store.high_water_mark()');
		my ($least) = sort { $a <=> $b } map { (split ' ', (noted("read.$_"))[-1])[0] }
		  qw(primary standby);
		return $least >= $newest;
	}) if $synchronous eq 'true';
finish($_) for qw(load-read linkd inventoryd);
is(join("\n", noted('errors')), '', 'no client met an error that was not about its server');

sub lines { return split /\n/, $cluster->sql(@_); }

subtest 'events' => sub {
	my %stored = map { $_ => 1 }
	  lines('shop', "SELECT concat_ws(' ', position, stream, version) FROM event_store.read_all(0,"
		  . ' 10000000)');
	my @appended = map { "$$_[3] $$_[0] $$_[2]" } map { [split] } noted('appended');

	diag(scalar @appended, ' appends acknowledged, ', scalar keys %stored, ' events stored');
	is(scalar(grep { !$stored{$_} } @appended), 0, 'acknowledged and lost');
	is($cluster->sql('shop', q{SELECT count(*) FROM event_store.read_all(0, 10000000, 'account') e
		WHERE e.data->>'n' <> e.version::text}), 0, 'doubled or out of order');
	for my $reader (qw(primary standby))
	{
		my @seen = noted("read.$reader");
		my %seen = map { $_ => 1 } @seen;
		is(scalar(grep { !$stored{$_} } @seen), 0, "seen by the reader ($reader) and gone");
		is(@seen - keys %seen, 0, 'seen twice');
		is(scalar(grep { !$seen{$_} } keys %stored), 0, 'passed over');
	}
};

# Messages of one endpoint: sent under one name, handled at another.
sub check_messages
{
	my ($database, $sent, $endpoint) = @_;
	my @acknowledged = noted("sent.$sent");
	my @handled = lines($database,
		"SELECT key || ' ' || n FROM ha.handled WHERE endpoint = '$endpoint' ORDER BY ord");
	my (%handled, %last);
	my $disorder = 0;

	for (@handled)
	{
		my ($key, $n) = split;
		$disorder++ if $n != ($last{$key} // 0) + 1;
		$last{$key} = $n;
		$handled{$_}++;
	}
	diag(scalar @acknowledged, ' messages acknowledged, ', scalar @handled, ' handled');
	cmp_ok(scalar @acknowledged, '>', 0, 'messages were sent');
	is(scalar(grep { !$handled{$_} } @acknowledged), 0, 'acknowledged and not handled');
	is(scalar(grep { $_ > 1 } values %handled), 0, 'handled twice');
	is($disorder, 0, 'out of the order of their key, or missing between others');
	is(scalar(grep { !$handled{$_} } noted("received.$endpoint"), noted("handled.$endpoint")), 0,
		'seen by consumers and gone');
	return;
}

subtest 'messages' => sub { check_messages('shop', 'work', 'work') };
subtest 'messages over a link' => sub { check_messages('stock', 'to-stock', 'in') };
subtest 'sagas' => sub {
	my %ended = map { $_ => 1 } lines('shop', q{SELECT concat_ws(' ', data->>'key', data->>'n')
		FROM saga.instance WHERE current_state = 'Booked'});
	my @started = noted('sent.trip');

	diag(scalar @started, ' sagas started');
	cmp_ok(scalar @started, '>', 0, 'sagas were started');
	is(scalar(grep { !$ended{$_} } @started), 0, 'started and not ended');
	is($cluster->sql('shop', 'SELECT count(*) FROM saga.instance'), scalar keys %ended, 'no other');
};
for my $database (qw(shop stock))
{
	is($cluster->sql($database, "SELECT * FROM $_.verify()"), '', "$_.verify() in $database")
	  for qw(event_store message_bus saga);
}
is($cluster->sql('stock', 'SELECT state FROM message_bus.links'), 'running', 'the link is well');

END
{
	local $? = $?;
	kill 'KILL', grep { defined } values %pid;
	undef $cluster;
}

done_testing();
