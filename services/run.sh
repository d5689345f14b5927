# shellcheck shell=bash
# Shared by up, down and the demo: where things are, and what runs.
#
# Everything lives in ${ECOMMERCE_RUN:-/tmp/ecommerce}: pid files, logs, the gateway's
# configuration, and PostgreSQL in pg/ unless PGHOST is set. PostgreSQL refuses to
# run as root, so for root everything runs as the user postgres.

# Where Debian has nginx, which an ordinary user's PATH may lack.
PATH=$PATH:/usr/sbin
# What root writes is read by the programs that run as postgres.
umask 022

RUN=$(realpath -ms "${ECOMMERCE_RUN:-/tmp/ecommerce}")
PG_DIR=$RUN/pg
declare -A PORTS=(
	[order]=${ORDERD_PORT:-5001} [inventory]=${INVENTORYD_PORT:-5002}
	[payment]=${PAYMENTD_PORT:-5003}
	[shipping]=${SHIPPINGD_PORT:-5004} [notification]=${NOTIFICATIOND_PORT:-5005}
	[access]=${ACCESSD_PORT:-5007})
# consoled has no extension, so it is none of the services
declare -A LINK_PORTS=(
	[order]=${LINKD_ORDER_PORT:-5011} [inventory]=${LINKD_INVENTORY_PORT:-5012}
	[payment]=${LINKD_PAYMENT_PORT:-5013} [shipping]=${LINKD_SHIPPING_PORT:-5014}
	[notification]=${LINKD_NOTIFICATION_PORT:-5015})
CONSOLE_PORT=${CONSOLED_PORT:-5006}
CONSOLE_URL=http://127.0.0.1:$CONSOLE_PORT
# of the daemons, in seconds; the gateway waits a little longer
REQUEST_TIMEOUT=30
GATEWAY_PORT=${ECOMMERCE_GATEWAY_PORT:-5000}
# on: the console is under /console/ of the gateway too
GATEWAY_CONSOLE=${ECOMMERCE_GATEWAY_CONSOLE:-}
[[ ! $GATEWAY_CONSOLE =~ ^(off|no|0)$ ]] || GATEWAY_CONSOLE=
GATEWAY_ADDRESS=${ECOMMERCE_GATEWAY_ADDRESS:-127.0.0.1}
# what listens on all addresses is asked on this machine's own
GATEWAY_URL=http://${GATEWAY_ADDRESS/#0.0.0.0/127.0.0.1}:$GATEWAY_PORT

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# Runs a command in place of this shell, as the user everything belongs to.
exec_as_owner() {
	cd /
	if ((EUID == 0)); then
		exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"
	fi
	exec "$@"
}

as_owner() {
	(exec_as_owner "$@")
}

# The directory of PostgreSQL's programs: of this tree's private copy, of pg_config's
# PostgreSQL, or, where only packages are, of the newest one that has the extension.
find_bindir() {
	local copies=("$ROOT"/build/pg/usr/lib/postgresql/*/bin)
	local packaged=(/usr/lib/postgresql/*/lib/ecommerce.so)
	if [[ -n ${PG_BINDIR:-} ]]; then
		echo "$PG_BINDIR"
	elif [[ -x ${copies[-1]}/postgres ]]; then
		echo "${copies[-1]}"
	elif [[ -z ${PG_CONFIG:-} && -f ${packaged[-1]} ]]; then
		echo "${packaged[-1]%/lib/*}/bin"
	else
		"${PG_CONFIG:-pg_config}" --bindir
	fi
}

# A daemon's program: beside PostgreSQL's, or where a package has put it.
find_program() {
	if [[ -x $BIN/$1 ]]; then
		echo "$BIN/$1"
	else
		command -v "$1" || die "$1 is not installed in $BIN: run 'make up'"
	fi
}

