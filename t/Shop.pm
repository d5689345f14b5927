# A shop for tests: a private server, the daemons on ports of their own, and
# what one does with a shop over HTTP. The daemons are those installed beside
# psql in PATH.
package Shop;

use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP;
use POSIX qw(:sys_wait_h);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

use constant PATIENCE => $ENV{PG_TEST_TIMEOUT_DEFAULT} // 600;

my @services = qw(order inventory payment shipping notification access);
my $json = JSON::PP->new->canonical->allow_nonref;

# SHOP_BIN in the environment names another build of the daemons, such as one with
# sanitizers.
# Options: name, env => {variable => value of the daemons}, bin => directory of the daemons,
# conf => lines of postgresql.conf. $self->{server} may be set to where the daemons shall
# connect instead. databases => 'five' (or SHOP_DATABASES in the environment): a database for
# each service on three servers, as services/setup makes them, with the programs that carry
# between them.
sub new
{
	my ($class, %options) = @_;
	my $self = bless { env => {}, bin => $ENV{SHOP_BIN} // '',
		databases => $ENV{SHOP_DATABASES} // 'one', elsewhere => {}, %options }, $class;
	$self->{env}{ECOMMERCE_GATEWAY_SECRET} //= $self->{secret} = 'test' . uuid();
	$self->{http} = HTTP::Tiny->new(timeout => 40, keep_alive => 1);
	$self->{node} = $self->_server($self->{name} // 'shop');
	if ($self->{databases} eq 'five')
	{
		$self->_create_five;
	}
	else
	{
		$self->_create_database($self->{node}, 'shop');
		$self->sql('CREATE EXTENSION ecommerce');
		$self->sql("CREATE EXTENSION ecommerce_$_; SELECT ecommerce_$_.install()") for @services;
	}
	$self->{port}{$_} = PostgreSQL::Test::Cluster::get_free_port() for $self->programs;
	return $self;
}

sub _server
{
	my ($self, $name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'ecommerce'");
	$node->append_conf('postgresql.conf', $self->{conf}) if $self->{conf};
	$node->start;
	push @{ $self->{nodes} }, $node;
	return $node;
}

sub _create_database
{
	my ($self, $node, $name) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name ENCODING 'UTF8' TEMPLATE template0");
	return;
}

# Orders on the first server, inventory and payment on the second, the rest on the third.
sub _create_five
{
	my ($self) = @_;
	my @servers = ($self->{node}, map { $self->_server(($self->{name} // 'shop') . "_$_") } 2, 3);
	my %at = (inventory => 1, payment => 1, shipping => 2, notification => 2);
	my $file = $self->{services} = PostgreSQL::Test::Utils::tempdir() . '/pg_service.conf';
	local %ENV = (%ENV, DATABASES => 'five', PGDATABASE => 'shop', PGHOST => $servers[0]->host,
		PGPORT => $servers[0]->port);

	$self->_create_database($servers[0], 'shop');
	for my $service (qw(order inventory payment shipping notification))
	{
		my $node = $servers[ $at{$service} // 0 ];
		my $name = 'shop' . ($at{$service} ? "_$service" : '');

		if ($at{$service})
		{
			$self->{elsewhere}{$service} = [ $node, $name ];
			$self->_create_database($node, $name);
			@ENV{ "\U$service\E_PGHOST", "\U$service\E_PGPORT" } = ($node->host, $node->port);
		}
		PostgreSQL::Test::Utils::append_to_file($file, "[$service]\nhost=" . $node->host
			. "\nport=" . $node->port . "\ndbname=$name\nuser=ecommerce_link\n");
	}
	system("$FindBin::RealBin/../services/setup") == 0 or die "the five databases are not made\n";
	return;
}

# The programs of the shop: the services, and in five databases those that carry.
sub programs
{
	my ($self) = @_;
	return (@services, $self->carriers);
}

sub carriers
{
	my ($self) = @_;
	return map { "linkd-$_" } grep { keys %{ $self->{elsewhere} } } 'order',
	  sort keys %{ $self->{elsewhere} };
}

# Asks the orders' database, which in five has the others' tables to look at.
sub sql
{
	my ($self, $sql) = @_;
	return $self->sql_at('order', $sql);
}

# Asks the database of that service.
sub sql_at
{
	my ($self, $service, $sql) = @_;
	my ($node, $name) = @{ $self->{elsewhere}{$service} // [ $self->{node}, 'shop' ] };
	return $node->safe_psql($name, $sql);
}

# The same of all databases: the sum of what each answers, a number.
sub sum_everywhere
{
	my ($self, $sql) = @_;
	my $sum = 0;

	$sum += $self->sql_at($_, $sql) for 'order', keys %{ $self->{elsewhere} };
	return $sum;
}

# Messages that are under way.
sub under_way
{
	my ($self) = @_;
	return $self->sum_everywhere(
		'SELECT coalesce(sum(depth + scheduled + retrying), 0) FROM message_bus.endpoints');
}

# Dead letters, with why they are.
sub dead_letters
{
	my ($self, $where) = @_;
	return join '', map { $self->sql_at($_, 'SELECT message_type, reason, error
		FROM message_bus.dead_letters WHERE ' . ($where // 'true')) } 'order',
	  sort keys %{ $self->{elsewhere} };
}

# Starts the named programs, all without a name; returns when they are ready.
sub start
{
	my ($self, @names) = @_;
	@names = $self->programs unless @names;
	for my $name (@names)
	{
		my $pid = fork // die "cannot fork: $!";
		if ($pid == 0)
		{
			%ENV = (%ENV, %{ $self->{env} });
			delete @ENV{qw(PGUSER PGSERVICE)};
			$ENV{PGSERVICEFILE} = $self->{services} if $self->{services};
			exec($self->program($name), '--database=' . $self->_connection($name),
				"--port=$self->{port}{$name}", '--log-file=' . $self->log_file($name))
			  or die "cannot run ${name}d: $!";
		}
		$self->{pid}{$name} = $pid;
	}
	$self->until("$_ is ready", sub { $self->call($_, 'GET', '/health/ready')->{status} == 200 })
	  for @names;
	return;
}

sub _connection
{
	my ($self, $name) = @_;
	return "service=$1" if $name =~ /^linkd-(.*)/;
	my ($node, $database) = @{ $self->{elsewhere}{$name} // [ $self->{node}, 'shop' ] };
	return ($self->{server} // $node->connstr($database)) . " user=ecommerce_$name";
}

sub program
{
	my ($self, $name) = @_;
	my $program = $name =~ /^linkd-/ ? 'linkd' : "${name}d";
	return ($self->{bin} ? "$self->{bin}/" : '') . $program;
}

sub log_file
{
	my ($self, $name) = @_;
	return $self->{node}->basedir . "/${name}d.log";
}

# An API key of that scope, for that customer.
sub key
{
	my ($self, $scope, $customer) = @_;
	return $self->sql("SELECT api_key FROM ecommerce_access.create_key('test', '$scope', "
		. ($customer ? "'$customer'" : 'NULL') . ')');
}

# What a request carries unless it says otherwise (undef: not at all): with the gateway an
# operator's key, with a daemon what the gateway makes of one.
sub credentials
{
	my ($self, $service) = @_;
	return (Authorization => "Bearer $self->{key}") if $service eq 'gateway' || !$self->{secret};
	return ('X-Gateway-Secret' => $self->{secret}, 'X-Scope' => 'operator');
}

# Starts nginx before the daemons; GATEWAY_* variables may be given. Its port is that of
# the service "gateway".
sub start_gateway
{
	my ($self, $render, %env) = @_;
	my $run = PostgreSQL::Test::Utils::tempdir;
	my $port = $self->{port}{gateway} = PostgreSQL::Test::Cluster::get_free_port();

	mkdir "$run/gateway";
	local %ENV = (%ENV, GATEWAY_RUN => $run, GATEWAY_LISTEN => "127.0.0.1:$port",
		GATEWAY_WORKERS => 1, GATEWAY_SECRET => $self->{secret},
		GATEWAY_ACCESS_LOG => "$run/access.log", GATEWAY_ERROR_LOG => "$run/error.log",
		(map { ('GATEWAY_' . uc($_) . 'D' => "127.0.0.1:$self->{port}{$_}") } @services), %env);
	$self->{gateway_run} = $run;
	$self->{key} //= $self->key('operator');
	$self->{gateway_conf} = "$run/nginx.conf";
	system("'$render' >'$run/nginx.conf'") == 0
		or die "cannot render the gateway's configuration\n";
	system('nginx', '-e', "$run/error.log", '-c', "$run/nginx.conf") == 0
		or die "nginx did not start\n";
	$self->until('the gateway answers', sub { $self->call('gateway', 'GET',
		'/health/live')->{status} == 200 });
	return;
}

sub stop_gateway
{
	my ($self) = @_;
	my $conf = delete $self->{gateway_conf} or return;
	system('nginx', '-e', '/dev/null', '-c', $conf, '-s', 'stop');
	return;
}

# Ends a daemon by a signal and returns its wait status.
sub kill_daemon
{
	my ($self, $name, $signal) = @_;
	kill $signal, $self->{pid}{$name};
	waitpid($self->{pid}{$name}, 0);
	delete $self->{pid}{$name};
	return $?;
}

# Stops all daemons; each must exit 0.
sub stop
{
	my ($self) = @_;
	kill 'TERM', values %{ $self->{pid} };
	for my $name (sort keys %{ $self->{pid} })
	{
		waitpid($self->{pid}{$name}, 0);
		is($?, 0, "$name stops on request");
		delete $self->{pid}{$name};
	}
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;
	$self->stop_gateway;
	kill 'KILL', values %{ $self->{pid} // {} };
	waitpid($_, 0) for values %{ $self->{pid} // {} };
	return;
}

# A request to a service: {status, headers, body}, the body decoded if it is JSON.
sub call
{
	my ($self, $service, $method, $path, $body, %headers) = @_;
	my $options = { headers => { $self->credentials($service), %headers } };

	delete @{ $options->{headers} }{ grep { !defined $headers{$_} } keys %headers };
	if (defined $body)
	{
		$options->{content} = ref $body ? $json->encode($body) : $body;
		$options->{headers}{'Content-Type'} //= 'application/json';
	}
	my $port = $self->{port}{$service} // $service;
	my $reply = $self->{http}->request($method, "http://127.0.0.1:$port$path", $options);
	my $decoded = eval { $json->decode($reply->{content}) };
	return { status => $reply->{status}, headers => $reply->{headers},
		body => $decoded // $reply->{content} };
}

sub encode
{
	my ($self, $value) = @_;
	return $json->encode($value);
}

sub decode
{
	my ($self, $text) = @_;
	return $json->decode($text);
}

# Waits until the function returns something true, and returns it.
sub until
{
	my ($self, $what, $function) = @_;
	my $deadline = time + PATIENCE;

	while (time < $deadline)
	{
		my $value = $function->();
		return $value if $value;
		sleep 0.02;
	}
	fail("waited in vain: $what");
	diag($self->sql('SELECT * FROM message_bus.endpoints;
		SELECT * FROM message_bus.circuit_breakers'));
	diag($self->sql('SELECT correlation_id, current_state, version, data
		FROM saga.instances ORDER BY updated_at DESC LIMIT 1'));
	die "waited in vain: $what\n";
}

sub uuid
{
	my @w = map { int rand 65536 } 1 .. 8;
	return sprintf '%04x%04x-%04x-4%03x-a%03x-%04x%04x%04x', @w[ 0 .. 2 ], $w[3] & 0xfff,
	  $w[4] & 0xfff, @w[ 5 .. 7 ];
}

# Creates a product with that much stock, at 2.50 unless a price is given; returns its id.
sub product
{
	my ($self, $stock, %options) = @_;
	my $id = uuid();
	my $reply = $self->call('inventory', 'PUT', "/products/$id", { sku => "sku-$id",
		name => 'Thing', price => { amount => $options{price} // 2.5 } });

	is($reply->{status}, 201, 'product created') or diag explain $reply;
	$self->call('inventory', 'POST', "/products/$id/stock", { delta => $stock, reason => 'test' });
	# From another database it comes a moment later.
	$self->until('the price is known', sub { $self->sql(
		"SELECT 1 FROM ecommerce_order.price_list WHERE product_id = '$id'") }) if $self->carriers;
	return $id;
}

# The body of an order: quantity pieces of a product at 2.50; token, country and
# postal_code may be given.
sub order_body
{
	my ($self, $product, $quantity, %options) = @_;
	return {
		customer_id => $options{customer_id} // uuid(),
		email => $options{email} // 'customer@example.com',
		items => [ { product_id => $product, sku => "sku-$product", product_name => 'Thing',
				quantity => $quantity, unit_price => $options{unit_price} // 2.5 } ],
		shipping_address => { street => '1 Main Street', city => 'Town', state => 'ST',
			postal_code => $options{postal_code} // '12345', country => $options{country} // 'DE' },
		payment_method => { type => 'card', last4_digits => '4242',
			token => $options{token} // 'tok_ok' }
	};
}

# Posts an order; returns its id.
sub order
{
	my ($self, @arguments) = @_;
	my $reply = $self->call('order', 'POST', '/orders', $self->order_body(@arguments));

	is($reply->{status}, 202, 'order accepted') or diag explain $reply;
	return $reply->{body}{order_id};
}

sub show
{
	my ($self, $order) = @_;
	return $self->call('order', 'GET', "/orders/$order")->{body};
}

# Waits until the saga of the order is in that state; returns the order. One in which it
# only waits for something may have gone by before anybody looked.
sub reaches
{
	my ($self, $order, $state) = @_;
	my $shown = $self->until("order in $state", sub {
		my $now = $self->show($order);
		my $passed = $state !~ /^(?:Confirmed|Completed|Cancelled)$/
		  && grep { $_->{to} eq $state } @{ $now->{timeline} // [] };
		(($now->{state} // '') eq $state || $passed) && $now;
	});
	ok($shown, "order reaches $state");
	return $shown;
}

# Lets time pass for the saga's timers.
sub later
{
	my ($self, $interval) = @_;
	return $self->sql("SELECT saga.fire_due(now() + interval '$interval')");
}

# Lets time pass for the saga's timers if the order's saga is in one of the states, a
# regular expression; it stays there in the meantime. Otherwise timers could overtake
# what the services are doing in real time.
sub later_in_state
{
	my ($self, $order, $states, $interval) = @_;
	$self->sql("DO \$\$
		BEGIN
			PERFORM FROM saga.instance i WHERE i.saga = 'order' AND i.correlation_id = '$order'
				AND i.current_state ~ '^($states)\$' FOR UPDATE;
			IF FOUND THEN
				PERFORM saga.fire_due(now() + interval '$interval');
			END IF;
		END \$\$");
	return;
}

# The same for all orders: only while each has settled or waits for an outcome.
sub later_when_waiting
{
	my ($self, $interval) = @_;
	$self->sql("DO \$\$
		DECLARE
			states text[];
		BEGIN
			states := ARRAY(SELECT i.current_state FROM saga.instance i WHERE i.saga = 'order'
				AND i.current_state NOT IN ('Confirmed', 'Cancelled', 'Completed') FOR UPDATE);
			IF states <@ ARRAY['ProcessingPayment', 'ResolvingPayment', 'PaymentRetryWait',
				'ShipmentRetryWait'] THEN
				PERFORM saga.fire_due(now() + interval '$interval');
			END IF;
		END \$\$");
	return;
}

# Lets more and more time pass, from that many seconds on, while the saga waits for the
# payment, until the order is in the state.
sub reaches_in_time
{
	my ($self, $order, $state, $seconds) = @_;
	return $self->until("order in $state in time", sub {
		$self->later_in_state($order, 'ProcessingPayment|ResolvingPayment',
			$seconds++ . ' seconds');
		($self->show($order)->{state} // '') eq $state;
	});
}

# on hand, reserved and available of a product, as "10/2/8".
sub stock
{
	my ($self, $product) = @_;
	my $body = $self->call('inventory', 'GET', "/products/$product")->{body};
	return join '/', @$body{qw(on_hand reserved available)};
}

# Statuses of the order's payments, oldest first.
sub payments
{
	my ($self, $order) = @_;
	return $self->sql("SELECT string_agg(status, ' ' ORDER BY created_at)
		FROM ecommerce_payment.payment WHERE order_id = '$order'");
}

sub shipments
{
	my ($self, $order) = @_;
	return $self->sql("SELECT string_agg(status, ' ' ORDER BY created_at)
		FROM ecommerce_shipping.shipment WHERE order_id = '$order'");
}

# What must hold whatever happened, when the shop is at rest: rows of what does not.
sub violations
{
	my ($self) = @_;
	return join '', $self->_violations, $self->_stock_violations;
}

# What the tables of all services say of each other.
sub _violations
{
	my ($self) = @_;
	return $self->sql(<<'SQL');
WITH o AS (SELECT s.order_id, s.status, s.total_amount FROM ecommerce_order.order_summary s),
charged AS (SELECT order_id, count(*) FILTER (WHERE status = 'captured') AS n,
		coalesce(sum(amount) FILTER (WHERE status = 'captured'), 0) AS net
	FROM ecommerce_payment.simulator_charge GROUP BY order_id)
SELECT 'charged twice', c.order_id::text FROM charged c WHERE c.n > 1
UNION ALL
SELECT 'cancelled but charged', o.order_id::text FROM o JOIN charged c USING (order_id)
WHERE o.status = 'Cancelled' AND c.net <> 0
UNION ALL
SELECT 'confirmed but not charged', o.order_id::text FROM o LEFT JOIN charged c USING (order_id)
WHERE o.status IN ('Confirmed', 'Completed') AND coalesce(c.net, 0) <> o.total_amount
UNION ALL
SELECT 'books differ', p.key::text FROM ecommerce_payment.payment p
LEFT JOIN ecommerce_payment.simulator_charge c USING (key)
WHERE p.status IN ('captured', 'refunded') AND p.status IS DISTINCT FROM c.status
UNION ALL
SELECT 'cancelled but holds stock',
	o.order_id::text FROM o JOIN ecommerce_inventory.reservation r USING (order_id)
WHERE o.status = 'Cancelled' AND r.status IN ('held', 'committed')
UNION ALL
SELECT 'confirmed without stock', o.order_id::text FROM o
WHERE o.status IN ('Confirmed',
	'Completed') AND (SELECT count(*) FROM ecommerce_inventory.reservation r
	WHERE r.order_id = o.order_id AND r.status = 'committed') <> 1
UNION ALL
SELECT 'cancelled but shipped',
	o.order_id::text FROM o JOIN ecommerce_shipping.shipment s USING (order_id)
WHERE o.status = 'Cancelled' AND s.status IN ('requested', 'arranged', 'dispatched', 'delivered')
UNION ALL
SELECT 'reserved disagrees', p.product_id::text FROM ecommerce_inventory.product p
WHERE p.reserved <> (SELECT coalesce(sum((line ->> 'quantity')::bigint), 0)
	FROM ecommerce_inventory.reservation r, jsonb_array_elements(r.items) AS line
	WHERE r.status = 'held' AND (line ->> 'product_id')::uuid = p.product_id)
UNION ALL
SELECT 'confirmed but not shipped', o.order_id::text FROM o
WHERE o.status IN ('Confirmed', 'Completed') AND (SELECT count(*) FROM ecommerce_shipping.shipment s
	WHERE s.order_id = o.order_id AND s.status IN ('arranged', 'dispatched', 'delivered')) <> 1
UNION ALL
SELECT 'events disagree', o.order_id::text FROM o
WHERE 'Order' || o.status IS DISTINCT FROM (SELECT e.event_type
	FROM event_store.read_stream('order-' || o.order_id) e ORDER BY e.version DESC LIMIT 1)
ORDER BY 1, 2
SQL
}

# What inventory's tables and events say.
sub _stock_violations
{
	my ($self) = @_;
	return $self->sql_at('inventory', <<'SQL');
SELECT 'on hand disagrees', p.product_id::text FROM ecommerce_inventory.product p
WHERE p.on_hand <> (SELECT coalesce(sum((e.data ->> 'delta')::bigint), 0)
	FROM event_store.read_stream('product-' || p.product_id) e
	WHERE e.event_type = 'StockAdjusted')
	- (SELECT coalesce(sum((line ->> 'quantity')::bigint), 0)
	FROM ecommerce_inventory.reservation r, jsonb_array_elements(r.items) AS line
	WHERE r.status = 'committed' AND (line ->> 'product_id')::uuid = p.product_id)
SQL
}

# Waits until nothing is under way any more; then all must agree, and each customer has
# heard of everything once.
sub agrees
{
	my ($self, $what) = @_;

	$self->until('everything is at rest', sub {
		$self->under_way + $self->sql(q{SELECT count(*) FROM ecommerce_notification.notification
			WHERE status = 'pending'}) == 0;
	});
	is($self->violations, '', "$what: money, stock, shipments and events agree");
	is($self->sql(q{SELECT o.order_id, n.template, count(n.key)
		FROM ecommerce_order.order_summary o
		CROSS JOIN LATERAL (SELECT 'order_received'
			UNION ALL SELECT 'order_confirmed' WHERE o.confirmation_number IS NOT NULL
			UNION ALL SELECT 'order_cancelled' WHERE o.status = 'Cancelled') AS due (template)
		LEFT JOIN ecommerce_notification.notification n
			ON n.order_id = o.order_id AND n.template = due.template AND n.status = 'sent'
		GROUP BY o.order_id, due.template, n.template HAVING count(n.key) <> 1}), '',
		"$what: each customer was told once");
	return;
}

1;
