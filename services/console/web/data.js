// What pages know of the database: requests, the session, and what comes live.
import { useEffect, useRef, useState } from './htm.js';

// A value that components can watch.
export function store(value) {
	const watchers = new Set();
	return {
		get: () => value,
		set(next) {
			value = next;
			watchers.forEach((watcher) => watcher(value));
		},
		watch(watcher) {
			watchers.add(watcher);
			return () => watchers.delete(watcher);
		},
	};
}

export function useStore(source) {
	const [value, setValue] = useState(source.get());
	useEffect(() => {
		setValue(source.get());
		return source.watch(setValue);
	}, [source]);
	return value;
}

// null: not known yet; false: nobody is logged in.
export const session = store(null);
// connection: 'live', 'paused', 'down' (the database), 'lost' (the console).
export const live = store({ connection: 'paused', sample: null, at: null });
// Rises with news from the log, at most twice a second.
export const events = store(0);
export const paused = store(false);
// The database that pages look at: '' is the one that has let us in.
export const database = store('');

export class Refusal extends Error {
	constructor(status, problem) {
		super(problem?.detail ?? (status ? `the console answered ${status}` :
			'the console cannot be reached'));
		this.status = status;
		this.more = problem?.errors?.[0] ?? {};
	}
}

// A network that drops says nothing: how long an answer may take, in ms.
const PATIENCE = { GET: 20000, POST: 60000, slow: 130000 };

async function request(method, path, body, where) {
	const patience = /^(verify-|simulate)/.test(path) ? PATIENCE.slow : PATIENCE[method];
	const options = { method, headers: {}, cache: 'no-store',
		signal: AbortSignal.timeout(patience) };
	if (where) options.headers['X-Database'] = where;
	if (body !== undefined) {
		options.body = JSON.stringify(body);
		options.headers['Content-Type'] = 'application/json';
		options.headers['X-CSRF-Token'] = session.get()?.csrf ?? '';
	}
	let reply;
	let text;
	try {
		reply = await fetch(`api/${path}`, options);
		text = await reply.text();
	} catch {
		throw new Refusal(0);
	}
	let answer = null;
	try {
		answer = JSON.parse(text);
	} catch {
		answer = null;
	}
	if (reply.status === 401 && path !== 'log-in') session.set(false);
	if (!reply.ok) throw new Refusal(reply.status, answer);
	return answer;
}

export function query(parameters) {
	const given = Object.entries(parameters ?? {}).filter(([, value]) =>
		value !== undefined && value !== null && value !== '');
	return given.length ? '?' + new URLSearchParams(given) : '';
}

export const get = (path, parameters, where = database.get()) =>
	request('GET', path + query(parameters), undefined, where);
export const post = (path, body = {}, where = database.get()) =>
	request('POST', path, body, where);

export async function logIn(role, password) {
	session.set(await post('log-in', { role, password }));
}

export async function logOut() {
	try {
		await post('log-out');
	} finally {
		session.set(false);
	}
}

export async function findSession() {
	try {
		session.set(await get('session'));
	} catch (error) {
		if (error.status !== 401) throw error;
	}
}

export const may = {
	act: () => Boolean(session.get()?.actions && session.get()?.who.admin),
	end: () => may.act() && session.get().who.signal,
	send: () => Boolean(session.get()?.actions && session.get()?.who.writer),
	read: () => Boolean(session.get()?.who.reader),
	watch: () => Boolean(session.get()?.who.monitor),
};

// One stream for the page, closed while nobody sees it.
let source = null;
let silence = null;

// Something comes every two seconds, if only that nothing has moved, or after ten that the
// database does not answer.
const SILENCE = 15000;

export function follow() {
	const wanted = session.get() && may.watch() && !paused.get() && !document.hidden;
	if (!wanted) {
		forsake('paused');
	} else if (!source) {
		listen();
	}
}

function forsake(connection) {
	clearTimeout(silence);
	source?.close();
	source = null;
	live.set({ ...live.get(), connection });
}

