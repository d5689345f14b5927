# The statements in docs/domain-models.md run as they stand, and say what is written below them.
use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');

my $text = slurp_file("$FindBin::RealBin/../docs/domain-models.md");
my @blocks = $text =~ /^```sql\n(.*?)^```$/msg;
cmp_ok(scalar @blocks, '>', 5, 'there are statements');
for my $block (@blocks)
{
	my ($first) = $block =~ /^(.*)$/m;
	my ($code, $out, $err) = $node->psql('postgres', $block, on_error_stop => 1);
	is($code, 0, $first) or diag($err);
}
is($node->safe_psql('postgres', q{SELECT schema_version, data -> 'authors'
		FROM event_store.read_stream('book-1', 1, 1)}),
	'2|["Kernighan", "Ritchie"]', 'the upcast event');
is( $node->safe_psql('postgres', q{SELECT state ->> 'lent_to', version
		FROM event_store.load('book-1')}),
	'Ann|2', 'the aggregate');
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 1 AND max(loans) = 1
		FROM library.reader}),
	'the projection');
my ($statement, $message) =
  $text =~ /^    (SELECT event_store\.append\('book-2'.*?;)\n    ERROR:  (.*?)$/ms;
$node->safe_psql('postgres', 'SELECT event_store.unregister_event_type(\'BookBought\', 2)');
my ($code, $out, $err) = $node->psql('postgres', $statement);
like($err, qr/ERROR:  \Q$message\E$/m, 'the error');

$node->stop;
done_testing();
