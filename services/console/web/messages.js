// Endpoints, and what waits in one of them.
import { html, useState } from './htm.js';
import { may, post, useData, useList } from './data.js';
import { Act, Ago, Answer, Badge, Card, Code, Empty, Fields, Heading, Id, List, Span, State, Table,
	Tabs, Trouble, endpointLink, storyLink } from './ui.js';
import { Bulk } from './bulk.js';
import { Wrong, useProblems } from './problems.js';
import * as format from './format.js';

const STATES = ['waiting', 'leased', 'retrying', 'scheduled', 'held', 'blocked', 'returned'];

export function Messages({ parts, query }) {
	return parts[0] ? html`<${Endpoint} name=${parts[0]} state=${query.state} />`
		: html`<${Endpoints} />`;
}

// What is set aside, and dead, is counted so far.
const MOST = 10000;
const counted = (value, capped) => format.count(Math.min(value, MOST), capped && value >= MOST);
const zero = (value, hot, capped) => html`<span class=${value ? hot ?? '' : 'zero'}>
	${capped === undefined ? format.count(value) : counted(value, capped)}</span>`;

function Endpoints() {
	const list = useList('endpoints', { max: 50 }, 2000);
	// the worse of what is wrong with each
	const wrong = {};
	useProblems().forEach(({ severity, detail }) => {
		if (detail?.endpoint && wrong[detail.endpoint] !== 'error') {
			wrong[detail.endpoint] = severity;
		}
	});
	return html`<${Heading} title="Messages"
		note="Every endpoint: what waits in it, how old it is, how fast it goes." />
		<${Wrong} page="messages" />
		<${Card}><${List} of=${list} label="Endpoints" empty=${html`<${Empty}
			title="There is no endpoint.">message_bus.create_endpoint() makes one.<//>`}
				rowKey=${(row) => row.name}
				rowClass=${(row) => row.dead ? 'error' : wrong[row.name] ?? (row.breakers
				|| row.paused ? 'warning' : '')} columns=${[
				{ head: 'Endpoint', grow: true,
					cell: (row) => html`<a href=${endpointLink(row.name)}><bdi>${row.name}</bdi>
					</a> ${row.paused ?
					html`<${Badge} kind="warning">paused<//>` : ''} ${row.breakers
						? html`<${Badge} kind="warning">breaker open<//>` : ''}` },
				{ head: 'Dead', num: true, cell: (row) => row.dead
					? html`<a class="hot" href=${`#/dead?endpoint=${encodeURIComponent(row.name)}`}>
					${counted(row.dead, row.counts_capped)}</a>`
						: zero(0) },
				{ head: 'Waiting', num: true, cell: (row) => zero(row.depth) },
				{ head: 'Oldest', num: true, cell: (row) => html`<${Span}
					value=${row.oldest_unacked_age} />` },
				{ head: 'In hand', num: true, cell: (row) => zero(row.in_flight) },
				{ head: 'Retrying', num: true,
					cell: (row) => zero(row.retrying, '', row.counts_capped) },
				{ head: 'Scheduled', num: true,
					cell: (row) => zero(row.scheduled, '', row.counts_capped) },
				{ head: 'Held', num: true, cell: (row) => zero(row.held, '', row.counts_capped) },
				{ head: 'Sent/s', num: true, cell: (row) => format.rate(row.sent_per_s) },
				{ head: 'Handled/s', num: true, cell: (row) => format.rate(row.acked_per_s) },
				{ head: 'Lanes', num: true, cell: (row) => row.lanes }]} /><//>`;
}

function Endpoint({ name, state }) {
	const all = useData('endpoints', { endpoint: name }, 2000);
	const about = useData('endpoint', { endpoint: name });
	const row = all.data?.[0];
	const link = (of) => `${endpointLink(name)}${of ? `?state=${of}` : ''}`;
	if (all.data && !row) return html`<${Heading} title=${name} /><${Card}>
		<${Empty} title="There is no such endpoint."><a href="#/messages">All endpoints</a><//>
		<//>`;
	return html`<${Heading} title=${name} note=${row?.paused
		? html`<${Badge} kind="warning">paused<//> nothing is received from it` : 'Endpoint'}>
			${row && (may.act() ? html`<${Tools} of=${row} reload=${all.reload} />`
				: may.send() && html`<${Send} endpoint=${name} />`)}<//>
		<${Trouble} error=${all.error} retry=${all.reload} />
		<${Wrong} page="messages" bare of=${({ kind, detail }) => detail?.endpoint === name
			&& kind !== 'breaker_open'} />
		${row && html`<section class="figures">
			${[['Waiting', format.count(row.depth)], ['In hand', format.count(row.in_flight)],
			...['retrying', 'scheduled', 'held'].map((name) =>
				[name[0].toUpperCase() + name.slice(1), counted(row[name], row.counts_capped)])]
				.map(([title, value]) => html`<div class="figure"><span class="name">
				${title}</span><span class="value">${value}</span></div>`)}
			<a class="figure ${row.dead ? 'error' : ''}"
				href=${`#/dead?endpoint=${encodeURIComponent(name)}`}>
				<span class="name">Dead letters</span>
				<span class="value">${counted(row.dead, row.counts_capped)}</span></a>
			<div class="figure"><span class="name">Oldest waits</span><span class="value">
				<${Span} value=${row.oldest_unacked_age} /></span></div></section>`}
		${(row?.breakers ?? []).map((breaker) => html`<${Breaker} key=${breaker.message_type}
			of=${breaker} endpoint=${name} reload=${all.reload} />`)}
		<${Card} title="What is in it" note="looking takes nothing"
			tools=${html`<${Tabs} label="States" current=${state ?? 'all'}
			of=${[['all', link()], ...STATES.map((value) => [value, link(value)])]} />`}>
				<${Peek} name=${name} state=${state} key=${state} /><//>
		<div class="grid"><${Consumers} name=${name} /><${About} of=${about} /></div>`;
}

function Breaker({ of, endpoint, reload }) {
	const why = useProblems().find(({ kind, detail }) => kind === 'breaker_open'
		&& detail.endpoint === endpoint && detail.message_type === of.message_type)?.detail ?? {};
	return html`<section class="verdict warning"><span class="shape" aria-hidden="true">▲</span>
		<div><h2>The breaker of <bdi>${of.message_type}</bdi> is ${format.words(of.state)}</h2>
		<p>${of.failures} of ${of.attempts} failed; open since <${Ago} at=${of.opened_at}
			/>, tried again <${Ago} at=${of.retry_at} />.</p>
		${why.error && html`<p dir="auto">${[why.error_code, why.error].filter(Boolean).join(': ')}
			</p>`}</div>
		${may.act() && html`<${Act} label="Close it" title="Close the breaker" done=${reload}
			act=${() => post('reset-breaker', { endpoint, message_type: of.message_type })}>
			What it held is delivered at once.<//>`}</section>`;
}

function Tools({ of, reload }) {
	const { name } = of;
	return html`${of.paused ? html`<${Act} label="Resume" title=${`Resume ${name}`} done=${reload}
		act=${() => post('resume-endpoint', { endpoint: name })}>Messages are received again.<//>` :
		html`<${Act} label="Pause" title=${`Pause ${name}`} done=${reload}
			act=${() => post('pause-endpoint', { endpoint: name })}>
		Nothing is received from it until it is resumed; sending goes on.<//>`}
	<${Bulk} label="Retry all now" title=${`Retry what waits in ${name}`} start="Retry them"
		count=${async () => ({ count: of.retrying, capped: of.counts_capped })}
		ask=${(max, done) => retrySome(of, max, done ?? 0)} done=${reload}>
		Messages that wait for another attempt are due at once.<//>
	<${Send} endpoint=${name} />
	<${Bulk} label="Purge" danger title=${`Purge ${name}`} start="Remove them"
		count=${async () => ({ count: of.depth + of.retrying + of.scheduled + of.held,
			capped: of.counts_capped })}
		ask=${(max, after) => post('purge', { endpoint: name, max, after })} done=${reload}>
		Everything that waits here is removed and will never be handled. Lanes that somebody holds
			are passed over.<//>`;
}

// A batch of those that wait for another attempt, as bulk.js wants it. Not more than there
// were at first: what fails again must not be tried again at once.
async function retrySome({ name, retrying }, max, done) {
	if (done >= retrying) return [];
	const { result } = await post('retry-now', { endpoint: name, max });
	return result > 0 ? [{ result: 'due now', count: result, key: done + result }] : [];
}

function Send({ endpoint }) {
	return html`<${Act} label="Send one" title=${`Send a message to ${endpoint}`}
		fields=${[{ name: 'message_type', label: 'Type', required: true },
		{ name: 'body', label: 'Body, a JSON object', value: '{}', required: true },
			{ name: 'partition_key', label: 'Partition key, if order matters' }]}
		act=${({ message_type, body, partition_key: key }) => post('send',
			{ endpoint, message_type, body: JSON.parse(body),
			...(key ? { partition_key: key } : {}) })}>
		The body is checked against the type's contract.<//>`;
}

function Peek({ name, state }) {
	const list = useList('peek', { endpoint: name, state, max: 50 }, 5000);
	return html`<${List} of=${list} label="Messages" rowKey=${(row) => row.key}
		empty=${html`<${Empty} title=${state ? `Nothing is ${state}.` : 'The endpoint is empty.'}>
		Messages that are handled are forgotten.<//>`} columns=${[
		{ head: 'Type', cell: (row) => html`<bdi>${row.message_type}</bdi>` },
			{ head: 'State', cell: (row) => html`<${State} value=${row.state} />`, fixed: true },
		{ head: 'Sent', cell: (row) => html`<${Ago} at=${row.sent_at} />`, fixed: true },
			{ head: 'Due', cell: (row) => html`<${Ago} at=${row.due_at} />`, fixed: true },
		{ head: 'Attempt', num: true, cell: (row) => row.attempt },
			{ head: 'Body, or error', grow: true,
			cell: (row) => html`${row.error ? html`<bdi class="hot cut">
			${row.error_code}: ${row.error}</bdi>` :
			html`<bdi class="mono cut">${row.body ?? '(not for your role)'}</bdi>`}` },
		{ head: 'Lane', num: true, cell: (row) => html`<span
			title=${row.holder_pid ? `held by pid ${row.holder_pid}` : ''}>${row.lane}</span>` },
		{ head: 'Story', cell: (row) => html`<${Id} value=${row.correlation_id}
			to=${storyLink(row.correlation_id)} />` },
		may.act() && { head: html`<span class="sr">Actions</span>`,
			cell: (row) => html`<${Act} label="Cancel" danger title="Cancel the message"
			done=${list.reload}
			act=${() => post('cancel', { endpoint: name, message_id: row.message_id,
				reason: 'cancelled in the console' })}>It becomes a dead letter with the reason
					discarded.<//>` }]} />`;
}

function Consumers({ name }) {
	const found = useData('consumers', { endpoint: name }, 2000);
	return html`<${Card} title="Consumers" note="who holds which lane">
		<${Answer} of=${found} empty=${html`<${Empty} title="Nobody holds a lane now.">
		A quick consumer is seen only now and then.<//>`}>
			<${Table} label="Consumers" rows=${found.data} columns=${[
		{ head: 'Lane', num: true, cell: (row) => row.lane ?? '–' },
			{ head: 'Who', grow: true, cell: (row) => html`<bdi>
			${row.application_name || row.usename}</bdi> <span class="note">pid ${row.pid}
			</span>` },
		{ head: 'Holds it', cell: (row) => html`<${State} value=${row.state} />`, fixed: true },
			{ head: 'Messages', num: true, cell: (row) =>
			format.count((row.in_flight ?? 0) + (row.leases ?? 0)) },
		{ head: 'Since', cell: (row) => html`<${Ago} at=${row.since ?? row.leased_until} />`,
			fixed: true }]} /><//><//>`;
}

function About({ of }) {
	const row = of.data;
	return html`<${Card} title="How it is set"><${Answer} of=${of}>
		${row && html`<${Fields} of=${[['lanes', row.lanes],
		['order', row.strict_order ? 'strict: a failure blocks what follows' : 'by partition key'],
		['timeout', html`<${Span} value=${row.timeout} />`],
			['most messages', row.max_depth === -1 ? 'unlimited' : row.max_depth ?? 'the setting'],
			['created', html`<${Ago} at=${row.created_at} />`],
		['subscribed to', (row.subscribed ?? []).join(', ') || 'nothing: it is sent to']]} />
			<details><summary>Retry and breaker</summary>
			<${Code} value=${{ retry: row.retry, breaker: row.breaker }} label="Policies" />
			</details>`}<//><//>`;
}
