// Dead letters: groups of the same failure, single letters, redriving some and then all.
import { html, useEffect, useState } from './htm.js';
import { get, may, post, useData, useList } from './data.js';
import { Act, Ago, Answer, Badge, Card, Code, Empty, Fields, Heading, Id, List, State, Trouble,
	endpointLink, storyLink } from './ui.js';
import { Bulk } from './bulk.js';
import * as format from './format.js';

const NAMES = ['endpoint', 'message_type', 'reason', 'error_code', 'correlation_id', 'error'];

// The filter that an address names; "-" stands for an error without a code.
function filterOf(query) {
	const filter = {};
	NAMES.forEach((name) => {
		if (query[name]) filter[name] = name === 'error_code' && query[name] === '-' ? null
			: query[name];
	});
	return filter;
}

const address = (filter) => `#/dead?${new URLSearchParams(
	Object.entries(filter).map(([name, value]) => [name, value ?? '-']))}`;

export function Dead({ parts, query }) {
	if (parts[0]) return html`<${Letter} id=${parts[0]} endpoint=${query.endpoint} />`;
	const filter = filterOf(query);
	return html`<${Groups} filter=${filter} query=${query} />`;
}

function Groups({ filter, query }) {
	const text = Object.keys(filter).length ? JSON.stringify(filter) : undefined;
	const groups = useList('dead-groups', { endpoint: filter.endpoint, max: 50 }, 3000);
	const letters = useList('dead', { filter: text, max: 50 }, 3000);
	const reload = () => {
		groups.reload();
		letters.reload();
	};
	const none = letters.data && letters.rows.length === 0;
	const narrow = Object.keys(filter).some((name) => name !== 'endpoint');
	const chosen = Object.entries(filter).map(([name, value]) =>
		`${name.replace(/_/g, ' ')} ${value ?? 'none'}`).join(', ');
	return html`<${Heading} title="Dead letters"
		note=${chosen
		|| 'Messages that nobody could handle. They stay until they are redriven or discarded.'}>
			${!none && html`<${Mend} filter=${filter} reload=${reload} />`}<//>
		<${Search} query=${query} />
		${none ? html`<${Card}><${Empty} title=${text ? 'None matches.'
			: 'There is no dead letter.'}>${text ? html`<a href="#/dead">Show all</a>` :
			'Whatever was sent was handled, or still waits.'}<//><//>` : html`
		${!narrow && html`<${Card} title="By failure" note="without what was discarded"
			tools=${html`<a href="#/dead?reason=discarded">Discarded letters</a>`}>
			<${List} of=${{ ...groups, rows: groups.rows.filter(({ reason }) =>
				reason !== 'discarded') }} label="Groups of dead letters"
			rowKey=${(row) => row.key} columns=${groupColumns()} /><//>`}
		<${Card} title="Newest letters"><${List} of=${letters} label="Dead letters"
			rowKey=${(row) => row.key} columns=${letterColumns()} /><//>`}`;
}

function groupColumns() {
	return [{ head: 'Letters', num: true, cell: (row) => html`<strong>
		${row.count_capped ? '~' : ''}${format.count(row.count)}</strong>` },
		{ head: 'Endpoint', cell: (row) => html`<a href=${endpointLink(row.endpoint)}><bdi>
			${row.endpoint}</bdi></a>` },
		{ head: 'Type and error', grow: true,
			cell: (row) => html`<a href=${address({ endpoint: row.endpoint,
			message_type: row.message_type, reason: row.reason,
			error_code: row.error_code })}><bdi>${row.message_type}</bdi></a> <span class="note">
				${row.error_code ?? 'no code'}</span>
			<bdi class="cut muted">${row.newest_error ?? ''}</bdi>` },
		{ head: 'Reason', cell: (row) => html`<${State} value=${row.reason} />`, fixed: true },
		{ head: 'First', cell: (row) => html`<${Ago} at=${row.oldest_at} />`, fixed: true },
			{ head: 'Newest', cell: (row) => html`<${Ago} at=${row.newest_at} />`, fixed: true }];
}