function listen() {
	source = new EventSource('api/live');
	const on = (name, handle) => source.addEventListener(name, (message) => {
		heard();
		handle(message);
	});
	heard();
	on('sample', ({ data }) => live.set({ connection: 'live', sample: JSON.parse(data),
		at: Date.now() }));
	on('still', () => {});
	on('down', () => live.set({ ...live.get(), connection: 'down' }));
	on('events', () => events.set(events.get() + 1));
	source.addEventListener('error', () => {
		live.set({ ...live.get(), connection: 'lost' });
		if (source?.readyState === EventSource.CLOSED) again();
	});
}

function heard() {
	clearTimeout(silence);
	silence = setTimeout(again, SILENCE);
}

function again() {
	forsake('lost');
	setTimeout(retry, 2000);
}

// The browser gives up where the answer was no stream: perhaps nobody is logged in any more.
async function retry() {
	if (source) return;
	try {
		if (session.get()) await get('session');
	} catch {
		setTimeout(retry, 2000);
		return;
	}
	follow();
}

document.addEventListener('visibilitychange', follow);
session.watch(follow);
paused.watch(follow);

// What a resource gives: {data, error, loading, reload}. every: asked again after so many ms
// while the page is seen, or 'events': when something was appended. ask: who is asked.
export function useData(path, parameters, every, ask = get) {
	const [state, setState] = useState({ data: null, error: null, loading: true });
	const where = useStore(database);
	const address = path === null ? null : `${where} ${path}${query(parameters)}`;
	const current = useRef();
	current.current = address;
	const load = async () => {
		if (address === null) return;
		try {
			const data = await ask(path, parameters);
			if (current.current === address) setState({ data, error: null, loading: false });
		} catch (error) {
			if (current.current === address) {
				setState((old) => ({ data: error.status === 404 ? null : old.data, error,
					loading: false }));
			}
		}
	};
	useEffect(() => {
		setState({ data: null, error: null, loading: address !== null });
		load();
	}, [address]);
	useEffect(() => {
		if (!every || address === null) return undefined;
		let waiting = null;
		const again = (wait) => {
			waiting ??= setTimeout(async () => {
				waiting = null;
				if (!document.hidden && !paused.get()) await load();
				if (every !== 'events') again(every);
			}, wait);
		};
		const stop = every === 'events' ? events.watch(() => again(1000)) : null;
		if (every !== 'events') again(every);
		return () => {
			stop?.();
			clearTimeout(waiting);
		};
	}, [address, every]);
	return { ...state, reload: load };
}

// A list page by page: {rows, error, loading, more, loadMore, still, reload}. Whoever has gone on
// from its first page reads on in peace: it stands still then, or there would be gaps.
export function useList(path, parameters, every) {
	const [older, setOlder] = useState([]);
	const page = useData(path, parameters, older.length ? undefined : every);
	const [end, setEnd] = useState(false);
	const [error, setError] = useState(null);
	const address = path + query(parameters);
	useEffect(() => {
		setOlder([]);
		setEnd(false);
		setError(null);
	}, [address]);
	const size = +(parameters?.max ?? 50);
	const found = [...(page.data ?? []), ...older];
	const last = found[found.length - 1];
	// a last row without an id only says where to go on
	const whole = Boolean(last) && bookmark(last) === false;
	const rows = found.filter((row) => !bookmark(row));
	const full = (older.length ? end === false : (page.data ?? []).length >= size || !whole);
	return {
		...page, rows, error: error ?? page.error, more: Boolean(last) && full,
		still: older.length > 0 && Boolean(every),
		reload() {
			setOlder([]);
			setEnd(false);
			return page.reload();
		},
		async loadMore() {
			try {
				const next = await get(path, { ...parameters, after: last.key });
				setOlder([...older, ...next]);
				setEnd(next.length === 0 || (next.length < size
					&& !bookmark(next[next.length - 1])));
			} catch (refusal) {
				setError(refusal);
			}
		},
	};
}

function bookmark(row) {
	const first = Object.keys(row)[0];
	const ids = ['event_id', 'stream', 'correlation_id', 'message_id'].filter((id) => id in row);
	return ids.length > 0 && row[first] === null && ids.every((id) => row[id] === null);
}