# Exports where the database is: where PGHOST says, else in the private server.
use_database() {
	export PGDATABASE=${PGDATABASE:-ecommerce}
	OWN_SERVER=
	if [[ -z ${PGHOST:-} ]]; then
		OWN_SERVER=yes
		export PGHOST=$PG_DIR PGPORT=${ECOMMERCE_PORT:-54320} PGUSER=postgres
		unset PGPASSWORD PGSERVICE PGHOSTADDR
	fi
}

# Runs psql quietly; the caller gives the rest.
query() {
	PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning" \
		as_owner "$BIN/psql" -XqAt -v ON_ERROR_STOP=1 "$@"
}

# Makes an API key and writes it to a file, as the header that curl takes from there
# (curl -H @FILE): on a command line everybody could read it.
# key_create FILE NAME SCOPE [CUSTOMER_ID]
key_create() {
	local file=$1 name=$2 scope=$3 customer=${4:-}
	(umask 077 && query -v name="$name" -v scope="$scope" -v customer="$customer" >"$file" <<-'SQL')
		SELECT 'Authorization: Bearer ' || api_key
		FROM ecommerce_access.create_key(:'name', :'scope', nullif(:'customer', '')::uuid);
	SQL
}

# Whether the file has a key that opens something here.
key_opens() {
	local hash
	[[ -s $1 ]] || return 1
	hash=$(sed 's/^Authorization: Bearer //' "$1" | tr -d '\n' | sha256sum)
	[[ $(query -c "SELECT scope FROM ecommerce_access.authenticate('\\x${hash%% *}')") ]]
}

# Asks this machine: without the caller's settings for the world outside.
local_curl() {
	curl -q --silent --show-error --noproxy '*' "$@"
}

# Whether the pid file names a process that runs that program (of several instances, such
# as linkd-order, the part before the dash). One that has ended
# and waits for its parent (a zombie) does not run.
runs() {
	local name=$1 pid
	[[ -f $RUN/$name.pid ]] && pid=$(<"$RUN/$name.pid") && [[ $pid =~ ^[0-9]+$ ]] || return 1
	[[ $(cat "/proc/$pid/comm" 2>/dev/null) == "${name%%-*}" ]] &&
		! grep -q '^State:[[:space:]]*Z' "/proc/$pid/status" 2>/dev/null
}

# Waits until the command succeeds, at most that many seconds.
wait_for() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < deadline)) || return 1
		sleep 0.05
	done
}

stopped() {
	! runs "$1"
}

# Sends a program that runs a signal. That it has ended meanwhile is as good.
tell() {
	local name=$1 signal=$2
	kill -"$signal" "$(<"$RUN/$name.pid")" 2>/dev/null || stopped "$name" || die "cannot stop $name"
}

# Ends a program and waits for it; one that does not end in half a minute is killed.
stop() {
	local name=$1 signal=$2
	if runs "$name"; then
		tell "$name" "$signal"
		wait_for 30 stopped "$name" || tell "$name" KILL
	fi
	rm -f "$RUN/$name.pid"
}

# Workers of the gateway whose master was killed keep its port; they have its log open.
stray_workers() {
	local pid
	for pid in $(find /proc/[0-9]*/fd -lname "$RUN/nginx.error.log*" 2>/dev/null |
		cut -d/ -f3 | sort -u); do
		[[ $(cat "/proc/$pid/comm" 2>/dev/null) != nginx ]] || echo "$pid"
	done
}

stop_gateway() {
	local pid
	stop nginx QUIT
	for pid in $(stray_workers); do
		kill -QUIT "$pid" 2>/dev/null || true
	done
	wait_for 30 no_stray_workers || die "workers of a gateway that was killed do not end:" \
		"$(stray_workers | paste -s -d ' ')"
}

no_stray_workers() {
	[[ -z $(stray_workers) ]]
}

server_runs() {
	[[ -f $PG_DIR/data/postmaster.pid ]] &&
		as_owner "$BIN/pg_ctl" -D "$PG_DIR/data" status >/dev/null 2>&1
}
