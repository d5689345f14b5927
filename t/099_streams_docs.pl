# What docs/streams.md says of Debezium runs as it stands, and decodes what it says; the rest is
# in 101_streamd.
use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
# Newer minor releases load no plug-in that is not named there.
if ($node->safe_psql('postgres',
	q{SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'}) eq '1')
{
	$node->append_conf('postgresql.conf', "output_plugin_libraries = 'pgoutput, wal2json'");
	$node->restart;
}
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');

my ($text) = slurp_file("$FindBin::RealBin/../docs/streams.md") =~ /^(## Debezium.*)/ms;
my @blocks = $text =~ /^```sql\n(.*?)^```\n\n?((?:    [^\n]*\n)*)/msg;
my $compared = 0;
is(scalar @blocks / 2, 4, 'blocks');
while (my ($block, $shown) = splice @blocks, 0, 2)
{
	my ($first) = $block =~ /^(.*)$/m;
	my ($status, $out, $err) = $node->psql('postgres', $block, on_error_stop => 1,
		extra_params => ['--no-psqlrc', '--no-align', '--pset=format=aligned',
			'--pset=tuples_only=off', '--quiet']);
	is($status, 0, $first) or diag($err);
	next unless $shown;
	s/^    //mg, s/ +$//mg for $shown;
	$out =~ s/ +$//mg;
	ok(index("$out\n", $shown) >= 0, "what is written below: $first") or diag($out);
	$compared++;
}
is($compared, 2, 'results were compared');

# The configuration is JSON, and its fields are columns of the table.
my ($json) = $text =~ /^```json\n(.*?)^```/ms;
my $columns = q{SELECT column_name FROM information_schema.columns
	WHERE table_schema = 'event_store' AND table_name = 'stored_event'};
is($node->safe_psql('postgres', "WITH config AS (SELECT \$j\$$json\$j\$::jsonb->'config' AS c)
	SELECT string_agg(f, ' ') FROM (
		SELECT value FROM config, jsonb_each_text(c) WHERE key LIKE '%table.field.event.%'
		UNION ALL SELECT split_part(p, ':', 1) FROM config,
			string_to_table(c->>'transforms.outbox.table.fields.additional.placement', ',') p) t (f)
	WHERE f NOT IN ($columns)"), '', 'what the connector is told to use is there');
$node->stop;
done_testing();
