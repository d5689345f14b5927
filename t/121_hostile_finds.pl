# What keeps strangers' code from running with rights that its owner has not: it runs as the
# role that answers for it, and it is looked at whose it is before it runs. Without both the
# strangers' day finds it out; either of the two holds by itself.
use strict;
use warnings;

use Hostile;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = 0;
for my $broken (qw(rights_unguarded rights_not_taken rights_unchecked))
{
	my $node = PostgreSQL::Test::Cluster->new($broken);
	$node->init;
	$node->append_conf('postgresql.conf', <<'EOT');
shared_preload_libraries = 'ecommerce'
saga.log_transitions = off
log_statement = none
log_min_error_statement = panic
max_worker_processes = 16
max_connections = 50
ecommerce.handler_timeout = '2 s'
EOT
	{
		local $ENV{ECOMMERCE_BREAK} = $broken;
		$node->start;
	}
	my $hostile = Hostile->new($node, 1);
	my $heard = 0;
	# As many rounds as it takes where nothing holds, and one more where one does.
	my $most = $rounds ? $rounds + 1 : 30;
	for (1 .. $most)
	{
		$hostile->round(60);
		$rounds++ if $broken eq 'rights_unguarded';
		$heard = () = slurp_file($node->logfile) =~ /canary: /g;
		last if $heard;
	}
	$node->stop('fast');
	if ($broken eq 'rights_unguarded')
	{
		cmp_ok($heard, '>', 0, "without any guard code runs as somebody else: round $rounds");
	}
	else
	{
		is($heard, 0, "$broken: the other guard holds");
	}
	unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:4|6|7|8|11)\b/,
		"$broken: nothing crashes");
}
done_testing();
