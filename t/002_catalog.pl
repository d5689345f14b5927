# What holds for every object of the extension: t/catalog.sql, written in pgTAP,
# against a database where the extension was created.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pgtap; CREATE EXTENSION ecommerce');

# Its assertions become subtests of ours, so a plan that breaks is noticed too.
my ($stdout, $stderr);
my $status = $node->psql('postgres', slurp_file('t/catalog.sql'),
	stdout => \$stdout, stderr => \$stderr);
is($status, 0, 'the script ran to its end') or diag($stderr);
my ($planned) = $stdout =~ /^1\.\.(\d+)$/m;
my @assertions = $stdout =~ /^((?:not )?ok \d+.*)$/mg;
is(scalar @assertions, $planned, 'all planned assertions were made');
for my $assertion (@assertions)
{
	my ($verdict, $name) = $assertion =~ /^(not ok|ok) \d+(?: - )?(.*)$/;
	ok($verdict eq 'ok', $name);
}
diag($1) while $stdout =~ /^(#.*)$/mg;

$node->stop;
done_testing();
