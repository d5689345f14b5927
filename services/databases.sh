# shellcheck shell=bash
# Which database each service has: one for all, or with DATABASES=five one each, joined by
# links (docs/links.md). Shared by up, down and the demo, after run.sh.
#
# The orders' database keeps the name PGDATABASE and has the saga, the keys and, over
# postgres_fdw, the tables of the others to look at; theirs are PGDATABASE_inventory and so on.

DATABASES=${DATABASES:-}
LINKED=(inventory payment shipping notification)

# What was opened as five stays so without being told again.
if [[ -z $DATABASES ]]; then
	DATABASES=one
	[[ ! -f $RUN/pg_service.conf ]] || DATABASES=five
fi
[[ $DATABASES == one || $DATABASES == five ]] || die "DATABASES is one or five"

# The names of the databases' services, each of which gets a linkd.
linked() {
	[[ $DATABASES == one ]] || echo order "${LINKED[@]}"
}

database_of() {
	if [[ $DATABASES == five && " ${LINKED[*]} " == *" $1 "* ]]; then
		echo "${PGDATABASE}_$1"
	else
		echo "$PGDATABASE"
	fi
}

# query_in SERVICE: as query, in that service's database
query_in() {
	local database
	database=$(database_of "$1")
	shift
	PGDATABASE=$database query "$@"
}

# Where linkd finds the databases: addresses are not in any of them.
services_file_write() {
	local service file=$RUN/pg_service.conf
	for service in $(linked); do
		printf '[%s]\nhost=%s\nport=%s\ndbname=%s\nuser=%s\n\n' "$service" "$PGHOST" \
			"${PGPORT:-5432}" "$(database_of "$service")" ecommerce_link
	done >"$file.new"
	mv "$file.new" "$file"
}

# In the orders' database, before the saga is installed there: what it sends to the others
# leaves, instead of being received here.
forwards_create() {
	local service
	for service in "${LINKED[@]}"; do
		query <<-SQL >/dev/null
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
reports_create() {
	local service
	query -c 'CREATE EXTENSION IF NOT EXISTS postgres_fdw'
	for service in "${LINKED[@]}"; do
		query -v host="$PGHOST" -v port="${PGPORT:-5432}" -v me="${PGUSER:-$USER}" \
			-v name="$(database_of "$service")" <<-SQL
				SELECT EXISTS (SELECT FROM pg_foreign_server
					WHERE srvname = '$service') AS there \gset
				\if :there
					\quit
				\endif
				BEGIN;
				CREATE SERVER $service FOREIGN DATA WRAPPER postgres_fdw
					OPTIONS (host :'host', port :'port', dbname :'name');
				CREATE USER MAPPING FOR CURRENT_USER SERVER $service OPTIONS (user :'me');
				CREATE SCHEMA ecommerce_$service;
				IMPORT FOREIGN SCHEMA ecommerce_$service EXCEPT (idempotency)
					FROM SERVER $service INTO ecommerce_$service;
				COMMIT;
			SQL
	done
}
