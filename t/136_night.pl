# A night in which everything goes wrong below the shop: a daemon is away, or may not log in, a
# handler fails, nobody reads an endpoint, sessions hold marks, locks and old rows, a slot keeps
# WAL, the archive refuses, the disk fills, a standby is gone, a pool takes the connections.
# Somebody who may only look sees each in ecommerce.problems, with what to type; once that is
# typed, it is gone.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run qw(start);
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $shop = Shop->new(name => 'night', conf => <<'END');
wal_level = replica
max_wal_senders = 2
max_replication_slots = 2
max_wal_size = 32MB
max_prepared_transactions = 2
archive_mode = on
archive_command = 'true'
END
my $node = $shop->{node};
my $hba = $node->data_dir . '/pg_hba.conf';
my (%typed, @sessions);

$shop->sql('CREATE ROLE night LOGIN IN ROLE ecommerce_monitor');

# What he sees of a kind who may only look: rows, each [object, severity, holds up, to type].
sub seen
{
	my ($kind) = @_;
	my $out = $node->safe_psql('shop', "SELECT object, severity, holds_up, what_to_type
		FROM ecommerce.problems WHERE kind = '$kind'",
		extra_params => [ '-U', 'night', '-F', "\x01", '-R', "\x02" ]);
	return map { [ split /\x01/, $_, -1 ] } split /\x02/, $out;
}

# What he is told.
sub asks
{
	my ($sql) = @_;
	return $node->safe_psql('shop', "SET statement_timeout = '20s'; $sql",
		extra_params => [ '-U', 'night' ]);
}

# Waits until he sees it, of that object; what it says and what to type match.
sub sees
{
	my ($kind, $object, $severity, $says, $type) = @_;
	my ($row) = $shop->until("$kind is seen", sub {
		(grep { $_->[0] =~ $object } seen($kind))[0] });

	is($row->[1], $severity, "$kind: $severity");
	like($row->[2], $says, "$kind: what it holds up");
	like($row->[3], $type, "$kind: what to type");
	like(slurp_file("$FindBin::RealBin/../services/console/web/problems.js"), qr/\b$kind: '/,
		"$kind: the console has words for it");
	return $typed{$kind} = $row->[3];
}

sub gone
{
	my ($kind, $object) = @_;
	$shop->until("$kind is gone", sub { !grep { $_->[0] =~ $object } seen($kind) });
	pass("$kind: gone");
	return;
}

