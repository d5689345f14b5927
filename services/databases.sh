# shellcheck shell=bash
# Which database each service has: one for all, or with DATABASES=five one each, joined by
# links (docs/links.md). Shared by up, down, setup and the demo, which have query() and die().
#
# The orders' database keeps the name PGDATABASE and has the saga, the keys and, over
# postgres_fdw, the tables of the others to look at; theirs are PGDATABASE_inventory and so on,
# on the same server unless INVENTORY_PGHOST and INVENTORY_PGPORT name another.

DATABASES=${DATABASES:-}
SERVICES=(order inventory payment shipping notification access)
LINKED=(inventory payment shipping notification)

# What was opened as five stays so without being told again.
if [[ -z $DATABASES ]]; then
	DATABASES=one
	[[ ! -f ${RUN:-/nonexistent}/pg_service.conf ]] || DATABASES=five
fi
[[ $DATABASES == one || $DATABASES == five ]] || die "DATABASES is one or five"
. "$(dirname "${BASH_SOURCE[0]}")/cells.sh"

# The names of the databases' services, each of which gets a linkd.
linked() {
	[[ $DATABASES == one ]] || echo order "${LINKED[@]}" $(cells)
}

database_of() {
	if [[ $DATABASES == five && " ${LINKED[*]} " == *" $1 "* || $1 == cell* ]]; then
		echo "${PGDATABASE}_$1"
	else
		echo "$PGDATABASE"
	fi
}

# The server that has it: <NAME>_PGHOST and <NAME>_PGPORT where given, else everybody's.
host_of() {
	local name=${1^^}_PGHOST
	echo "${!name:-${PGHOST:-}}"
}

port_of() {
	local name=${1^^}_PGPORT
	echo "${!name:-${PGPORT:-5432}}"
}

# query_in SERVICE: as query, in that service's database
query_in() {
	local database host port
	database=$(database_of "$1") host=$(host_of "$1") port=$(port_of "$1")
	shift
	PGDATABASE=$database PGHOST=$host PGPORT=$port query "$@"
}

# The database of a service, with the extension in it.
database_create() {
	local name
	name=$(database_of "$1")
	if [[ -z $(query_in "$1" -d "${PGMAINTENANCE:-postgres}" \
		-c "SELECT 1 FROM pg_database WHERE datname = '$name'") ]]; then
		query_in "$1" -d "${PGMAINTENANCE:-postgres}" -c "CREATE DATABASE \"$name\""
	fi
	extension_create "$1" ecommerce
	query_in "$1" -c 'SELECT ecommerce.start_worker() WHERE NOT ecommerce.preloaded()' >/dev/null
}

# extension_create SERVICE NAME: in that service's database; with EXTENSION_UPDATE what is
# there is brought up to date
extension_create() {
	query_in "$1" -c "CREATE EXTENSION IF NOT EXISTS $2" \
		${EXTENSION_UPDATE:+-c "ALTER EXTENSION $2 UPDATE"}
}

service_create() {
	extension_create "$1" "ecommerce_$1"
	query_in "$1" -c "SELECT ecommerce_$1.install()" >/dev/null
}

# A role that has no extension: role_create SERVICE NAME IN, in that service's database.
role_create() {
	query_in "$1" -c "DO \$\$ BEGIN CREATE ROLE $2 LOGIN IN ROLE $3;
		EXCEPTION WHEN duplicate_object THEN NULL; END \$\$"
}

# Everything that has to be there before daemons run; what is there already stays.
databases_create() {
	local service
	database_create order
	[[ $DATABASES == one || $CELLS -gt 0 ]] || forwards_create order
	for service in "${SERVICES[@]}"; do
		[[ $(database_of "$service") == "$PGDATABASE" ]] || database_create "$service"
		service_create "$service"
	done
	[[ $DATABASES == five ]] || return 0
	query -c "SELECT message_bus.subscribe('catalogue', 'ProductDescribed')" >/dev/null
	for service in $(cells); do
		cell_create "$service"
	done
	for service in $(linked); do
		role_create "$service" ecommerce_link ecommerce_writer
	done
	if ((CELLS > 0)); then
		cells_create
	else
		links_create
	fi
	reports_create
}

