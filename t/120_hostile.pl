# Strangers of every role call everything with anything, for HOSTILE_SECONDS: the server
# stays up, nobody's code runs with rights that its owner has not, and nobody sees what is
# not his. HOSTILE_SEED repeats what they say, if not in which order it is heard.
use strict;
use warnings;

use Hostile;
use List::Util qw(pairs);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{HOSTILE_SECONDS} // 15;
# In a short run the same one each time, so that a failure is the change's.
my $seed = $ENV{HOSTILE_SEED} // ($ENV{HOSTILE_SECONDS} ? int rand 1_000_000 : 1);
my $node = PostgreSQL::Test::Cluster->new('main');
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
$node->start;
note("HOSTILE_SEED=$seed");
my $roles = q{SELECT string_agg(r::text, ' ' ORDER BY rolname) FROM pg_roles r
	WHERE rolname ~ 'ecommerce|postgres'};
my $members = q{SELECT string_agg(m::text, ' ' ORDER BY m::text) FROM pg_auth_members m};
my $owners = q{SELECT md5(string_agg(concat(c.oid, c.relowner, c.relacl), ' ' ORDER BY c.oid))
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname IN ('ecommerce', 'event_store', 'message_bus', 'saga')};
my $hostile = Hostile->new($node, $seed);
my @before = map { $node->safe_psql('postgres', $_) } $roles, $members, $owners;

my $end = time + $seconds;
my (%internal, %seen, %states);
my $rounds = 0;
while (time < $end || !$rounds)
{
	my $told = $hostile->round($seconds < 60 ? 60 : 200);
	$rounds++;

	for my $name (sort keys %$told)
	{
		$internal{$1}++ while $told->{$name} =~ /(?:ERROR|FATAL):\s+(XX\d\d\d: .*)/g;
		$seen{"$name sees another database"}++ if $told->{$name} =~ /$Hostile::OUTSIDE/;
		$seen{"$name sees what is stored"}++
		  if $name =~ /^(?:nobody|monitor)$/ && $told->{$name} =~ /$Hostile::INSIDE/;
		$states{$name}{$1}++ while $told->{$name} =~ /ERROR:\s+(\w{5}):/g;
	}
	last if slurp_file($node->logfile) =~ /terminated by signal|PANIC|TRAP/;
}
note("$_: ", join ' ', map { "$_->[0]=$_->[1]" } sort { $b->[1] <=> $a->[1] }
	  map { [ $_->[0], $_->[1] ] } pairs(%{ $states{$_} })) for sort keys %states;
note("$rounds rounds");

my $log = slurp_file($node->logfile);
my ($crash) = $log =~ /^(.*(?:PANIC|TRAP|terminated by signal (?:4|6|7|8|11)\b).*)$/m;
is($crash, undef, 'nothing crashes');
ok($node->poll_query_until('postgres', 'SELECT true'), 'the server is up');
my %canary = map { $_ => 1 } $log =~ /canary: (.*)/g;
is(join("\n", sort keys %canary), '', "nobody's code runs with another's rights");
is(join("\n", sort keys %seen), '', 'nobody sees what is not his');
is(join("\n", map { "$_ ($internal{$_})" } sort keys %internal), '', 'no error is an internal one');
is_deeply([ map { $node->safe_psql('postgres', $_) } $roles, $members, $owners ],
	\@before, 'roles, members, owners and rights are as they were');
# An admin may register a version of a type that nobody can read the older ones as.  He may
# set a counter back, too: appends are refused then, until it is repaired.
is( $node->safe_psql('postgres', q{SELECT * FROM event_store.verify(repair => true)
		WHERE NOT (severity = 'warning' AND object LIKE 'type %'
			OR severity = 'repaired' AND object LIKE 'sequence %')}),
	'', 'the store is sound');
is(join(' ', $hostile->forgotten), '', 'every routine of the catalog was called')
  if $seconds >= 60;
$node->stop('fast');
done_testing();