# Types the first statement that begins so, as whoever may.
sub type
{
	my ($kind, $begins) = @_;
	my ($statement) = $typed{$kind} =~ /($begins(?:[^;,']|'[^']*')*)/
	  or die "nothing to type: $typed{$kind}\n";

	$shop->sql($statement);
	return;
}

# A session that has done that and does nothing more.
sub idle
{
	my ($sql) = @_;

	push @sessions, $node->background_psql('shop', on_error_stop => 0);
	$sessions[-1]->query($sql);
	return;
}

# A session that waits in that.
sub waits
{
	my ($sql) = @_;

	push @sessions, $node->background_psql('shop', on_error_stop => 0);
	$sessions[-1]->query_until(qr/^waits$/m, "\\echo waits\n$sql;\n");
	return;
}

# Those that were ended from outside say so; the others go.
sub end_sessions
{
	for my $session (splice @sessions) { $session->{run}->kill_kill }
	return;
}

$shop->start;
my $product = $shop->product(1000);
$shop->reaches($shop->order($product, 1), 'Confirmed');
is($node->safe_psql('shop', 'SELECT kind, object FROM ecommerce.problems',
		extra_params => [ '-U', 'night' ]), '', 'all is well');

# ---------------------------------------------------------------- sessions
$shop->sql(q{ALTER DATABASE shop SET ecommerce.long_transaction = '2s'});
$shop->sql('CREATE TABLE held (n int)');
idle(q{BEGIN; SELECT event_store.append('slow-1', 0, 'Slow', '{}')});
idle('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
idle('BEGIN; LOCK TABLE held');
idle(q{BEGIN; CREATE TABLE forgotten (); PREPARE TRANSACTION 'forgotten'});
waits('SELECT count(*) FROM held') for 1, 2;
sees('mark_held', qr/^session/, 'error', qr/No reader gets beyond/, qr/pg_terminate_backend/);
sees('transaction_prepared', qr/forgotten/, 'warning', qr/locks/,
	qr/^ROLLBACK PREPARED 'forgotten'/);
sees('lock_held', qr/^session/, 'error',
	qr/wait for its locks: [12]\. It is idle in transaction for /,
	qr/pg_terminate_backend/);
sees('transaction_long', qr/^session/, 'warning', qr/vacuumed.* idle in transaction for /,
	qr/pg_terminate_backend/);
type('mark_held', 'SELECT pg_terminate_backend');
gone('mark_held', qr/./);
type('lock_held', 'SELECT pg_terminate_backend');
gone('lock_held', qr/./);
type('transaction_prepared', 'ROLLBACK PREPARED');
gone('transaction_prepared', qr/./);
while (my ($row) = seen('transaction_long'))
{
	$typed{transaction_long} = $row->[3];
	type('transaction_long', 'SELECT pg_terminate_backend');
	gone('transaction_long', qr/^\Q$row->[0]\E$/);
}
end_sessions();
$shop->sql('ALTER DATABASE shop RESET ecommerce.long_transaction');

# Somebody locks our own tables, as a VACUUM FULL does: who looks is not kept waiting, and told.
idle('BEGIN; LOCK TABLE event_store.stored_event, message_bus.endpoint, saga.stored_instance');
sees('tables_locked', qr/^session/, 'error',
	qr/exclusive lock on event_store\.stored_event, message_bus\.endpoint, saga\.stored_instance:/,
	qr/pg_terminate_backend/);
is(asks(q{SELECT worker_pid > 0, problems_error > 0, depth IS NULL
		FROM ecommerce.overview()}), 't|t|t', 'tables_locked: the overview says what it can');
is(asks(q{SELECT count(*) > 0, bool_and(name ~ '_(worker|problems|disk)')
		FROM ecommerce.metrics()}), 't|t', 'tables_locked: so do metrics');
type('tables_locked', 'SELECT pg_terminate_backend');
gone('tables_locked', qr/./);
idle(q{BEGIN; LOCK TABLE message_bus.endpoint; PREPARE TRANSACTION 'locker'});
sees('tables_locked', qr/^prepared transaction locker$/, 'error',
	qr/lock on message_bus\.endpoint:/, qr/^ROLLBACK PREPARED 'locker'/);
type('tables_locked', 'ROLLBACK PREPARED');
gone('tables_locked', qr/./);
end_sessions();

# ---------------------------------------------------------------- daemons and endpoints
# One has a message in hand and stands still: told of after a minute, so looked for at the end.
$shop->sql(q{SELECT message_bus.create_endpoint('stuck')});
$shop->sql(q{SELECT message_bus.send('stuck', 'Ping', '{}') FROM generate_series(1, 2)});
idle(q{BEGIN; SELECT count(*) FROM message_bus.receive('stuck', 1)});
$shop->sql(q{SELECT message_bus.create_endpoint('unread')});
$shop->sql(q{SELECT message_bus.send('unread', 'Ping', '{}')});
$shop->kill_daemon('payment', 'KILL');
my $order = $shop->order($product, 1);
sees('no_consumer', qr/^endpoint unread$/, 'error', qr/^1 message waits, and nobody/,
	qr/message_bus\.peek\('unread'\)/);
sees('no_consumer', qr/^endpoint payment$/, 'error', qr/nobody takes (?:it|them)\./,
	qr/^Start its consumer\. If it runs, its log says .* such as a wrong password/);

# It is started, and may not log in: the log says so, as the row has said.
my $before = slurp_file($hba);
unlink $hba;
append_to_file($hba, "local all ecommerce_payment scram-sha-256\n$before");
$node->reload;
my $payment = start([ $shop->program('payment'), '--database=' . $node->connstr('shop')
	  . ' user=ecommerce_payment', "--port=$shop->{port}{payment}", '--log-file='
	  . $shop->log_file('payment') ],
	init => sub { $ENV{ECOMMERCE_GATEWAY_SECRET} = $shop->{secret} });
$shop->until('the log says why', sub { slurp_file($shop->log_file('payment')) =~ /password/ });
is(scalar(grep { $_->[0] eq 'endpoint payment' } seen('no_consumer')), 1, 'it is still away');
unlink $hba;
append_to_file($hba, $before);
$node->reload;
gone('no_consumer', qr/^endpoint payment$/);
$shop->reaches($order, 'Confirmed');

# Its handler fails, as on a disk that is full: seen before anything is given up.
$shop->sql(q{CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		RAISE 'could not extend file' USING ERRCODE = '53100'; END $$;
	CREATE TRIGGER full_disk BEFORE INSERT ON ecommerce_payment.payment
		FOR EACH ROW EXECUTE FUNCTION full_disk()});
$order = $shop->order($product, 1);
sees('messages_failing', qr/^endpoint payment$/, 'warning', qr/53100: could not extend file/,
	qr/message_bus\.retry_now\('payment'\)/);
$shop->sql('DROP TRIGGER full_disk ON ecommerce_payment.payment');
type('messages_failing', 'SELECT message_bus.retry_now');
gone('messages_failing', qr/^endpoint payment$/);
$shop->until('the order has gone on', sub { $shop->sql("SELECT status <> 'Created'
	FROM ecommerce_order.order_summary WHERE order_id = '$order'") eq 't' });
$payment->signal('TERM');
$payment->finish;

# ---------------------------------------------------------------- disks and WAL
$shop->sql('ALTER DATABASE shop SET ecommerce.disk_low = 100');
sees('disk_low', qr/pg_default.*pg_wal/, 'error', qr/ of .* are free.*and the server stops/,
	qr/Make the disk larger/);
$shop->sql('ALTER DATABASE shop SET ecommerce.disk_low = 0');
gone('disk_low', qr/./);
$shop->sql(q{SELECT pg_create_physical_replication_slot('left', true)});
$shop->until('its WAL is more than shall be kept', sub {
	$shop->sql("INSERT INTO held VALUES (1); SELECT pg_switch_wal()");
	seen('slot_behind') });
sees('slot_behind', qr/ left$/, 'warning', qr/more than max_wal_size; nobody reads it/,
	qr/^Start its reader/);
type('slot_behind', 'SELECT pg_drop_replication_slot');
gone('slot_behind', qr/./);
$node->safe_psql('postgres', q{ALTER SYSTEM SET archive_command = 'false'});
$node->reload;
$shop->sql("INSERT INTO held VALUES (1); SELECT pg_switch_wal()");
sees('archive_failing', qr/./, 'error', qr/fills the disk/, qr/server's log/);
$node->safe_psql('postgres', q{ALTER SYSTEM RESET archive_command});
$node->reload;
gone('archive_failing', qr/./);

# ---------------------------------------------------------------- a consumer that stands still
sees('consumer_stuck', qr/^endpoint stuck$/, 'error',
	qr/^[12] messages? waits?; session \d+ \(.* of .*\) has some in hand for .*, and nothing/,
	qr/whether its process stands still; to give .*, SELECT pg_terminate_backend/);
type('consumer_stuck', 'SELECT pg_terminate_backend');
gone('consumer_stuck', qr/./);

# ---------------------------------------------------------------- a standby
$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'gone'});
$node->reload;
$shop->until('it is so', sub { $shop->sql('SHOW synchronous_standby_names') eq 'gone' });
waits('INSERT INTO held VALUES (2)');
sees('commits_wait', qr/standby/, 'error', qr/waits for a standby to confirm it: [1-9]/,
	qr/ALTER SYSTEM SET synchronous_standby_names/);
type('commits_wait', 'ALTER SYSTEM SET');
type('commits_wait', 'SELECT pg_reload_conf');
gone('commits_wait', qr/./);
end_sessions();

# ---------------------------------------------------------------- connections
idle('SELECT pg_advisory_lock(7)');
my $free = $shop->sql(q{SELECT ceil(0.9 * (current_setting('max_connections')::int
	- current_setting('superuser_reserved_connections')::int)) - count(*)
	FROM pg_stat_activity WHERE backend_type = 'client backend'});
my $script = $node->basedir . '/pool.sql';
PostgreSQL::Test::Utils::append_to_file($script, "SELECT pg_advisory_lock(7);\n");
my $pool = start([ 'pgbench', '-n', '-c', $free + 3, '-t', 1, '-f', $script,
		$node->connstr('shop') ], '<', \undef, '>', \my $said, '2>', \my $complaints);
sees('connections_low', qr/^connections$/, 'warning', qr/ are taken \([1-9]\d* idle\)/,
	qr/or put a pooler between/);
$pool->kill_kill;
end_sessions();
gone('connections_low', qr/./);
$shop->stop;
done_testing();