function letterColumns() {
	return [{ head: 'Type', cell: (row) => html`<a
		href=${`#/dead/${row.message_id}?endpoint=${encodeURIComponent(row.endpoint)}`}><bdi>
		${row.message_type}</bdi></a>` },
		{ head: 'Endpoint', cell: (row) => html`<bdi>${row.endpoint}</bdi>` },
			{ head: 'Error', grow: true, cell: (row) => html`<bdi class="cut">
			${[row.error_code, row.error].filter(Boolean).join(': ')}</bdi>` },
		{ head: 'Reason', cell: (row) => html`<${State} value=${row.reason} />`, fixed: true },
			{ head: 'Attempts', num: true, cell: (row) => row.attempts },
		{ head: 'Story', cell: (row) => html`<${Id} value=${row.correlation_id}
			to=${storyLink(row.correlation_id)} />` },
			{ head: 'Failed', cell: (row) => html`<${Ago} at=${row.last_failed_at} />`,
			fixed: true }];
}

function Search({ query }) {
	const [values, setValues] = useState(query);
	useEffect(() => setValues(query), [JSON.stringify(query)]);
	const submit = (event) => {
		event.preventDefault();
		const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value));
		location.hash = Object.keys(given).length ? `#/dead?${new URLSearchParams(given)}`
			: '#/dead';
	};
	const field = (name, label) => html`<label>${label}
		<input type="search" value=${values[name] ?? ''} spellcheck="false"
		onInput=${(event) => setValues({ ...values, [name]: event.target.value })} /></label>`;
	return html`<form class="filter" onSubmit=${submit}>
		${field('endpoint', 'Endpoint')}${field('message_type', 'Type')}${field('error',
		'Error has')}<button>Filter</button>
		${Object.keys(query).length > 0 && html`<a href="#/dead">Show all</a>`}</form>`;
}

function Mend({ filter, reload }) {
	if (!may.act()) return html`<span
		class="note">Redriving takes ecommerce_admin and consoled --actions.</span>`;
	// exact to a thousand, then an estimate; what was given up is left alone unless it is asked for
	const count = async () => {
		const found = await get('dead-count', { filter: JSON.stringify({ reason: null,
			...filter }) });
		return { count: found.count, about: found.capped };
	};
	const all = Object.keys(filter).length ? 'these' : 'all';
	return html`<${Act} label="Redrive one" title="Redrive the one that failed first" done=${reload}
		act=${() => redriveFirst(filter)}>
			To see whether it goes now, before the others.<//>
		<${Bulk} label=${`Redrive ${all}`} primary rates title=${`Redrive ${all}`} start="Redrive"
			count=${count} done=${reload}
			ask=${(max, after, rate) => post('redrive', { filter, max, after,
				...(rate ? { per_second: rate } : {}) })}>
			Each goes to its endpoint once more, with the same id, those first that failed
				first.<//>
		<${Bulk} label=${`Discard ${all}`} danger title=${`Discard ${all}`} start="Discard"
			count=${count} done=${reload}
			ask=${(max, after) => post('discard', { filter, max, after })}>
			They are given up: they stay, marked as discarded, and are not redriven with
				others.<//>`;
}

// A row without a result only says where to go on.
async function redriveFirst(filter) {
	let rows = [];
	do rows = await post('redrive', { filter, max: 1, after: rows[0]?.key ?? null });
	while (rows[0]?.result === null);
	return rows;
}

function Letter({ id, endpoint }) {
	const found = useData('dead-letter', { id, endpoint });
	const row = found.data;
	return html`<${Heading} title=${row?.message_type ?? 'Dead letter'}
		note=${html`Dead letter <span class="id">${id}</span>`}>
			${row && may.act() && html`<${LetterTools} of=${row} reload=${found.reload} />`}<//>
		${found.error?.status === 404 ? html`<${Card}>
			<${Empty} title="It is no dead letter any more.">It was redriven, or forgotten. <a
			href=${`#/find/${id}`}>Find it</a><//><//>` :
		html`<${Answer} of=${found}>${row && html`<section class="verdict error">
			<span class="shape" aria-hidden="true">■</span><div><h2><bdi>
			${row.error_code ?? format.words(row.reason)}</bdi></h2>
			<p dir="auto">${row.error}</p></div></section>
		<${Card}><${Fields} of=${[['endpoint',
			html`<a href=${endpointLink(row.endpoint)}><bdi>${row.endpoint}</bdi></a>`],
			['reason', html`<${State} value=${row.reason} />`], ['attempts', row.attempts],
			['failed first', html`<${Ago} at=${row.first_failed_at} />`],
				['failed last', html`<${Ago} at=${row.last_failed_at} />`],
				['sent', html`<${Ago} at=${row.sent_at} />`],
			['story', html`<${Id} value=${row.correlation_id} to=${storyLink(row.correlation_id)}
				/>`], ['source', html`<bdi>${row.source ?? '–'}</bdi>`],
				['partition key', html`<bdi>${row.partition_key ?? '–'}</bdi>`],
			['user', html`<bdi>${row.user_id ?? '–'}</bdi>`]]} /><//>
		${row.body === null ? html`<${Card}><${Empty} title="Your role may not see what it holds."
			/><//>` : html`<${Body} of=${row} reload=${found.reload} />`}
		${row.headers && Object.keys(row.headers).length > 0 && html`<${Card} title="Headers">
			<${Code} value=${row.headers} label="Headers" /><//>`}`}<//>`}`;
}

function LetterTools({ of, reload }) {
	const only = { message_ids: [of.message_id], endpoint: of.endpoint, reason: of.reason };
	return html`<${Act} label="Redrive" title="Redrive it as it is" done=${reload}
		act=${() => post('redrive', { filter: only,
		max: 1 })}>It goes to ${of.endpoint} once more, with the same id.<//>
		<${Act} label="Discard" danger title="Discard it" done=${reload}
			act=${() => post('discard', { filter: only,
			max: 1 })}>It stays, marked as discarded.<//>`;
}

