#!/usr/bin/env bash
# A command on the message bus: sent, retried, dead-lettered, corrected and redriven, by
# the programs bussend and busconsume (services/demo).
#
# Usage: demo/bus.sh
# Environment: PG* (the database, with the extension; a role that may create endpoints),
# PG_BINDIR (where psql and the programs are, if not on the PATH).
# Makes the schema demo_bus and the endpoint demo-cards, anew at each run, and ends with an
# error if anything came out otherwise than it says. Nothing is left running.
set -euo pipefail
PATH=${PG_BINDIR:+$PG_BINDIR:}$PATH
export PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning"
LOG=$(mktemp)
CONSUMER=

finish() {
	if [[ -n $CONSUMER ]]; then
		kill -TERM "$CONSUMER" 2>/dev/null || true
		wait "$CONSUMER" || true
	fi
	rm -f "$LOG"
}
trap finish EXIT

die() {
	printf 'demo/bus.sh: %s\n' "$*" >&2
	tail -n 20 "$LOG" >&2
	exit 1
}

say() {
	printf '\n%s\n' "$*"
}

query() {
	psql -XqAt -v ON_ERROR_STOP=1 -c "$1"
}

# Shows a statement and its answer.
show() {
	printf '  %s\n' "$1"
	psql -Xq -P footer=off -P linestyle=unicode -P border=1 -v ON_ERROR_STOP=1 -c "$1" |
		sed '/^$/d; s/^/  /'
}

# Shows a command as one would type it, and runs it; its output is in $answer.
run() {
	printf '  $ %s\n' "${*@Q}"
	answer=$("$@" 2>>"$LOG") || die "$1 failed"
	printf '  %s\n' "$answer"
}

# Waits until a query says t.
until_true() {
	local deadline=$((SECONDS + 60))
	until [[ $(query "$1") == t ]]; do
		((SECONDS < deadline)) || die "still not so after a minute: $1"
		kill -0 "$CONSUMER" 2>/dev/null || die "the consumer has ended"
		sleep 0.1
	done
}

psql -Xq -v ON_ERROR_STOP=1 <<'SQL' >/dev/null
SELECT message_bus.drop_endpoint(name, true) FROM message_bus.endpoints WHERE name = 'demo-cards';
DROP SCHEMA IF EXISTS demo_bus CASCADE;
CREATE SCHEMA demo_bus;
CREATE TABLE demo_bus.charge (card text, amount numeric, tries bigint);
-- Counts attempts, since what a failed one writes is undone.
CREATE SEQUENCE demo_bus.try;
CREATE FUNCTION demo_bus.charge_card(body jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	try bigint := nextval('demo_bus.try');
BEGIN
	INSERT INTO demo_bus.charge VALUES (body ->> 'card', (body ->> 'amount')::numeric, try);
	IF body ->> 'amount' IS NULL THEN
		RAISE 'no amount to charge' USING ERRCODE = 'invalid_parameter_value';
	ELSIF body ->> 'bank' = 'closed' AND try < 3 THEN
		RAISE 'the bank does not answer' USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
END
$$;
SELECT message_bus.create_endpoint('demo-cards',
	retry => '{"kind": "interval", "limit": 3, "interval": "300 ms"}');
SQL

say "A consumer: each ChargeCard goes to a function of the database, in one transaction" \
	"with its ack"
printf '  $ busconsume --endpoint=demo-cards --handlers=ChargeCard=demo_bus.charge_card &\n'
busconsume --endpoint=demo-cards --handlers=ChargeCard=demo_bus.charge_card \
	--poll-interval=200ms 2>>"$LOG" >>"$LOG" &
CONSUMER=$!

say "A command whose first two attempts fail: retried by the endpoint's policy, then done"
run bussend --endpoint=demo-cards --type=ChargeCard \
	'--body={"card": "4242", "amount": 5, "bank": "closed"}'
until_true "SELECT count(*) = 1 FROM demo_bus.charge"
show "SELECT card, amount, tries FROM demo_bus.charge;"
[[ $(query "SELECT tries FROM demo_bus.charge") == 3 ]] || die "it was not the third attempt"

say "One that cannot be right: no retry helps, so it is a dead letter at once"
run bussend --endpoint=demo-cards --type=ChargeCard '--body={"card": "1881"}'
dead=$answer
until_true "SELECT count(*) = 1 FROM message_bus.dead_letters WHERE endpoint = 'demo-cards'"
show "SELECT message_type, reason, error_code, error, attempts FROM message_bus.dead_letters
  WHERE endpoint = 'demo-cards';"

say "Corrected and redriven: the same message, its attempts counted anew"
run bussend "--redrive=$dead" '--body={"card": "1881", "amount": 7}'
[[ $answer == 1 ]] || die "$answer messages were redriven instead of 1"
until_true "SELECT count(*) = 2 FROM demo_bus.charge"
show "SELECT card, amount FROM demo_bus.charge ORDER BY card DESC;"
show "SELECT name, depth, retrying, dead FROM message_bus.endpoints
  WHERE name = 'demo-cards';"
[[ $(query "SELECT depth + retrying + dead FROM message_bus.endpoints
	WHERE name = 'demo-cards'") == 0 ]] || die "something is left over"
