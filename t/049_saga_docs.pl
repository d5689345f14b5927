# The statements in docs/sagas.md and docs/saga-language.md run as they stand, and say what is
# written below them.
use strict;
use warnings FATAL => 'all';

use Docs;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');

my $text = document('docs/sagas.md');
is(run_statements($node, 'postgres', $text, 8), 6, 'results were compared');
# The part of the diagram is one of the real one.
my ($diagram) = $text =~ /^```mermaid\n(.*?)^```/ms;
my $real = $node->safe_psql('postgres', q{SELECT saga.diagram('trip')});
is(join("\n", grep { index($real, $_) < 0 } split /\n/, $diagram), '', 'the diagram');
# What stands there as JSON is a part of a definition that is accepted.
my ($timers, $part) = $text =~ /^```json\n(.*?)^```/msg;
my ($seat, $asked) = ('5d0c2a52-9c1b-4b7e-8a51-1f2e3d4c5b6a', '{"correlate": "$.message.seat"}');
$node->safe_psql('postgres', qq{SELECT saga.define('seat', \$\$\{$timers, "endpoint": "seat",
	"initial": "AwaitingPayment", "events": {"SeatAsked": $asked, "SeatPaid": $asked}\}\$\$);
	SELECT message_bus.publish('SeatAsked', '{"seat": "$seat"}'); SELECT saga.run()});
is( $node->safe_psql('postgres', q{SELECT current_state, next_timer FROM saga.instances
	WHERE saga = 'seat'}), 'AwaitingPayment|pay', 'the timer');
my $definition = qq(\{$part, "endpoint": "paying", "initial": "A", "start": {"Begun": {}},
	"given": ["cancelled"],
	"states": {"A": {"kind": "final", "default": "ignore"}}\});
$node->safe_psql('postgres', q{SELECT message_bus.create_endpoint('payment')});
is( $node->safe_psql('postgres', qq{SELECT saga.define('paying',
		jsonb_set(\$\$$definition\$\$, '{events,Begun}', '{}'))}), '1', 'the facts');
# The language, each construct with its example; every one of its results is shown.
$node->safe_psql('postgres', 'CREATE DATABASE language');
$node->safe_psql('language', 'CREATE EXTENSION ecommerce');
is(run_statements($node, 'language', document('docs/saga-language.md'), 16), 24,
	'language: results were compared');
$node->stop;
done_testing();
