# Documents whose statements run as they stand: each block of SQL, one after the other, in a
# session of its own; what stands below a block, indented, is what it says.
package Docs;

use strict;
use warnings FATAL => 'all';

use Exporter qw(import);
use FindBin;
use IPC::Run qw(run);
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(document run_statements);

# The text of a document, by its path from the top of the tree.
sub document
{
	my ($path) = @_;
	return slurp_file("$FindBin::RealBin/../$path");
}

# Runs the statements of a text; returns how many results below them were compared.
sub run_statements
{
	my ($node, $database, $text, $least) = @_;
	my @blocks = $text =~ /^```sql\n(.*?)^```\n((?:\n(?:    [^\n]*\n)+)*)/msg;
	my $compared = 0;

	cmp_ok(scalar @blocks / 2, '>=', $least, "there are statements for $database");
	while (my ($block, $below) = splice @blocks, 0, 2)
	{
		my ($first) = $block =~ /^(.*)$/m;
		my ($out, $err) = ('', '');
		run [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database) ],
		  '<', \$block, '>', \$out, '2>', \$err;
		is($?, 0, $first) or diag($err);
		$out =~ s/ +$//mg;
		for my $shown ($below =~ /\n((?:    [^\n]*\n)+)/g)
		{
			$shown =~ s/^    //mg;
			my $at = index($out, $shown);
			ok($at >= 0, "what is written below: $first") or diag($out);
			# The next one has to come after it.
			$out = substr $out, $at + length $shown if $at >= 0;
			$compared++;
		}
	}
	return $compared;
}

1;
