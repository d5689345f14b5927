# What can be done in the console is done by hand, each once: pages, dialogs and forms are
# clicked and typed in, and the database is asked what has come of it, by console_hands.mjs.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Console;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $shop = Shop->new(name => 'hands');
my $node = $shop->{node};
my $console = Console->new($shop, operator => 'ecommerce_admin', writer => 'ecommerce_writer');
$shop->sql('GRANT pg_signal_backend TO operator');
$shop->start;
$console->start('--actions', '--pool-size=1');

my $order = $shop->order($shop->product(1000), 1);
$shop->reaches($order, 'Confirmed');
$node->safe_psql('shop', slurp_file("$FindBin::RealBin/$_"))
  for 'console_data.sql', 'console_errand.sql', 'console_hands.sql';

my $errand = Shop::uuid();
$shop->sql("BEGIN; SELECT ecommerce.set_context('$errand');
	SELECT message_bus.publish('ErrandBegun', '{}'); COMMIT");
$shop->until('the errand has begun', sub { $shop->sql("SELECT count(*) FROM saga.instances
	WHERE correlation_id = '$errand'") });
$shop->sql(q(SELECT saga.define('errand', definition || '{"description": "the second"}')
	FROM saga.definitions WHERE name = 'errand'));
my $story = $shop->sql(q(SELECT correlation_id FROM message_bus.list_dead('{"endpoint": "billing"}')
	OFFSET 20 LIMIT 1));

# It is tried some times first, a little longer apart each time.
$shop->until('the ledger has failed', sub { $shop->sql(q(SELECT state = 'failed'
	FROM event_store.projections WHERE name = 'ledger')) eq 't' });

# What the database is asked in between.
my %asked = (
	'the dead' => q(SELECT count(*)
		FROM message_bus.list_dead('{"endpoint": "billing"}', max => 1000)
		WHERE message_id IS NOT NULL AND reason <> 'discarded'),
	'the discarded' => q(SELECT count(*) FROM message_bus.list_dead('{"reason": "discarded"}')
		WHERE message_id IS NOT NULL),
	'the corrected' => q(SELECT count(*) FROM message_bus.peek('billing', max => 1000)
		WHERE body ->> 'invoice' = '4711'),
	'not yet due' => q(SELECT count(*) FROM message_bus.peek('later', max => 1000)
		WHERE due_at > now()),
	'sent by hand' => q(SELECT string_agg(partition_key, ' ') FROM
		message_bus.peek('later', max => 1000) WHERE body ? 'hand'),
	'what waits' => q(SELECT count(*) FROM message_bus.peek('later', max => 1000)
		WHERE message_id IS NOT NULL),
	'the ledger' => q(SELECT state FROM event_store.projections WHERE name = 'ledger'),
	'the count' => q(SELECT state FROM event_store.projections WHERE name = 'counted'),
	'the mailer' => q(SELECT checkpoint FROM event_store.subscriptions WHERE name = 'mailer'),
	'the patience' => q(SELECT longest FROM saga.patience WHERE saga = 'errand'),
	'the errand' => "SELECT definition_version, current_state FROM saga.instances
		WHERE correlation_id = '$errand'",
	'its history' => "SELECT actor, reason FROM saga.history('errand', '$errand')
		ORDER BY version DESC LIMIT 1",
	'the record' => q(SELECT string_agg(DISTINCT data ->> 'action', ' ' ORDER BY data ->> 'action')
		FROM event_store.read_stream('console-operator', 1, 1000)));
my $hangs;
my %duties = (
	(map { my $sql = $asked{$_}; ($_ => sub { $shop->sql($sql) }) } keys %asked),
	'a new event' => sub {
		$shop->sql(q(SELECT event_store.append('hand-1', 0, 'Waved', '{"hands": []}'))); return },
	'the order is cancelled' => sub { $shop->reaches($order, 'Cancelled')->{state} },
	'the count is wrong' => sub { $shop->sql('UPDATE hands.counted SET n = -1'); return },
	'the oldest is given up' => sub {
		$shop->sql(q(SELECT message_bus.discard(message_id)
			FROM message_bus._dead_page('{"endpoint": "billing"}', NULL, 1, true, 5000))); return },
	'the count is filled again' => sub { $shop->until('it is', sub {
			$shop->sql(q(SELECT state = 'running' AND lag_events = 0 FROM event_store.projections
				WHERE name = 'counted')) eq 't' });
		$shop->sql('SELECT n = (SELECT count(*) FROM event_store.read_all(0, 1000, $$order$$))
			FROM hands.counted') },
	'somebody in the way' => sub {
		local $ENV{PGPASSWORD} = $console->{password}{writer};
		$hangs = $node->background_psql('shop', extra_params => [ '-U', 'writer' ]);
		return $hangs->query_safe('BEGIN; SELECT pg_backend_pid()') },
	'he is gone' => sub {
		my $left = $shop->sql(q(SELECT count(*) FROM pg_stat_activity WHERE usename = 'writer'));
		$hangs->{run}->kill_kill;
		return $left });
$console->browse('console_hands.mjs', { order => $order, errand => $errand, story => $story },
	%duties);
$console->stop;
done_testing();