const EDITED = 200000;

// The body, which can be mended; the database checks it against the contract of its type.
function Body({ of, reload }) {
	const whole = format.json(of.body);
	const [text, setText] = useState(whole);
	const [verdict, setVerdict] = useState(null);
	if (!may.act() || whole.length > EDITED) return html`<${Card} title="Body"
		note=${whole.length > EDITED ? 'too long to edit here' : ''}>
		<${Code} value=${of.body} label="Body" /><//>`;
	const check = async () => {
		try {
			const body = JSON.parse(text);
			await post('check', { message_type: of.message_type, body,
				schema_version: of.schema_version });
			setVerdict({ good: true });
		} catch (error) {
			setVerdict({ error: error.more ? error
				: { message: `This is no JSON: ${error.message}`, more: {} } });
		}
	};
	return html`<${Card} title="Body" note=${`version ${of.schema_version} of ${of.message_type}`}>
		<div class="pad">
		<textarea rows=${Math.min(24, text.split('\n').length + 1)} spellcheck="false"
			aria-label="Body" value=${text} dir="auto" onInput=${(event) => {
			setText(event.target.value);
			setVerdict(null);
		}}></textarea>
		<div class="tools"><button onClick=${check}>Check</button>
			${text !== whole && html`<button onClick=${() => setText(whole)}>As it was</button>
			<${Act} label="Redrive with this body" title="Redrive with a corrected body"
				done=${reload}
				act=${() => post('redrive-one',
					{ message_id: of.message_id, endpoint: of.endpoint, body: JSON.parse(text) })}>
				The letter goes to ${of.endpoint} with the body as you have written it.<//>`}
			${verdict?.good && html`<span role="status">
				<${Badge} kind="good">it keeps its contract<//></span>`}</div>
		<${Trouble} error=${verdict?.error} /></div><//>`;
}
