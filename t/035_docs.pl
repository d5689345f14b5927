# The statements in docs/domain-models.md and docs/deploying.md run as they stand, and say what is
# written below them; the README's tour can be pasted as a whole.
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run qw(run);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION ecommerce');

my $text = slurp_file("$FindBin::RealBin/../docs/domain-models.md");

# Runs the statements of a document; returns how many results below them were compared.
sub run_statements
{
	my ($database, $document, $least) = @_;
	my @blocks = $document =~ /^```sql\n(.*?)^```\n\n?((?:    [^\n]*\n)*)/msg;
	my $compared = 0;

	cmp_ok(scalar @blocks / 2, '>=', $least, "there are statements for $database");
	while (my ($block, $shown) = splice @blocks, 0, 2)
	{
		my ($first) = $block =~ /^(.*)$/m;
		my ($out, $err) = ('', '');
		run [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database) ],
		  '<', \$block, '>', \$out, '2>', \$err;
		is($?, 0, $first) or diag($err);
		next unless $shown;
		$shown =~ s/^    //mg;
		$out =~ s/ +$//mg;
		ok(index($out, $shown) >= 0, "what is written below: $first") or diag($out);
		$compared++;
	}
	return $compared;
}

my ($out, $err);
is(run_statements('postgres', $text, 7), 1, 'a result was compared');
is($node->safe_psql('postgres', q{SELECT schema_version, data -> 'authors'
		FROM event_store.read_stream('book-1', 1, 1)}),
	'2|["Kernighan", "Ritchie"]', 'the upcast event');
is( $node->safe_psql('postgres', q{SELECT (event_store.load('book-1', 2)).state ->> 'lent_to',
		state ->> 'lent_to' IS NULL, version FROM event_store.load('book-1')}),
	'Ann|t|3', 'the aggregate');
ok( $node->poll_query_until('postgres', q{SELECT count(*) = 1 AND max(loans) = 1
		FROM library.reader}),
	'the projection');
my ($statement, $message) =
  $text =~ /^    (SELECT event_store\.append\('book-2'.*?;)\n    ERROR:  (.*?)$/ms;
$node->safe_psql('postgres', 'SELECT event_store.unregister_event_type(\'BookBought\', 2)');
(undef, undef, $err) = $node->psql('postgres', $statement);
like($err, qr/ERROR:  \Q$message\E$/m, 'the error');

$node->safe_psql('postgres', 'CREATE DATABASE deploying');
$node->safe_psql('deploying', 'CREATE EXTENSION ecommerce');
is( run_statements('deploying', slurp_file("$FindBin::RealBin/../docs/deploying.md"), 4),
	1, 'deploying: a result was compared');

my ($tour) = slurp_file("$FindBin::RealBin/../README.md") =~ /^## A tour in SQL\n(.*?)^## /ms;
my $pasted = join '', $tour =~ /^    (.*\n)/mg;
$node->safe_psql('postgres', 'CREATE DATABASE tour');
$node->safe_psql('tour', 'CREATE EXTENSION ecommerce');
run [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('tour') ],
  '<', \$pasted, '>', \$out, '2>', \$err;
is($err, '', 'the tour in the README can be pasted');
is($node->safe_psql('tour', q{SELECT max(checkpoint) > 0 FROM event_store.subscriptions}), 't',
	'and what it shows has happened');

$node->stop;
done_testing();
