# shellcheck shell=bash
# Shared by up and down: where things are, and what runs.
#
# Everything lives in ${ECOMMERCE_RUN:-/tmp/ecommerce}: pid files, logs, the gateway's
# configuration, and PostgreSQL in pg/ unless PGHOST is set. PostgreSQL refuses to
# run as root, so for root everything runs as the user postgres.

RUN=${ECOMMERCE_RUN:-/tmp/ecommerce}
PG_DIR=$RUN/pg
SERVICES=(order inventory payment shipping notification)
declare -A PORTS=(
	[order]=${ORDERD_PORT:-5001} [inventory]=${INVENTORYD_PORT:-5002}
	[payment]=${PAYMENTD_PORT:-5003}
	[shipping]=${SHIPPINGD_PORT:-5004} [notification]=${NOTIFICATIOND_PORT:-5005})
GATEWAY_PORT=${ECOMMERCE_GATEWAY_PORT:-5000}

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

# The directory of PostgreSQL's programs, and of the daemons beside them.
find_bindir() {
	local copies=("$ROOT"/build/pg/usr/lib/postgresql/*/bin)
	if [[ -n ${PG_BINDIR:-} ]]; then
		echo "$PG_BINDIR"
	elif [[ -x ${copies[-1]}/postgres ]]; then
		echo "${copies[-1]}"
	else
		"${PG_CONFIG:-pg_config}" --bindir
	fi
}

# Whether the pid file names a process that runs that program. One that has ended
# and waits for its parent (a zombie) does not run.
runs() {
	local name=$1 pid
	[[ -f $RUN/$name.pid ]] && pid=$(<"$RUN/$name.pid") && [[ $pid =~ ^[0-9]+$ ]] || return 1
	[[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$name" ]] &&
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

server_runs() {
	[[ -f $PG_DIR/data/postmaster.pid ]] &&
		as_owner "$BIN/pg_ctl" -D "$PG_DIR/data" status >/dev/null 2>&1
}
