# shellcheck shell=bash
# Shared by the parts of the demo: headings, statements shown with their answers, waves
# of HTTP requests, and the follower in the background. services/run.sh comes first.

WORK=$RUN/demo
FOLLOWER=
SENDER=

step() {
	printf '\n== %s ==\n' "$*"
}

say() {
	printf '  %s\n' "$@"
}

# Runs a statement and shows its answer as a table.
table() {
	query -P format=aligned -P tuples_only=off -P footer=off -P linestyle=unicode -P border=1 \
		-P null=- -c "$1" | sed '/^$/d; s/^/  /'
}

# Shows a statement as one would type it, and its answer; one that fails is part of the tour.
ask_aloud() {
	printf '%s\n' "$1" | sed 's/^\t*/  /'
	as_owner "$BIN/psql" -Xq -P pager=off -P footer=off -P linestyle=unicode -P border=1 \
		-v VERBOSITY=verbose -c "$1" 2>&1 | sed '/^LOCATION:/d; /^$/d; s/^/  /' || true
}

# Sends the requests of a wave (demo/sql/30_requests.sql) with the key of that scope, 8 at
# a time, and keeps what is answered in demo.answer. That an order is refused is an answer;
# one that does not come, or that says the shop is not well, ends the demo.
wave() {
	local name=$1 scope=$2 directory=$WORK/$1 unwell
	rm -rf "$directory"
	mkdir -p "$directory"
	query -c "SELECT demo.curl_config('$name', '$GATEWAY_URL', '$directory',
		'$RUN/keys/$scope')" >"$directory.curl"
	[[ -s $directory.curl ]] || return 0
	: >"$directory.answers"
	curl -q --no-progress-meter --parallel --parallel-max 8 --config "$directory.curl" \
		>"$directory.answers" &
	SENDER=$!
	progress "$name" "$directory"
	wait "$SENDER" || die "not every request of the wave '$name' was answered"
	SENDER=
	awk -F'\t' -v OFS='\t' -v wave="$name" -v directory="$directory" '{
		file = directory "/" $1; body = ""; getline body <file; close(file)
		print wave, $0, body
	}' "$directory.answers" | query -c "COPY demo.answer (wave, name, status, seconds, body)
		FROM STDIN (FORMAT csv, DELIMITER E'\t', QUOTE E'\x02')"
	rm -rf "$directory"
	unwell=$(query -c "SELECT name, status, body FROM demo.answer WHERE wave = '$name'
		AND (status NOT BETWEEN 200 AND 499 OR status = 429) LIMIT 1")
	[[ -z $unwell ]] || die "the shop is not well: $unwell"
}

# Shows how many answers there are, while they come and no follower shows more: on a
# terminal on a line that is written over, elsewhere every five seconds.
progress() {
	local name=$1 directory=$2 shown=$SECONDS all
	all=$(grep -c '^url' "$directory.curl")
	while [[ -z $FOLLOWER ]] && kill -0 "$SENDER" 2>/dev/null; do
		if [[ -t 1 ]]; then
			printf '\r\033[K  %s: %s of %s' "$name" "$(wc -l <"$directory.answers")" "$all"
		elif ((SECONDS >= shown + 5)); then
			say "$name: $(wc -l <"$directory.answers") of $all"
			shown=$SECONDS
		fi
		pause
	done
	[[ $FOLLOWER || ! -t 1 ]] || printf '\r\033[K'
}

# Runs a function while the follower watches the orders, and waits until it has seen all.
while_following() {
	"$ROOT/demo/follow.sh" &
	FOLLOWER=$!
	"$@"
	until [[ $(query -c "SELECT sum(lag_events) FROM event_store.subscriptions
		WHERE name = 'demo-follower'") == 0 ]]; do
		kill -0 "$FOLLOWER" || die "the follower died"
		pause
	done
	stop_follower
}

# Ends the follower and waits for its last line.
stop_follower() {
	if [[ -n $FOLLOWER ]]; then
		kill -TERM "$FOLLOWER" 2>/dev/null || true
		wait "$FOLLOWER" || true
		FOLLOWER=
	fi
}

# Leaves nothing behind in the background, however the demo ends.
stop_background() {
	stop_follower
	[[ -z $SENDER ]] || kill "$SENDER" 2>/dev/null || true
}

pause() {
	query -c "CALL event_store.wait(9223372036854775807, '100 ms')" >/dev/null
}

# Waits until the statement's answer is 0, as long as it gets less every two minutes.
until_none() {
	local what=$1 statement=$2 deadline=$((SECONDS + 120)) left before=
	until left=$(query -c "$statement") && ((left == 0)); do
		if [[ $left != "$before" ]]; then
			deadline=$((SECONDS + 120)) before=$left
		fi
		((SECONDS < deadline)) || die "for two minutes there have been $left $what"
		pause
	done
}
