# The statements in docs/message-bus.md run as they stand, and say what is written below them.
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

my $text = slurp_file("$FindBin::RealBin/../docs/message-bus.md");
my @blocks = $text =~ /^```sql\n(.*?)^```\n\n?((?:    [^\n]*\n)*)/msg;
is(scalar @blocks, 8, 'four blocks of statements');
my $compared = 0;
while (my ($block, $shown) = splice @blocks, 0, 2)
{
	my ($first) = $block =~ /^(.*)$/m;
	my ($out, $err) = ('', '');
	run [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
	  '<', \$block, '>', \$out, '2>', \$err;
	is($?, 0, $first) or diag($err);
	next unless $shown;
	$shown =~ s/^    //mg;
	$out =~ s/ +$//mg;
	ok(index($out, $shown) >= 0, "what is written below: $first") or diag($out);
	$compared++;
}
is($compared, 1, 'a result was compared');

# Every setting of the bus, and its default, is as the table has it.
my %in_words = ('60000ms' => '60 s', '16777216B' => '16 MB', '-1s' => '-1',
	'604800s' => '7 days');
for my $row (split /\n/, $node->safe_psql('postgres',
	q{SELECT name || ' ' || boot_val || coalesce(unit, '') FROM pg_settings
		WHERE name LIKE 'message_bus.%'}))
{
	my ($name, $value) = split / /, $row;
	my ($default) = $text =~ /^\| `\Q$name\E` \| ([^|]*) \|/m;

	is($default, $in_words{$value} // $value, "$name is documented");
}
$node->stop;
done_testing();
