-- What t/095_console.pl looks at: an instance whose commands are handled, and which of them
-- somebody still has to answer only the definition tells.
SELECT message_bus.create_endpoint('desk');
SELECT saga.define('errand', '{
	"events": {"ErrandBegun": {}, "Nudged": {}, "Told": {}, "ErrandOver": {}},
	"facts": {"fee": {"keep": "latest", "lattice": {"none": ["asked"], "asked": ["paid"]}}},
	"start": {"ErrandBegun": {"goto": "Busy", "send": [
		{"endpoint": "desk", "type": "Ask", "compensation": "none",
			"resend": {"timer": "answer", "every": "1 hour", "limit": 2}},
		{"endpoint": "desk", "type": "Charge", "compensation": "none",
			"fact": {"of": "fee", "to": "asked"}},
		{"endpoint": "desk", "type": "Note", "compensation": "none"}]}},
	"states": {
		"Busy": {"default": "ignore", "on": {"Nudged": {"set": {"nudged": true}},
			"Told": {"unschedule": "answer", "schedule": {"timer": "end", "delay": "1 day"}},
			"timer:answer": {"goto": "Over"}, "timer:end": {"goto": "Over"},
			"ErrandOver": {"goto": "Over"}}},
		"Over": {"kind": "final", "default": "ignore"}}}');
