// The parts that all pages are made of.
import { html, useEffect, useRef, useState } from './htm.js';
import * as format from './format.js';
import { store, useStore } from './data.js';

// Relative times go on by themselves.
const now = store(Date.now());
setInterval(() => document.hidden || now.set(Date.now()), 1000);

export function Ago({ at }) {
	const current = useStore(now);
	if (!at) return html`<span class="muted">–</span>`;
	return html`<time datetime=${at} title=${format.when(at)}>${format.relative(at, current)}
		</time>`;
}

// coarse: the greater unit alone.
export function Span({ value, coarse }) {
	const ms = format.interval(value);
	const text = ms === null ? '–' : format.duration(Math.max(ms, 0));
	return html`<span title=${value ?? ''}>${coarse ? text.split(' ').slice(0, 2).join(' ')
		: text}</span>`;
}

// Which shape says what, besides the colour.
const SHAPES = { error: '■', warning: '▲', good: '●', busy: '◆', idle: '○' };

export function Badge({ kind = 'idle', children }) {
	return html`<span class="badge ${kind}"><span class="shape" aria-hidden="true">${SHAPES[kind]
		}</span>${children}</span>`;
}

const STATES = {
	error: ['dead', 'failed', 'lost', 'failing', 'fault', 'error', 'Cancelled', 'refused', 'open',
		'overdue', 'stuck'],
	warning: ['retrying', 'unfed', 'held', 'blocked', 'paused', 'warning', 'skipped', 'expired',
		'half_open', 'returned', 'expected', 'declined', 'unknown', 'disputed', 'rebuilding'],
	good: ['running', 'settled', 'stored', 'Confirmed', 'Completed', 'redriven', 'captured',
		'committed', 'delivered', 'sent', 'set', 'final', 'arranged', 'dispatched'],
	busy: ['in_hand', 'leased', 'transaction', 'lease', 'held back', 'pending'],
};

export function State({ value }) {
	if (!value) return html`<span class="muted">–</span>`;
	const kind = Object.keys(STATES).find((name) => STATES[name].includes(value)) ?? 'idle';
	return html`<${Badge} kind=${kind}>${format.words(value)}<//>`;
}

export function Id({ value, to }) {
	if (!value) return html`<span class="muted">–</span>`;
	const text = format.short(value);
	return to ? html`<a class="id" href=${to} title=${value}>${text}</a>` :
		html`<span class="id" title=${value}>${text}</span>`;
}

export const storyLink = (id) => `#/story/${id}`;
export const streamLink = (name) => `#/streams/${encodeURIComponent(name)}`;
export const endpointLink = (name) => `#/messages/${encodeURIComponent(name)}`;

export function StreamName({ name }) {
	return html`<a href=${streamLink(name)} title=${name}><bdi>${format.shortStream(name)}</bdi>
		</a>`;
}

export function Heading({ title, note, children }) {
	useEffect(() => {
		document.title = `${title} · ecommerce console`;
	}, [title]);
	return html`<div class="heading">
		<div><h1 tabindex="-1">${title}</h1>${note && html`<p class="note">${note}</p>`}</div>
		${children && html`<div class="tools">${children}</div>`}
	</div>`;
}

export function Card({ title, note, children, tools, wide }) {
	return html`<section class="card ${wide ? 'wide' : ''}">
		${title && html`<header><h2>${title}</h2>${note && html`<p class="note">${note}</p>`}
			${tools && html`<div class="tools">${tools}</div>`}</header>`}
		${children}
	</section>`;
}

export function Empty({ title, children }) {
	return html`<div class="empty"><p class="lead">${title}</p>
		${children && html`<p>${children}</p>`}</div>`;
}

// What the server refused, with what it advises.
export function Trouble({ error, retry }) {
	if (!error) return null;
	const missing = ['42883', '42P01', '3F000'].includes(error.more?.sqlstate);
	return html`<div class="trouble" role="alert">
		<${Badge} kind="error">${error.status === 403 ? 'not allowed' : 'failed'}<//>
		<div><p>${missing ? 'This database does not have what the page shows.' : error.message}</p>
		${(missing || error.more?.detail || error.more?.hint) && html`<p class="note">${missing ?
			error.message : [error.more.detail, error.more.hint].filter(Boolean).join(' ')}</p>`}
		${error.more?.sqlstate && html`<p class="note">SQLSTATE ${error.more.sqlstate}</p>`}</div>
		${retry && html`<button onClick=${retry}>Try again</button>`}
	</div>`;
}

export function Loading() {
	return html`<div class="loading" role="status"><span class="sr">Loading</span></div>`;
}

// What was asked for, or why it is not there. An element even if that is nothing: without one,
// what comes after it later would be put before all others.
export function Answer({ of, children, empty }) {
	return html`<div class="answer">${of.loading && !of.data ? html`<${Loading} />` : html`
		<${Trouble} error=${of.error} retry=${of.reload} />
		${of.data && (empty && of.data.length === 0 ? empty : children)}`}</div>`;
}

// columns: {head, cell(row), num, grow}. rowClass and rowKey are functions of a row.
export function Table({ columns, rows, label, rowKey, rowClass, empty }) {
	const shown = columns.filter(Boolean);
	if (rows.length === 0) return empty ?? html`<${Empty} title="Nothing here." />`;
	return html`<div class="scroll" role="region" aria-label=${label} tabindex="0">
		<table><thead><tr>${shown.map((column) => html`<th scope="col"
			class=${classes(column)}>${column.head}</th>`)}</tr></thead>
		<tbody>${rows.map((row, index) => html`<tr key=${rowKey ? rowKey(row) : index}
			class=${rowClass?.(row) ?? ''}>${shown.map((column) =>
				html`<td class=${classes(column)}>${column.cell(row)}</td>`)}</tr>`)}</tbody>
					</table>
	</div>`;
}

