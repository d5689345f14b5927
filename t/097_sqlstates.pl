# Clients know every SQLSTATE of the extension: those in extension/base/errors.h, and those that
# its SQL raises by name. Each has a class of its own in Node.js, its types and Python; and which
# of them are lost races is the same in both and in the C library.
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run qw(run);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $tree = "$FindBin::RealBin/..";
my $header = slurp_file("$tree/extension/base/errors.h");
my %known = map { join('', /'(\w)'/g) => 1 } $header =~ /MAKE_SQLSTATE\((.*?)\)/g;
cmp_ok(scalar keys %known, '>', 30, 'the server has them in a header');

# What SQL raises of these bands is in the header too. OR is the shop's, which clients do not know.
my $sql = join '', map { slurp_file($_) } glob "$tree/extension/sql/*.sql";
my %raised = map { $_ => 1 } $sql =~ /ERRCODE = '((?:ST|SB|MB|SG)\d{3})'/g;
is(join(' ', grep { !$known{$_} } sort keys %raised), '', 'SQL raises none besides');

# The names of the classes, and whether it is a lost race, as a client says.
sub ask
{
	my (@command) = @_;
	my ($out, $err) = ('', '');

	run [ @command, sort keys %known ], '<', \undef, '>', \$out, '2>', \$err;
	is($err, '', "$command[0] answers");
	return decode_json($out);
}

my $node = ask('node', '--input-type=module', '-e', <<"EOT");
import { lostRace, translate } from '$tree/clients/node/src/failures.js';
const said = process.argv.slice(1).map((code) => translate(Object.assign(new Error(''), { code })));
console.log(JSON.stringify(Object.fromEntries(said.map((error) =>
	[error.sqlstate, [error.constructor.name, lostRace(error)]]))));
EOT
local $ENV{PYTHONPATH} = "$tree/clients/python";
local $ENV{PYTHONDONTWRITEBYTECODE} = 1;
my $python = ask('python3', '-c', <<'EOT');
import json, sys
from ecommerce_client import errors
print(json.dumps({code: [errors.CLASSES[code].__name__ if code in errors.CLASSES else "",
	errors.lost_race(errors.EcommerceError("", sqlstate=code))] for code in sys.argv[1:]}))
EOT

my $types = slurp_file("$tree/clients/node/types/index.d.ts");
my $bands = qr/^(Store|Subscription|Bus|Saga)Error$|^$/;
my (%seen, @races);
for my $code (sort keys %known)
{
	my $class = $node->{$code}[0];

	unlike($class, $bands, "$code has a class of its own in Node.js");
	ok(!$seen{$class}++, "which is $class");
	is($python->{$code}[0], $class, 'the same in Python');
	like($types, qr{/\*\* $code\b[^*]*\*/\nexport class $class extends}, 'and in the types');
	is(!!$python->{$code}[1], !!$node->{$code}[1], 'both agree whether it is a lost race');
	push @races, $code if $node->{$code}[1];
}
my ($list) = slurp_file("$tree/services/lib/api.c") =~ /races\[\] = \{(.*?)\}/s;
is(join(' ', sort $list =~ /"([A-Z]{2}\d{3})"/g), join(' ', @races), 'the C library agrees');
my ($said) = slurp_file("$tree/services/lib/ecommerce.h") =~
  /(40001, 40P01[^\n]*)\n[^\n]*lost race/;
is(join(' ', sort $said =~ /([A-Z]{2}\d{3})/g), join(' ', @races), 'and its header says so');

done_testing();
