# The manifests for Kubernetes fit the schemas of their kinds, speak of each other by names
# that are there, and start each program that there is with options that it has.
use strict;
use warnings FATAL => 'all';

use IPC::Run qw(run);
use PostgreSQL::Test::Utils;
use Test::More;

my @files = grep { !/kustomization/ } glob('deploy/k8s/base/*.yaml deploy/k8s/overlays/*/*.yaml');

# Gives the program these files, returns whether it is content and what it says.
sub check
{
	my (@given) = @_;
	my $said = '';
	my $content = run [ 'node', 't/kubernetes.mjs', @given ], '>', \$said, '2>&1';
	return ($content, $said);
}

my ($content, $said) = check(@files);
ok($content, 'the manifests are right') or diag($said);
like($said, qr/^[3-9]\d objects, [1-9]\d patches$/m, 'all of them were looked at');

# What is wrong is found.
my %wrong = (
	'a type' => [ qr/replicas: 2/, 'replicas: two', qr/replicas must be integer/ ],
	'a kind' => [ qr/kind: Service$/m, 'kind: Servant', qr/Model|Servant/ ],
	'a missing part' => [ qr/  selector:\n.*\n/, '', qr/selector/ ],
	'a name that is not there' =>
	  [ qr/name: services\}/, 'name: servants}', qr/no ConfigMap servants/ ]);
my $order = slurp_file('deploy/k8s/base/order.yaml');
foreach my $what (sort keys %wrong)
{
	my ($from, $to, $message) = @{ $wrong{$what} };
	my $file = PostgreSQL::Test::Utils::tempdir . '/order.yaml';
	my $changed = $order =~ s/$from/$to/r;
	isnt($changed, $order, "$what is changed");
	append_to_file($file, $changed);
	($content, $said) = check($file, 'deploy/k8s/base/configuration.yaml');
	ok(!$content, "$what is refused");
	like($said, $message, "$what is named");
}

my @base = map { m{([^/]*)\.yaml$} } glob('deploy/k8s/base/*.yaml');
my %resources =
  map { $_ => 1 } slurp_file('deploy/k8s/base/kustomization.yaml') =~ /- (\w+)\.yaml/g;
is_deeply([ sort keys %resources ], [ grep { $_ ne 'kustomization' } sort @base ],
	'kustomize takes every file of base');
my ($services) = slurp_file('services/Makefile') =~ /^DAEMONS := (.*)/m;
foreach my $service (grep { $_ ne 'console' } split ' ', $services)
{
	ok(-f "deploy/k8s/base/$service.yaml", "${service}d has a deployment");
}

done_testing();
