# shellcheck shell=bash
# Several databases of orders, with CELLS=n: cells 1 to n, each with all of its orders
# (docs/cells.md). Part of databases.sh.
#
# The database PGDATABASE then has no orders of its own but the keys, the list of all orders,
# a remote projection of the cells' events, and for reports the other services' tables. An
# order's id tells its cell; the gateway sends who asks for it there.

CELLS=${CELLS:-}
# What was opened with cells stays so without being told again.
if [[ -z $CELLS && -f ${RUN:-/nonexistent}/cells ]]; then
	CELLS=$(<"$RUN/cells")
fi
CELLS=${CELLS:-0}
[[ $CELLS =~ ^[0-9]{1,2}$ ]] || die "CELLS is a number up to 99"
((CELLS == 0)) || DATABASES=five

# The cells' names, which are those of their services for linkd too.
cells() {
	local n
	for ((n = 1; n <= CELLS; n++)); do
		echo "cell$n"
	done
}

# cell_port NAME: of its orderd; CELL1_PORT and so on name others
cell_port() {
	local variable=${1^^}_PORT
	echo "${!variable:-$((5100 + ${1#cell}))}"
}

# cell_link_port NAME: of its linkd
cell_link_port() {
	local variable=LINKD_${1^^}_PORT
	echo "${!variable:-$((5200 + ${1#cell}))}"
}

# link_port NAME: of the linkd beside a database
link_port() {
	if [[ $1 == cell* ]]; then
		cell_link_port "$1"
	else
		echo "${LINK_PORTS[$1]}"
	fi
}

# A database of orders, as complete as the only one elsewhere.
cell_create() {
	local cell=$1
	database_create "$cell"
	query_in "$cell" -c "ALTER DATABASE \"$(database_of "$cell")\"
		SET ecommerce.cell = ${cell#cell}"
	forwards_create "$cell"
	extension_create "$cell" ecommerce_order
	query_in "$cell" -c "SELECT ecommerce_order.install()" \
		-c "SELECT message_bus.subscribe('catalogue', 'ProductDescribed')" >/dev/null
}

# Commands go from a cell to each service; what is about one of its orders is sent back
# over to-cellN by the service (ecommerce_SERVICE._publish), and what all cells have to know
# is published there: the catalogue, and faults.
cell_links_create() {
	local cell=$1 service types
	types=$(query_in "$cell" -c "SELECT string_agg(DISTINCT format('(%L)', message_type), ', ')
		FROM message_bus.route r JOIN message_bus.endpoint e USING (endpoint_id)
		WHERE e.name = 'catalogue' OR e.name = 'order' AND message_type LIKE 'Fault%'")
	for service in "${LINKED[@]}"; do
		query_in "$service" <<-SQL >/dev/null
			SELECT message_bus.create_endpoint('to-$cell', forward_to => '$cell')
			WHERE 'to-$cell' NOT IN (SELECT name FROM message_bus.endpoints);
			SELECT message_bus.subscribe('to-$cell', type) FROM (VALUES $types) AS t (type);
			SELECT message_bus.create_link('from-$cell', '$cell', '$service', '$service')
			WHERE 'from-$cell' NOT IN (SELECT name FROM message_bus.links);
		SQL
		query_in "$cell" <<-SQL >/dev/null
			SELECT message_bus.create_link('from-$service', '$service', 'to-$cell')
			WHERE 'from-$service' NOT IN (SELECT name FROM message_bus.links);
		SQL
	done
}

# The links of all cells, and the list of all their orders.
cells_create() {
	local cell
	[[ -z ${RUN:-} ]] || echo "$CELLS" >"$RUN/cells"
	for cell in $(cells); do
		cell_links_create "$cell"
		query -c "SELECT ecommerce_order._gather_from('$cell')" >/dev/null
	done
}

# The cells as the gateway wants to know them.
gateway_cells() {
	local cell
	for cell in $(cells); do
		echo "${cell#cell}=127.0.0.1:$(cell_port "$cell")"
	done
}
