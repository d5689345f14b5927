// Several databases that make one system: what is asked of all of them, and how their answers
// are put together.
import { database, get, session } from './data.js';

// '' is the one that has let us in.
export const databases = () => ['', ...(session.get()?.also ?? [])];
export const severalDatabases = () => databases().length > 1;
export const nameOf = (where) => where || session.get()?.name
	|| session.get()?.who.database;

// A link to a page, in the database that it is about. Stories are about all of them.
export function placed(href, where) {
	if (!severalDatabases() || !href || href.startsWith('#/story/')) return href;
	return `${href}${href.includes('?') ? '&' : '?'}in=${encodeURIComponent(where)}`;
}

// What each of them answers: [{ where, data } or { where, error }]. None that does: a refusal.
export async function everywhere(path, parameters) {
	const answers = await Promise.all(databases().map(async (where) => {
		try {
			return { where, data: await get(path, parameters, where) };
		} catch (error) {
			return { where, error };
		}
	}));
	if (answers.every(({ error }) => error)) throw answers[0].error;
	return answers;
}

// As a list with the name of the database in each row, and who has not answered.
export async function findEverywhere(path, parameters) {
	const answers = await everywhere(path, parameters);
	return Object.assign(answers.flatMap(({ where, data }) =>
		(data ?? []).map((row) => ({ ...row, where }))), { silent: silentOf(answers) });
}

function silentOf(answers) {
	return answers.filter(({ error }) => error).map(({ where, error }) =>
		({ name: nameOf(where), error }));
}

// The same process has ids of its own in each database: the saga's instance here, the
// correlation there. Whoever knows more of them tells, and then the others are asked with all.
const ROUNDS = 3;
const MOST_IDS = 8;

export async function wholeStory(path, { id, max }) {
	const answers = new Map();
	let ids = [id];
	for (let round = 0; round < ROUNDS; round++) {
		const knows = ({ data, error }) => error || ids.every((one) => data.related?.includes(one));
		const wanted = databases().filter((where) => !answers.has(where)
			|| !knows(answers.get(where)));
		if (wanted.length === 0) break;
		const list = `{${ids}}`;
		await Promise.all(wanted.map(async (where) => answers.set(where,
			await tell(path, where, { id, max, ids: ids.length > 1 ? list : null }))));
		ids = [...new Set([...ids, ...[...answers.values()].flatMap(({ data }) =>
			data?.related ?? [])])].slice(0, MOST_IDS);
	}
	const told = databases().map((where) => answers.get(where));
	if (told.every(({ error }) => error)) throw told[0].error;
	return { entries: join(told), sagas: told.flatMap(({ where, data }) =>
		(data?.sagas ?? []).map((saga) => ({ ...saga, where }))), silent: silentOf(told) };
}

async function tell(path, where, parameters) {
	try {
		return { where, parameters, data: await get(path, parameters, where) };
	} catch (error) {
		return { where, error };
	}
}

// In order of time. A message has its time from where it was sent; there it comes first.
function join(answers) {
	const leaves = (entry) => (entry.summary?.forward_to ? 0 : 1);
	const entries = answers.flatMap(({ where, parameters, data }) => (data?.entries ?? []).map(
		(entry) => ({ ...entry, where, asked: parameters, row: severalDatabases()
			? `${nameOf(where)}: ${entry.lane}` : entry.lane })));
	return link(!severalDatabases() ? entries : entries.sort((a, b) => compare(a.at, b.at)
		|| leaves(a) - leaves(b)));
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

// Which entry each goes back to: cause, its index. What has come from another database goes
// back to what left there under the same id.
export function link(list) {
	const entries = list.map((entry, index) => ({ ...entry, index }));
	const byId = new Map();
	entries.forEach((entry) => byId.set(entry.id, [...(byId.get(entry.id) ?? []), entry]));
	const senders = new Map(entries.flatMap((entry) => (entry.summary?.sent ?? []).map((id) =>
		[id, entry])));
	entries.forEach((entry) => {
		const before = (id) => (byId.get(id) ?? []).filter(({ index }) => index < entry.index);
		const left = before(entry.id).filter(({ where, summary }) => where !== entry.where
			&& summary?.forward_to);
		const causes = before(entry.caused_by);
		const here = causes.filter(({ where }) => where === entry.where);
		// messages that were settled long ago are gone; sagas know what they have sent
		const sender = senders.get(entry.caused_by);
		entry.cause = (left.pop() ?? here.pop() ?? causes.pop()
			?? (sender?.index < entry.index ? sender : null))?.index ?? null;
	});
	return entries;
}

// The address says which one is looked at.
export function lookAt(where) {
	if (where !== undefined && databases().includes(where)) database.set(where);
}
