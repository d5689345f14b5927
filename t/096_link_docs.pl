# What docs/links.md says runs as it stands, in two databases with linkd between them.
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run qw(run start);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
my $directory = PostgreSQL::Test::Utils::tempdir_short();
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
$node->start;
open my $services, '>', "$directory/services" or die "cannot write: $!";
for my $database (qw(shop stock))
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION ecommerce');
	print $services "[$database]\nhost=", $node->host, "\nport=", $node->port,
	  "\ndbname=$database\n";
}
close $services;
$ENV{PGSERVICEFILE} = "$directory/services";

my $text = slurp_file("$FindBin::RealBin/../docs/links.md");
my @blocks = $text =~ /^```(sql|sh) ?(\w*)\n(.*?)^```\n\n?((?:    [^\n]*\n)*)/msg;
is(scalar @blocks / 4, 9, 'blocks');
my $linkd;
my $compared = 0;
while (my ($kind, $database, $block, $shown) = splice @blocks, 0, 4)
{
	my ($first) = $block =~ /^(.*)$/m;
	my ($out, $err) = ('', '');

	if ($kind eq 'sh')
	{
		my $port = PostgreSQL::Test::Cluster::get_free_port();

		chomp $block;
		$linkd = start [ split(' ', $block), "--port=$port", "--log-file=$directory/log" ];
		next;
	}
	run [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database) ],
	  '<', \$block, '>', \$out, '2>', \$err;
	is($?, 0, $first) or diag($err);
	next unless $shown;
	s/^    //mg, s/ +$//mg for $shown;
	$out =~ s/ +$//mg;
	ok(index($out, $shown) >= 0, "what is written below: $first") or diag($out);
	$compared++;
}
is($compared, 2, 'results were compared');
$linkd->signal('TERM');
ok($linkd->finish, 'linkd stops when asked to');
$node->stop;
done_testing();
