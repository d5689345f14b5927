# The client for Node.js: its own tests on a server and through a pooler, and workers that are
# killed, as is the server, without anything being lost or doubled.
use strict;
use warnings FATAL => 'all';

use Clients;
use IPC::Run qw(run);
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = Clients->new('node');
my $tests = 'clients/node/test';

# Runs test files in a database of their own; each that passes is counted by node.
sub passes
{
	my ($database, $what, @files) = @_;
	my $output = '';
	$clients->create($database);
	local %ENV = (%ENV, $clients->environment($database));
	# Debian's node knows no --test-timeout.
	run [ qw(timeout 600 node --test --test-reporter=tap), map { "$tests/$_.test.js" } @files ],
	  '>', \$output, '2>&1';
	is($?, 0, $what) or diag($output);
	like($output, qr/^# pass [1-9]/m, "$what: there were tests");
	like($output, qr/^# skipped 0$/m, "$what: none was left out");
	return;
}

passes('direct', 'on a server', map { m{(\w+)\.test\.js$} } sort glob "$tests/*.test.js");
$clients->pool(20);
passes('pooled', 'through a pooler', qw(store subscription bus saga));
$clients->unpool;
$clients->survives('node', "$tests/worker.js");
$clients->{node}->stop;
done_testing();
