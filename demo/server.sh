# shellcheck shell=bash
# The demo's private server, as functions for the scripts beside this file.
#
# Everything lives in ${ECOMMERCE_RUN:-/tmp/ecommerce}: the server in pg/ (data, log
# and socket).  It listens on no network.  PostgreSQL refuses to run as root, so for
# root it runs as the user postgres.

RUN=${ECOMMERCE_RUN:-/tmp/ecommerce}
PG_DIR=$RUN/pg
export PGHOST=$PG_DIR PGPORT=${ECOMMERCE_PORT:-54320} PGUSER=postgres
export PGDATABASE=ecommerce PGOPTIONS='-c client_min_messages=warning'
# A pager would stop the demo in the middle.
export PSQL_PAGER=
unset PGPASSWORD PGSERVICE PGHOSTADDR

# PG_BINDIR, else the tree's private copy of PostgreSQL, else what pg_config names.
find_bindir() {
	local copies=("$ROOT"/build/pg/usr/lib/postgresql/*/bin)
	if [[ -n ${PG_BINDIR:-} ]]; then
		echo "$PG_BINDIR"
	elif [[ -x ${copies[-1]}/postgres ]]; then
		echo "${copies[-1]}"
	else
		pg_config --bindir
	fi
}

die() {
	echo "demo: $*" >&2
	exit 1
}

# Runs a command as the owner of the server.
as_owner() {
	if ((EUID == 0)); then
		(cd / && runuser -u postgres -- "$@")
	else
		"$@"
	fi
}

server_runs() {
	[[ -f $PG_DIR/data/postmaster.pid ]] &&
		as_owner "$BIN/pg_ctl" -D "$PG_DIR/data" status >/dev/null
}

# Makes the cluster if there is none.
server_create() {
	[[ -f $PG_DIR/data/PG_VERSION ]] && return
	mkdir -p "$PG_DIR"
	if ((EUID == 0)); then
		chown postgres: "$PG_DIR"
	fi
	# The directory is the password: nobody else can reach the socket.
	chmod 700 "$PG_DIR"
	as_owner "$BIN/initdb" -D "$PG_DIR/data" -U postgres -A trust -E UTF8 --locale=C \
		--no-sync >"$RUN/initdb.log" 2>&1 || die "initdb failed, see $RUN/initdb.log"
	as_owner tee -a "$PG_DIR/data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$PG_DIR'
		shared_preload_libraries = 'ecommerce'
		max_wal_size = '2GB'
	CONF
}

# Starts the server; one that still runs an older build of the library is restarted.
server_start() {
	local library
	library=$("$BIN/pg_config" --pkglibdir)/ecommerce.so
	[[ -f $library ]] || die "the extension is not installed in $BIN: run 'make demo'"
	[[ ! -e $PG_DIR || -O $PG_DIR || $EUID -eq 0 ]] ||
		die "$PG_DIR belongs to somebody else: set ECOMMERCE_RUN to another directory"
	mkdir -p "$RUN"
	server_create
	if server_runs && [[ $library -nt $PG_DIR/data/postmaster.pid ]]; then
		server_stop
	fi
	server_runs && return
	as_owner "$BIN/pg_ctl" -D "$PG_DIR/data" -l "$PG_DIR/server.log" -o "-p $PGPORT" -w -s start ||
		die "the server did not start, see $PG_DIR/server.log"
}

server_stop() {
	server_runs && as_owner "$BIN/pg_ctl" -D "$PG_DIR/data" -m fast -w -s stop
}

# Runs psql quietly; the caller gives the rest.
query() {
	"$BIN/psql" -XqAt -v ON_ERROR_STOP=1 "$@"
}

# Makes the database with the extension if it is not there. One that another build made
# may not fit this library; it is not ours to drop, though.
database_create() {
	local extension version script installed=$RUN/installed.sql
	extension=$("$BIN/pg_config" --sharedir)/extension
	version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$extension/ecommerce.control")
	script=$extension/ecommerce--$version.sql
	if [[ $(query -d postgres -c "SELECT datname FROM pg_database
		WHERE datname = 'ecommerce'") ]]; then
		[[ ! -f $installed ]] || cmp -s "$script" "$installed" ||
			die "$PG_DIR has a database of another build: remove it with 'demo/demo.sh clean'"
		return
	fi
	query -d postgres -c 'CREATE DATABASE ecommerce'
	query -c 'CREATE EXTENSION ecommerce'
	cp "$script" "$installed"
}
