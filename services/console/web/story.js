// What happened to one process, across services, and where it hangs.
import { html, useEffect, useState } from './htm.js';
import { get, may, post, useData, useList } from './data.js';
import { Act, Ago, Answer, Badge, Card, Code, Empty, Fields, Heading, Id, List, Loading, State,
	StreamName, Table, Trouble, storyLink, streamLink, endpointLink } from './ui.js';
import { Lanes } from './lanes.js';
import { placed, wholeStory } from './places.js';
import * as format from './format.js';

export function Story({ parts }) {
	return parts[0] ? html`<${One} id=${parts[0]} />` : html`<${Newest} />`;
}

// No id yet: what has happened lately.
function Newest() {
	const list = useList('newest', { max: 30 }, 'events');
	const seen = new Set();
	const rows = list.rows.filter(({ correlation_id: id }) => id && !seen.has(id) && seen.add(id));
	return html`<${Heading} title="Story"
		note="Everything that happened under one correlation id: events, messages, sagas and timers
			of all services." />
		<${Card} title="Moving lately"><${List} of=${{ ...list, rows }} label="Moving lately"
			rowKey=${(row) => row.correlation_id}
			empty=${html`<${Empty}
				title="Nothing has happened yet.">A story begins with the first event or
					message.<//>`} columns=${[
				{ head: 'Story', cell: (row) => html`<${Id} value=${row.correlation_id}
					to=${storyLink(row.correlation_id)} />`, fixed: true },
				{ head: 'Newest event', cell: (row) => html`<bdi>${row.event_type}</bdi>`,
					grow: true },
				{ head: 'Stream', fixed: true,
					cell: (row) => html`<${StreamName} name=${row.stream} />` },
				{ head: 'When', cell: (row) => html`<${Ago} at=${row.occurred_at} />`,
					fixed: true }]} /><//>`;
}

function One({ id }) {
	const good = format.isUuid(id);
	const story = useData(good ? 'story' : null, { id, max: 500 }, 'events', wholeStory);
	const watch = useData(good ? 'story' : null, { id, max: 500 }, 10000, wholeStory);
	const [chosen, setChosen] = useState(null);
	useEffect(() => setChosen(null), [id]);
	if (!good) {
		return html`<${Heading} title="Story" /><${Card}>
			<${Empty} title="That is no correlation id.">
			<a href="#/find/${encodeURIComponent(id)}">Find it</a> instead.<//><//>`;
	}
	const data = newer(story.data, watch.data);
	if (!data) return html`<${Heading} title="Story" />
		${story.error ? html`<${Trouble} error=${story.error} retry=${story.reload} />`
		: html`<${Loading} />`}`;
	const { entries } = data;
	const hanging = entries.filter((entry) => entry.hangs);
	const entry = entries[chosen ?? hanging[0]?.index];
	const first = entries[0];
	const last = entries.filter(({ kind }) => kind !== 'timer').pop();
	return html`<${Heading} title=${title(entries)}
		note=${html`<span class="id">${id}</span>${first && html`, began <${Ago}
			at=${first.at} />, last moved <${Ago} at=${last?.at} />`}`}>
			<${Sagas} of=${data.sagas} reload=${story.reload} /><//>
		${data.silent.map(({ name, error }) => html`<section class="verdict warning">
			<span class="shape" aria-hidden="true">▲</span>
			<h2><bdi>${name}</bdi> does not tell: <bdi>${error.message}</bdi></h2></section>`)}
		${hanging.map((place) => html`<${Hangs} key=${place.index} entry=${place}
			sagas=${data.sagas} reload=${story.reload} />`)}
		${entries.length === 0 ? html`<${Card}><${Empty} title="Nothing is known under this id.">
			It may have been forgotten, or have another correlation id. <a
				href="#/find/${id}">Find it</a><//><//>` : html`
		<${Card} title="Across services" note=${`${format.counted(entries.length,
			'entry', 'entries')}${entries.length >= 500 ? ', the last of more' : ''}`}>
			<${Lanes} entries=${entries} chosen=${entry?.index} onChoose=${setChosen} /><//>
		<div class="split"><${Card} title="What caused what">
			<${Tree} entries=${entries} chosen=${entry?.index} onChoose=${setChosen} /><//>
			<${Detail} entry=${entry} /></div>`}`;
}

function newer(one, other) {
	if (!one || !other) return one ?? other;
	return other.entries.length > one.entries.length ? other : one;
}

function title(entries) {
	const event = entries.find(({ kind, summary }) => kind === 'event' && summary?.stream);
	return event ? `Story of ${event.summary.stream.replace(/-([0-9a-f]{8})-.*$/, ' $1…')}`
		: 'Story';
}

function Sagas({ of, reload }) {
	return (of ?? []).map((saga) => html`<a class="button"
		href=${placed(`#/sagas/${encodeURIComponent(saga.saga)}/instance/${saga.correlation_id
		?? ''}`.replace(/\/instance\/$/, ''), saga.where)}>
		saga ${saga.saga}: ${saga.current_state}</a>
			${saga.next_timer && html`<span class="note">timer ${saga.next_timer} <${Ago}
			at=${saga.next_timer_at} /></span>`}`);
}

// The place where it hangs, and what mends it.
function Hangs({ entry, sagas, reload }) {
	const { summary } = entry;
	return html`<section class="verdict error"><span class="shape hangs" aria-hidden="true">■</span>
		<div>
		<h2>Hangs at <bdi>${entry.name}</bdi> in <bdi>${entry.row}
			</bdi>, since <${Ago} at=${summary?.last_failed_at ?? entry.at} /></h2>
		<p dir="auto">${[summary?.error_code, summary?.error].filter(Boolean).join(': ')}</p>
		${entry.what_to_type && html`<p class="note"><code>${entry.what_to_type}</code></p>`}</div>
		<div class="tools">${may.act() && html`<${Mend} entry=${entry} sagas=${sagas}
			reload=${reload} />`}</div></section>`;
}

