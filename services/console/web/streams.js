// Streams by category, one stream, one event, its state at any version.
import { html, useEffect, useState } from './htm.js';
import { may, useData, useList } from './data.js';
import { Ago, Answer, Badge, Card, Code, Empty, Fields, Heading, Id, List, StreamName, Table, Tabs,
	Trouble, storyLink, streamLink } from './ui.js';
import { Changes } from './changes.js';
import * as format from './format.js';

export function Streams({ parts, query }) {
	if (query.event) return html`<${Event} id=${query.event} />`;
	if (parts[0]) return html`<${Stream} name=${parts[0]} tab=${parts[1] ?? 'events'} query=${query}
		/>`;
	return html`<${Overview} query=${query} />`;
}

const go = (query) => {
	const given = Object.entries(query).filter(([, value]) => value);
	location.hash = `#/streams${given.length ? `?${new URLSearchParams(given)}` : ''}`;
};

function Overview({ query }) {
	const tab = query.tail || query.type ? 'Newest events' : 'Streams';
	const categories = useData('categories', {});
	return html`<${Heading} title="Streams" note="What the store holds, newest first." />
		<${Tabs} label="Views" current=${tab}
			of=${[['Streams', '#/streams'], ['Newest events', '#/streams?tail=1']]} />
		${tab === 'Streams' ? html`<div class="split slim"><${StreamList} query=${query} />
			<${Categories} of=${categories} chosen=${query.category} /></div>`
				: html`<${Tail} query=${query} categories=${categories.data ?? []} />`}`;
}

function Categories({ of, chosen }) {
	return html`<${Card} title="Categories"><${Answer} of=${of}
		empty=${html`<${Empty} title="No event yet." />`}>
		<${Table} label="Categories" rows=${of.data}
			rowClass=${(row) => row.category === chosen ? 'chosen' : ''} columns=${[
			{ head: 'Category', grow: true, cell: (row) => html`<a
				href=${`#/streams?category=${encodeURIComponent(row.category)}`}><bdi>
				${row.category}</bdi></a>` },
			{ head: 'Events', num: true, cell: (row) => html`<span title="estimate">
				${format.count(row.events_estimate)}</span>` },
			{ head: 'Newest', cell: (row) => html`<${Ago} at=${row.newest_at} />`, fixed: true }]}
				/><//><//>`;
}

