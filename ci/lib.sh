# Shared by the scripts that run tests: where things are and how results are
# kept. One line per test or check in $RESULTS: passed, failed, part, name.

# Runs a command as a user that PostgreSQL accepts: root becomes postgres, who
# may not be allowed where we are.
as_server() {
	if ((EUID == 0)); then
		(cd / && runuser -u postgres -- "$@")
	else
		"$@"
	fi
}

# What the daemons of a flavour are built with: those that tests run stop at bad
# memory accesses, leaks and undefined behaviour.
sanitizers() {
	case $1 in
		debug) echo "-fsanitize=address,undefined -fno-sanitize-recover=undefined" ;;
		fuzz) echo "-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined" ;;
	esac
}

# record PASSED FAILED PART NAME
record() {
	printf '%d\t%d\t%s\t%s\n' "$@" >>"$RESULTS"
	if (($2)); then
		echo "not ok  $3: $4"
	else
		echo "ok      $3: $4"
	fi
}

# Runs a command as one check: its output is shown if it fails.
# run_check PART NAME COMMAND...
run_check() {
	local part=$1 name=$2 output
	shift 2
	if output=$("$@" 2>&1); then
		record 1 0 "$part" "$name"
	else
		record 0 1 "$part" "$name"
		sed 's/^/        /' <<<"$output"
	fi
}

# The same for a command that prints TAP: each of its assertions counts. One that
# makes none, or fails without saying so, has failed once.
run_tests() {
	local part=$1 name=$2 output status=0 passed failed
	shift 2
	output=$("$@" 2>&1) || status=$?
	passed=$(grep -cE '^ok [0-9]' <<<"$output") || true
	failed=$(grep -cE '^not ok [0-9]' <<<"$output") || true
	if ((failed == 0 && (status != 0 || passed == 0))); then
		failed=1
	fi
	record "$passed" "$failed" "$part" "$name"
	if ((failed)); then
		sed 's/^/        /' <<<"$output"
	fi
}

# True if TESTS is empty or names this test.
selected() {
	[[ -z ${TESTS:-} || " $TESTS " == *" $1 "* ]]
}
