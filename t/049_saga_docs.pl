# The statements in docs/sagas.md run as they stand, and say what is written below them.
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run qw(run);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');

my $text = slurp_file("$FindBin::RealBin/../docs/sagas.md");
my @blocks = $text =~ /^```sql\n(.*?)^```\n\n?((?:    [^\n]*\n)*)/msg;
my $compared = 0;
while (my ($block, $shown) = splice @blocks, 0, 2)
{
	my ($first) = $block =~ /^(.*)$/m;
	my ($out, $err) = ('', '');
	my @psql = ('psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'));

	run(\@psql, '<', \$block, '>', \$out, '2>', \$err);
	is($?, 0, $first) or diag($err);
	next unless $shown;
	$shown =~ s/^    //mg;
	$out =~ s/ +$//mg;
	ok(index($out, $shown) >= 0, "what is written below: $first") or diag($out);
	$compared++;
}
is($compared, 6, 'results were compared');
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
$node->stop;
done_testing();
