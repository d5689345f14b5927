# What docs/cells.md says runs as it stands, in databases of the names that it gives them,
# with linkd between them.
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run qw(run start);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $text = slurp_file("$FindBin::RealBin/../docs/cells.md");
my @blocks = $text =~ /^```(sql|sh) ?(\w*)\n(.*?)^```\n\n?((?:    [^\n]*\n)*)/msg;
my %databases = map { $_ => 1 } $text =~ /^```sql (\w+)$/mg;

$node->init;
$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
max_worker_processes = 64
EOT
open my $services, '>', "$directory/services" or die "cannot write: $!";
for my $database (sort keys %databases)
{
	print $services "[$database]\nhost=", $node->host, "\nport=", $node->port,
	  "\ndbname=$database\n";
}
close $services;
# The server reads it too, for PL/Proxy and postgres_fdw.
$ENV{PGSERVICEFILE} = "$directory/services";
$node->start;
for my $database (sort keys %databases)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION ecommerce');
}
my (@programs, $compared);

sub run_sql
{
	my ($database, $block, $shown) = @_;
	my ($first) = $block =~ /^(.*)$/m;
	my ($out, $err) = ('', '');

	run [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database) ],
	  '<', \$block, '>', \$out, '2>', \$err;
	is($?, 0, "$database: $first") or diag($err);
	return unless $shown;
	s/^    //mg, s/ +$//mg for $shown;
	$out =~ s/ +$//mg;
	ok(index($out, $shown) >= 0, "what is written below: $first") or diag($out);
	$compared++;
	return;
}

while (my ($kind, $database, $block, $shown) = splice @blocks, 0, 4)
{
	if ($kind eq 'sql')
	{
		run_sql($database, $block, $shown);
		next;
	}
	for my $command (grep { /^linkd / } split /\n/, $block)
	{
		my $port = PostgreSQL::Test::Cluster::get_free_port();

		push @programs, start [ split(' ', $command), "--port=$port",
			"--log-file=$directory/log" ];
	}
}
cmp_ok($compared, '>=', 7, 'results were compared');
for my $program (@programs)
{
	$program->signal('TERM');
	ok($program->finish, 'linkd stops when asked to');
}
$node->stop;
done_testing();