# Options of the console: what the orders' database is called, and which others there are.
console_options() {
	local service
	[[ $DATABASES == five ]] || return 0
	echo --name=order
	for service in "${LINKED[@]}" $(cells); do
		echo "--also=$service=host=$(host_of "$service") port=$(port_of "$service")" \
			"dbname=$(database_of "$service")"
	done
}

# Where linkd finds the databases: addresses are not in any of them.
services_file_write() {
	local service file=$RUN/pg_service.conf
	for service in $(linked); do
		printf '[%s]\nhost=%s\nport=%s\ndbname=%s\nuser=%s\n\n' "$service" \
			"$(host_of "$service")" "$(port_of "$service")" "$(database_of "$service")" \
			ecommerce_link
	done >"$file.new"
	mv "$file.new" "$file"
}

# forwards_create WHERE: in a database of orders, before the saga is installed there: what it
# sends to the others leaves, instead of being received there.
forwards_create() {
	local service
	for service in "${LINKED[@]}"; do
		query_in "$1" <<-SQL >/dev/null
			SELECT message_bus.create_endpoint('$service', forward_to => '$service')
			WHERE '$service' NOT IN (SELECT name FROM message_bus.endpoints);
		SQL
	done
}

# Commands go to each service, and what the others publish comes back to whoever has
# subscribed in the orders' database: the saga, and the order service's catalogue.
links_create() {
	local service types
	types=$(query -c "SELECT string_agg(DISTINCT format('(%L)', message_type), ', ')
		FROM message_bus.route r JOIN message_bus.endpoint e USING (endpoint_id)
		WHERE e.name IN ('order', 'catalogue')")
	for service in "${LINKED[@]}"; do
		query_in "$service" <<-SQL >/dev/null
			SELECT message_bus.create_endpoint('to-order', forward_to => 'order')
			WHERE 'to-order' NOT IN (SELECT name FROM message_bus.endpoints);
			SELECT message_bus.subscribe('to-order', type) FROM (VALUES $types) AS t (type);
			SELECT message_bus.create_link('from-order', 'order', '$service', '$service')
			WHERE 'from-order' NOT IN (SELECT name FROM message_bus.links);
		SQL
		query <<-SQL >/dev/null
			SELECT message_bus.create_link('from-$service', '$service', 'to-order')
			WHERE 'from-$service' NOT IN (SELECT name FROM message_bus.links);
		SQL
	done
}

# The others' tables in the orders' database, under the names that they have there, for
# reports, the demo and the console: to look at, in whatever right the reader has over there.
# A password that we came with goes into the mapping of our own role, for nobody else to see.
reports_create() {
	local service
	query -c 'CREATE EXTENSION IF NOT EXISTS postgres_fdw'
	for service in "${LINKED[@]}"; do
		query -v host="$(host_of "$service")" -v port="$(port_of "$service")" \
			-v name="$(database_of "$service")" -v password="" <<-SQL
				\getenv password PGPASSWORD
				SELECT current_user AS me, :'password' <> '' AS secret, EXISTS (
					SELECT FROM pg_foreign_server WHERE srvname = '$service') AS there \gset
				BEGIN;
				\if :there
					ALTER SERVER $service OPTIONS (SET host :'host', SET port :'port',
						SET dbname :'name');
					DROP USER MAPPING IF EXISTS FOR CURRENT_USER SERVER $service;
				\else
					CREATE SERVER $service FOREIGN DATA WRAPPER postgres_fdw
						OPTIONS (host :'host', port :'port', dbname :'name');
				\endif
				CREATE USER MAPPING FOR CURRENT_USER SERVER $service OPTIONS (user :'me');
				\if :secret
					ALTER USER MAPPING FOR CURRENT_USER SERVER $service
						OPTIONS (ADD password :'password');
				\endif
				\if :there
				\else
					CREATE SCHEMA ecommerce_$service;
					IMPORT FOREIGN SCHEMA ecommerce_$service EXCEPT (idempotency)
						FROM SERVER $service INTO ecommerce_$service;
				\endif
				COMMIT;
			SQL
	done
}
