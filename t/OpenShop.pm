# A shop opened by services/up in a directory and on ports of its own, for tests of up,
# down and the demo. It is closed when the test ends, whatever happens.
package OpenShop;

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @programs = qw(nginx orderd inventoryd paymentd shippingd notificationd accessd
	consoled);
my @open;

# The programs are those beside psql in PATH. Options: variables for the environment.
sub new
{
	my ($class, %env) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir_short();
	my $self = bless { directory => $directory, run => "$directory/shop",
		tree => "$FindBin::RealBin/.." }, $class;

	delete @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE PGSERVICE)};
	chomp($ENV{PG_BINDIR} = `pg_config --bindir`);
	$ENV{ECOMMERCE_RUN} = $self->{run};
	$ENV{$_} = PostgreSQL::Test::Cluster::get_free_port()
	  for qw(ECOMMERCE_PORT ECOMMERCE_GATEWAY_PORT ORDERD_PORT INVENTORYD_PORT PAYMENTD_PORT
	  SHIPPINGD_PORT NOTIFICATIOND_PORT ACCESSD_PORT CONSOLED_PORT);
	%ENV = (%ENV, %env);
	push @open, $self;
	return $self;
}

# Runs services/up: its exit status, and what it says.
sub up
{
	my ($self) = @_;
	local $ENV{ECOMMERCE_RUN} = $self->{run};
	my $said = `"$self->{tree}/services/up" 2>&1 </dev/null`;
	return ($? >> 8, $said);
}

sub down
{
	my ($self) = @_;
	local $ENV{ECOMMERCE_RUN} = $self->{run};
	return system("$self->{tree}/services/down") >> 8;
}

# The API key of that scope that services/up has made.
sub key
{
	my ($self, $scope) = @_;
	return slurp_file("$self->{run}/keys/$scope") =~ /^Authorization: Bearer (\S+)$/ ? $1 : undef;
}

sub pid
{
	my ($self, $program) = @_;
	my $file = "$self->{run}/$program.pid";
	return -e $file ? slurp_file($file) + 0 : undef;
}

# The programs that the pid files name and that run; in scalar context, how many. One
# that waits for its parent (a zombie) has ended.
sub running
{
	my ($self) = @_;
	return grep {
		my $pid = $self->pid($_);
		my $status = '';
		if ($pid && open my $file, '<', "/proc/$pid/status")
		{
			$status = join '', <$file>;
		}
		$status =~ /^State:\s+[^ZX]/m;
	} @programs;
}

END
{
	my $status = $?;
	$_->down for grep { -d $_->{run} } @open;
	$? = $status;
}

1;