function Mend({ entry, sagas, reload }) {
	const id = entry.id;
	const { where } = entry;
	if (entry.kind === 'dead_letter' || entry.state === 'dead') {
		return html`<a class="button" href=${placed(`#/dead/${id}?endpoint=${encodeURIComponent(
			entry.lane)}`, where)}>Open the letter</a>
			<${Act} label="Redrive" title="Send the dead letter again" done=${reload}
				act=${() => post('redrive', { filter: { message_ids: [id], endpoint: entry.lane },
					max: 10 }, where)}>
				It goes to ${entry.lane} once more, with the same id.<//>`;
	}
	if (['retrying', 'returned'].includes(entry.state)) {
		return html`<${Act} label="Try now" title="Try the message now" done=${reload}
			act=${() => post('retry-now', { endpoint: entry.lane,
				message_id: id }, where)}>It is delivered without waiting for its time.<//>`;
	}
	if (entry.kind === 'saga' || entry.kind === 'timer') {
		return (sagas ?? []).slice(0, 1).map((saga) => html`<${Act} label="Retry the saga"
			done=${reload}
			act=${() => post('retry-saga', { saga: saga.saga, id: saga.correlation_id },
				saga.where)}>
			What it is owed is asked for again, and its dead letters are redriven.<//>`);
	}
	return html`<a class="button" href=${placed(endpointLink(entry.lane), where)}>
		Open ${entry.lane}</a>`;
}

// Causes before effects, effects indented below their cause.
export function order(entries) {
	const children = new Map();
	const roots = [];
	entries.forEach((entry) => {
		const cause = entries[entry.cause];
		if (cause) children.set(cause, [...(children.get(cause) ?? []), entry]);
		else roots.push(entry);
	});
	const rows = [];
	const walk = (entry, depth) => {
		rows.push({ entry, depth });
		(children.get(entry) ?? []).forEach((child) => walk(child, depth + 1));
	};
	roots.forEach((entry) => walk(entry, 0));
	return rows;
}

function Tree({ entries, chosen, onChoose }) {
	const start = +new Date(entries[0].at);
	return html`<${Table} label="What caused what" rows=${order(entries)}
		rowKey=${({ entry }) => entry.index}
		rowClass=${({ entry }) => [entry.index === chosen && 'chosen',
			entry.hangs && 'error'].filter(Boolean).join(' ')} columns=${[
			{ head: 'After', num: true, cell: ({ entry }) => html`<span
				title=${format.when(entry.at)}>${
				format.duration(new Date(entry.at) - start)}</span>` },
			{ head: 'What', grow: true, cell: ({ entry, depth }) => html`<span class="tree">
				<span class="twig"
				aria-hidden="true" style=${{ paddingLeft: `${16 * Math.min(depth, 12)}px` }}>${
				depth ? '└ ' : ''}</span>
					<button class="plain"
				aria-pressed=${entry.index === chosen} onClick=${() => onChoose(entry.index)}><bdi>
					${entry.name}</bdi></button></span>` },
			{ head: 'Kind', cell: ({ entry }) => entry.kind.replace('_', ' '), fixed: true },
			{ head: 'Where', cell: ({ entry }) => html`<bdi>${entry.row}</bdi>` },
			{ head: 'State', cell: ({ entry }) => entry.kind === 'saga'
				? html`<bdi>${entry.state}</bdi>` : html`<${State}
				value=${entry.state} />`, fixed: true }]} />`;
}

const PLACES = { stream: streamLink };

function Detail({ entry }) {
	const [whole, setWhole] = useState(null);
	useEffect(() => setWhole(null), [entry?.index]);
	const full = useData(whole ? 'story-entry' : null,
		{ ...entry?.asked, kind: entry?.kind, entry: entry?.id }, undefined,
		(path, parameters) => get(path, parameters, entry.where));
	if (!entry) return html`<${Card} title="Choose an entry">
		<p class="pad muted">Its data is shown here.</p><//>`;
	const data = full.data?.data ?? parse(entry.data);
	return html`<${Card} title=${entry.name} note=${entry.kind.replace('_', ' ')}>
		<${Fields} of=${[['when', format.when(entry.at)], ['where', html`<bdi>${entry.row}</bdi>`],
			['state', html`<${State} value=${entry.state} />`],
				['id', html`<${Id} value=${entry.id} />`],
			...Object.entries(entry.summary ?? {}).filter(([, value]) => value !== null
				&& value !== '').map(([name, value]) => [
				name.replace(/_/g, ' '), PLACES[name]
					? html`<a href=${placed(PLACES[name](value), entry.where)}><bdi>${value}</bdi>
						</a>` :
					/_at$/.test(name) ? html`<${Ago} at=${value} />`
						: html`<bdi>${typeof value === 'object' ? JSON.stringify(value)
						: String(value)}</bdi>`])]} />
		${entry.data === null ? html`<p class="pad muted">Your role may not see what it holds.</p>`
			: html`<${Code} value=${data} label="Data" />`}
		${entry.data?.length >= 400 && !full.data && html`<div class="more">
			<button onClick=${() => setWhole(true)}>Show it whole</button></div>`}<//>`;
}

export function parse(text) {
	try {
		return JSON.parse(text);
	} catch {
		return text;
	}
}
