# The client for Python, with threads and with asyncio: its own tests on a server and through a
# pooler, and workers that are killed, as is the server, without anything being lost or doubled.
use strict;
use warnings FATAL => 'all';

use Clients;
use IPC::Run qw(run);
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = Clients->new('python');
my $python = Clients::python();
$ENV{PYTHONPATH} = 'clients/python';
$ENV{PYTHONDONTWRITEBYTECODE} = 1;

# Runs all tests in a database of their own.
sub passes
{
	my ($database, $what, @modules) = @_;
	my $output = '';
	$clients->create($database);
	local %ENV = (%ENV, $clients->environment($database), PYTHONPATH => 'clients/python');
	run [ $python, '-W', 'error', '-m', 'unittest', @modules ], '>', \$output, '2>&1';
	is($?, 0, $what) or diag($output);
	ok($output =~ /^Ran [1-9]\d+ tests .*^OK$/ms, "$what: there were tests");
	return;
}

passes('direct', 'on a server',
	map { "tests.$_" } qw(test_tools sync.test_client aio.test_client));
$clients->pool(20);
passes('pooled', 'through a pooler', map { "tests.$_.test_client" } qw(sync aio));
$clients->unpool;
$clients->survives($python, 'clients/python/tests/worker.py', $_) for qw(sync aio);
$clients->{node}->stop;
done_testing();
