#!/usr/bin/env bash
# Follows the orders live, in a process of its own: waits for the store to grow, takes
# what is new through a persistent subscription, and shows how far it is.
#
# Usage: demo/follow.sh    (until SIGTERM or Ctrl-C; run it twice to share nothing:
# the second one waits its turn, because the subscription has one partition)
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$ROOT/services/run.sh"
BIN=$(find_bindir)
use_database

subscription=demo-follower
stopping=
trap 'stopping=yes' TERM INT

# In a session of its own, so that Ctrl-C reaches this script and not the connection.
coproc PSQL { exec_as_owner setsid "$BIN/psql" -XqAt -F ' ' -v ON_ERROR_STOP=1; }

# Sends a statement to the one connection and puts its last row into ANSWER.
ask() {
	local line
	ANSWER=
	printf '%s;\n\\echo .\n' "$1" >&"${PSQL[1]}"
	while IFS= read -r line <&"${PSQL[0]}" && [[ $line != . ]]; do
		ANSWER=$line
	done
}

# Shows the read model: on a terminal on one line that is written over, elsewhere as a
# line every other second and at the end.
show() {
	ask "SELECT format('%s placed, %s confirmed, %s completed, %s cancelled, worth %s',
		coalesce(sum(orders), 0), coalesce(sum(confirmed), 0), coalesce(sum(completed), 0),
		coalesce(sum(cancelled), 0),
		to_char(coalesce(sum(revenue), 0), 'FM999,999,990.00')) FROM demo.sales"
	if [[ -t 1 ]]; then
		printf '\r\033[K  follower: %s' "$ANSWER"
	elif ((SECONDS >= next_line)) || [[ ${1:-} == last ]]; then
		printf '  follower: %s\n' "$ANSWER"
		next_line=$((SECONDS + 2))
	fi
}

ask "SELECT checkpoint FROM event_store.subscriptions WHERE name = '$subscription'"
mark=$ANSWER
next_line=$((SECONDS + 2))
while [[ -z $stopping ]]; do
	# Returns at once when there is something, so no wake-up is lost; and it holds no
	# snapshot, so a long wait holds nobody back.
	ask "CALL event_store.wait($mark, '1 second', 'order')"
	while ask "SELECT * FROM demo.follow('$subscription')" &&
		read -r taken checkpoint <<<"$ANSWER" && ((taken > 0)); do
		mark=$checkpoint
		show
	done
done
show last
[[ ! -t 1 ]] || echo