function StreamList({ query }) {
	const [prefix, setPrefix] = useState(query.prefix ?? '');
	const list = useList('streams', { category: query.category, prefix: query.prefix, max: 50 },
		'events');
	const submit = (event) => {
		event.preventDefault();
		go({ ...query, prefix });
	};
	return html`<${Card} title=${query.category ? `Category ${query.category}` : 'All categories'}
		tools=${html`
		<form class="filter" onSubmit=${submit}>
			<input type="search" value=${prefix} aria-label="Beginning of a stream's name"
			placeholder="name begins with" onInput=${(event) => setPrefix(event.target.value)} />
				<button>Filter</button>
			${query.category && html`<a href="#/streams">All</a>`}</form>`}>
		<${List} of=${list} label="Streams" rowKey=${(row) => row.stream}
			empty=${query.category || query.prefix ? html`<${Empty} title="No stream matches.">
			An exact name is found however old it is.<//>`
			: html`<${Empty} title="There is no stream yet.">
			The first event of a stream makes it.<//>`} columns=${[
			{ head: 'Stream', grow: true, cell: (row) => html`<${StreamName}
				name=${row.stream} /> ${row.tombstoned
				? html`<${Badge} kind="error">tombstoned<//>` : row.deleted
					? html`<${Badge} kind="warning">deleted<//>` : ''}` },
			{ head: 'Version', num: true, cell: (row) => format.count(row.version) },
			{ head: 'Newest event', cell: (row) => html`<bdi>${row.newest_type ?? '–'}</bdi>` },
			{ head: 'When', cell: (row) => html`<${Ago} at=${row.newest_at} />`, fixed: true }]} />
				<//>`;
}

// The end of the log, live.
function Tail({ query, categories }) {
	const types = useData('event-types', { category: query.category });
	const list = useList('newest', { category: query.category, type: query.type, max: 50 },
		'events');
	const choose = (name) => (event) => go({ tail: 1, ...query, [name]: event.target.value });
	return html`<${Card} title="Newest events" note="New ones appear by themselves."
		tools=${html`<div class="filter">
		<label>Category <select value=${query.category ?? ''} onChange=${choose('category')}>
			<option value="">all</option>
			${categories.map(({ category }) => html`<option value=${category}>${category}
				</option>`)}</select></label>
		<label>Type <select value=${query.type ?? ''} onChange=${choose('type')}>
			<option value="">all</option>
			${(types.data ?? []).map(({ event_type: type }) => html`<option value=${type}>${type}
				</option>`)}</select></label></div>`}>
		<${List} of=${list} label="Newest events" rowKey=${(row) => row.event_id}
			columns=${eventColumns(true)}
			empty=${html`<${Empty} title=${query.category || query.type ? 'No such event.'
				: 'There is no event yet.'} />`} /><//>`;
}

function eventColumns(stream) {
	return [{ head: stream ? 'Position' : 'Version', num: true, cell: (row) => stream ? row.position
		: row.version },
		{ head: 'Type', cell: (row) => html`<a href=${`#/streams?event=${row.event_id}`}><bdi>
			${row.event_type}</bdi></a>` },
		stream && { head: 'Stream', wide: true,
			cell: (row) => html`<${StreamName} name=${row.stream} />` },
		{ head: 'Data', grow: true, cell: (row) => html`<bdi class="mono cut">${row.data}</bdi>` },
		{ head: 'Story', cell: (row) => html`<${Id} value=${row.correlation_id}
			to=${storyLink(row.correlation_id)} />` },
		{ head: 'When', cell: (row) => html`<${Ago} at=${row.occurred_at} />`,
			fixed: true }].filter(Boolean);
}

function Stream({ name, tab }) {
	return html`<${Heading} title=${name} note="Stream" />
		<${Tabs} label="Views of the stream" current=${tab}
			of=${[['events', streamLink(name)], ['state', `${streamLink(name)}/state`]]} />
		${!may.read() ? html`<${Card}><${Empty} title="Your role may not see what streams hold.">
			A member of ecommerce_reader may.<//><//>`
			: html`<${tab === 'state' ? States : Events} name=${name} />`}`;
}

function Events({ name }) {
	const list = useList('stream', { stream: name, max: 50 }, 'events');
	return html`<${Card} title="Events" note="newest first">
		<${List} of=${list} label="Events" rowKey=${(row) => row.event_id}
		columns=${eventColumns(false)} empty=${html`<${Empty}
			title="The stream has no event that can be read." />`} /><//>`;
}

// The aggregate's state at a version, and what changed since another one.
function States({ name }) {
	const newest = useData('stream', { stream: name, max: 1 });
	const [version, setVersion] = useState(null);
	const [other, setOther] = useState(null);
	const top = newest.data?.[0]?.version ?? 0;
	useEffect(() => {
		if (top && version === null) {
			setVersion(top);
			setOther(Math.max(1, top - 1));
		}
	}, [top]);
	const one = useData(version ? 'state' : null, { stream: name, version });
	const before = useData(other ? 'state' : null, { stream: name, version: other });
	if (newest.data?.length === 0) {
		return html`<${Card}><${Empty} title="The stream has no event that can be read." /><//>`;
	}
	const pick = (value, set, label) => html`<label>
		${label} <input type="number" min="1" max=${top} value=${value ?? ''}
		onChange=${(event) => set(+event.target.value || null)} /></label>`;
	return html`<div class="grid"><${Card} title="State"
		tools=${pick(version, setVersion, 'at version')}>
			<${Answer} of=${one}><${Code} value=${one.data?.state} label="State" /><//><//>
		<${Card} title="What changed" tools=${pick(other, setOther, 'since version')}>
			<${Trouble} error=${before.error} />
			${one.data && before.data && html`<${Changes} from=${before.data.state}
				to=${one.data.state} />`}<//></div>`;
}

function Event({ id }) {
	const found = useData('event', { id });
	const event = found.data;
	const upcast = event?.stored && event.stored.schema_version !== event.schema_version;
	return html`<${Heading} title=${event?.event_type ?? 'Event'}
		note=${html`Event <span class="id">${id}</span>`} />
		<${Answer} of=${found}>${event && html`<${Card}>
			<${Fields} of=${[['stream', html`<a href=${streamLink(event.stream)}><bdi>
			${event.stream}</bdi></a>`],
			['version', event.version], ['position', event.position],
				['occurred', html`<${Ago} at=${event.occurred_at}
				/>, ${format.when(event.occurred_at)}`],
			['schema version', event.schema_version],
				['story', html`<${Id} value=${event.correlation_id}
				to=${storyLink(event.correlation_id)} />`]]} /><//>
		<div class="grid"><${Card} title="Data"
			note=${upcast ? `as version ${event.schema_version} has it` : ''}>
			<${Code} value=${event.data} label="Data" /><//>
			${upcast && html`<${Card} title="As it was stored"
				note=${`version ${event.stored.schema_version}`}>
				<${Code} value=${event.stored.data} label="Stored data" /><//>`}
			<${Card} title="Metadata"><${Code} value=${event.metadata} label="Metadata" /><//>
				</div>`}<//>`;
}
