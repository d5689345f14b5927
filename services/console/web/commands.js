// What an instance of a saga has sent, and which of it somebody still owes an answer.

const HOLD_NO_ACTIONS = ['body', 'data', 'set', 'description'];
const listOf = (value) => [value ?? []].flat();

// Parts of a named command may be changed where it is sent; null takes one away.
function changed(command, changes) {
	const result = { ...command };
	Object.entries(changes).forEach(([name, value]) => {
		if (value === null) delete result[name];
		else if (value?.constructor === Object) result[name] = changed(result[name], value);
		else result[name] = value;
	});
	return result;
}

// All commands of a definition, as they are put together.
function sendsOf(definition) {
	const found = [];
	const walk = (part) => Object.entries(part).forEach(([name, value]) => {
		if (name === 'send') {
			found.push(...listOf(value).map(({ command, ...rest }) =>
				changed(definition.commands?.[command], rest)));
		} else if (value && typeof value === 'object' && !HOLD_NO_ACTIONS.includes(name)) {
			walk(value);
		}
	});
	walk({ start: definition.start, states: definition.states, common: definition.common,
		cancel: definition.cancel });
	return found;
}

// Endpoint and type of each command that something waits for, with what tells that it still
// does: the timer that sends it again, the status of a fact in which it has put a record.
export function awaited(definition) {
	const rules = new Map();
	const wait = ({ endpoint, type }, timer, fact) => {
		const name = `${endpoint} ${type}`;
		const rule = rules.get(name) ?? { timers: [], facts: [] };
		if (timer) rule.timers.push(timer);
		if (fact?.of && fact.to) rule.facts.push(fact);
		rules.set(name, rule);
	};
	sendsOf(definition).forEach((send) => {
		const { compensation, fact, key, resend } = send;
		if (resend || fact || key || compensation !== 'none') wait(send, resend?.timer, fact);
		if (compensation?.endpoint) wait(compensation, 'compensate');
	});
	Object.values(definition.owed ?? {}).forEach((rule) => wait(rule, null,
		{ of: rule.each, to: rule.to }));
	return rules;
}

// Whether an answer to what was handled is outstanding. Where neither timer nor fact tells, it is
// to what the last step has sent: an instance that has gone on has had its answer.
function waitsFor(entry, rule, { data, timers, keys, last }) {
	const key = keys.get(entry.id);
	const records = ({ of }) => listOf(data?.[of]).filter((record) => record?.key === key);
	const told = rule.timers.length > 0 || (data && key && rule.facts.length > 0);
	if (!told) return last.has(entry.id);
	return rule.timers.some((name) => timers.some(({ timer }) => timer === name))
		|| rule.facts.some((fact) => records(fact).some(({ st }) => st === fact.to));
}

// entries: its story. found: { instance, history, timers }. Each command with its answer, if that
// is known; open: it is not handled yet, or an answer is outstanding; mute: none will come.
export function commandsOf(entries, found, definition) {
	const steps = entries.filter(({ kind, summary }) => kind === 'saga' && summary?.sent?.length);
	const sent = new Set(steps.flatMap(({ summary }) => summary.sent));
	const rules = awaited(definition);
	const ended = definition.states[found.instance.current_state]?.kind === 'final';
	const now = { data: found.instance.data, timers: found.timers,
		last: new Set(steps[steps.length - 1]?.summary.sent),
		keys: new Map(found.history.flatMap(({ actions }) => listOf(actions))
			.map(({ message_id: id, key }) => [id, key])) };
	// the first that came of it: more may be heard of the same matter later
	const answers = new Map(entries.filter(({ kind }) => kind === 'message').reverse().map(
		(entry) => [entry.caused_by, entry.name]));
	const commands = entries.filter(({ kind, id }) => sent.has(id) && kind !== 'event');
	// Of those that were sent again, the last one stands for all.
	const newest = new Map(commands.map((entry) => [now.keys.get(entry.id) ?? entry.id, entry]));
	return commands.map((entry) => {
		const rule = rules.get(`${entry.lane} ${entry.name}`);
		const again = newest.get(now.keys.get(entry.id) ?? entry.id) !== entry;
		return { ...entry, answer: answers.get(entry.id), mute: !rule, again,
			open: !ended && !answers.has(entry.id) && (entry.state !== 'settled'
				|| Boolean(rule && !again && waitsFor(entry, rule, now))) };
	}).sort((a, b) => b.open - a.open);
}