function classes({ num, grow, fixed, wide }) {
	return [num && 'num', grow && 'grow', fixed && 'fixed', wide && 'wide'].filter(Boolean)
		.join(' ');
}

// A list that is read page by page.
export function List({ of, columns, label, empty, rowKey, rowClass }) {
	if (of.loading && !of.data) return html`<${Loading} />`;
	return html`<${Trouble} error=${of.error} retry=${of.reload} />
		${of.data && html`<${Table} columns=${columns} rows=${of.rows} label=${label} empty=${empty}
			rowKey=${rowKey} rowClass=${rowClass} />`}
		${(of.more || of.still) && html`<div class="more">
			${of.more && html`<button onClick=${of.loadMore}>Show more</button>`}
			<span class="note">${format.count(of.rows.length)} shown</span>
			${of.still && html`<button class="plain" onClick=${of.reload}>Back to the first page,
				live</button>`}</div>`}`;
}

export function Fields({ of }) {
	return html`<dl class="fields">${of.filter(Boolean).map(([name, value]) => html`
		<div><dt>${name}</dt><dd>${value ?? '–'}</dd></div>`)}</dl>`;
}

// One of the numbers that say how things stand.
export function Figure({ name, value, below, href, kind = '' }) {
	return html`<${href ? 'a' : 'div'} class="figure ${kind}" href=${href}><span class="name">
		${name}</span>
		<span class="value">${value}</span><span class="below">${below ?? ''}</span><//>`;
}

const SHOWN = 20000;

// JSON as text, long ones by their beginning.
export function Code({ value, label }) {
	const [whole, setWhole] = useState(false);
	const text = typeof value === 'string' ? value : format.json(value);
	const cut = text.length > SHOWN && !whole;
	return html`<div class="code"><pre tabindex="0" aria-label=${label ?? 'data'} role="region"
		dir="auto">${cut ? text.slice(0, SHOWN) : text}</pre>
		${cut && html`<button onClick=${() => setWhole(true)}>Show all ${format.bytes(text.length)}
			</button>`}
	</div>`;
}

export function Tabs({ of, current, label }) {
	return html`<nav class="tabs" aria-label=${label}>
		${of.filter(Boolean).map(([name, href, n]) => html`
		<a href=${href} aria-current=${name === current ? 'page' : null}>${name}${n !== undefined &&
			n !== null && html` <span class="n">${n}</span>`}</a>`)}</nav>`;
}

export function Dialog({ title, onClose, children }) {
	const element = useRef();
	useEffect(() => {
		element.current.showModal();
	}, []);
	return html`<dialog ref=${element} aria-labelledby="dialog-title" onClose=${onClose}>
		<h2 id="dialog-title">${title}</h2>${children}</dialog>`;
}

export function closeDialog(event) {
	event.target.closest('dialog').close();
}

// The dialog that is open. It belongs to the frame: what has been done often takes away the row
// or page whose button has opened it, and what became of it must still be read.
const shown = store(null);
let opened = 0;

export function openDialog(Part, props) {
	shown.set({ Part, props, key: ++opened });
}

export function Dialogs({ place }) {
	const one = useStore(shown);
	useEffect(() => () => shown.set(null), [place]);
	return one && html`<${one.Part} key=${one.key} ...${one.props}
		onClose=${() => shown.set(null)} />`;
}

// Asks before something is done, does it, and says what became of it.
export function Act({ label, danger, disabled, ...rest }) {
	return html`<button class=${danger ? 'danger' : ''} disabled=${disabled}
		onClick=${() => openDialog(Ask, { label, danger, ...rest })}>${label}</button>`;
}

function Ask({ label, confirm, title, danger, children, act, done, fields, onClose }) {
	const [state, setState] = useState({});
	const [values, setValues] = useState(Object.fromEntries((fields ?? []).map((field) =>
		[field.name, field.value ?? ''])));
	const run = async (event) => {
		event.preventDefault();
		setState({ running: true });
		try {
			setState({ result: await act(values) });
			done?.();
		} catch (error) {
			setState({ error });
		}
	};
	return html`<${Dialog} title=${title ?? label} onClose=${onClose}>
		<form onSubmit=${run}>
			<div class="explain">${children}</div>
			${(fields ?? []).map((field) => html`<label>${field.label}
				<input value=${values[field.name]} required=${field.required}
					onInput=${(event) => setValues({ ...values,
						[field.name]: event.target.value })} />
			</label>`)}
			<${Trouble} error=${state.error} />
			${state.result && html`<p role="status">
				<${Badge} kind="good">done<//> ${said(state.result)}</p>`}
			<div class="buttons">
				<button type="button" onClick=${closeDialog}>
					${state.result ? 'Close' : 'Leave it'}</button>
				${!state.result && html`<button class="primary ${danger ? 'danger' : ''}"
					disabled=${state.running}>${state.running ? 'Working…' : confirm ?? label}
						</button>`}
			</div>
		</form>
	<//>`;
}

// What the database answered, in words.
function said(result) {
	if (Array.isArray(result)) {
		const counts = {};
		result.forEach((row) => {
			counts[row.result] = (counts[row.result] ?? 0) + (row.count ?? 1);
		});
		return Object.entries(counts).map(([name, n]) => `${n} ${name}`).join(', ')
			|| 'nothing was there';
	}
	const value = result.result;
	return value === 0 || value === null || value === undefined ? ''
		: `The database says: ${value}`;
}
