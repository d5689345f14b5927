// Who sends what to whom, how fast, and where it fails.
import { html } from './htm.js';
import { useData } from './data.js';
import { Ago, Answer, Badge, Card, Empty, Heading, Table, endpointLink } from './ui.js';
import { Drawing } from './graph.js';
import * as format from './format.js';

export function Flow() {
	const found = useData('flow', {}, 5000);
	const data = found.data;
	return html`<${Heading} title="Flow"
		note="Who sends what to whom, how fast, and where it fails: by the messages that were sent
			last, and by what definitions and subscriptions say." />
		<${Answer} of=${found}>${data && (data.endpoints.length === 0
			? html`<${Card}><${Empty} title="There is no endpoint." /><//>` : html`
			<${Card} title="Endpoints and senders" note=${`point at an arrow for its message types${
				data.all > data.endpoints.length ? `; the ${data.endpoints.length} busiest of ${
				format.count(data.all)} endpoints` : ''}`}>
				<${Picture} of=${data} edges=${edgesOf(data)} /><//>
			<${Card} title="What was sent" note="what fails first, then by how fast it goes">
				<${Types} rows=${linesOf(data).filter(known)} label="What was sent"
					empty=${html`<${Empty} title="Nothing was sent lately." />`} /><//>
			<${Card}><details><summary>What nobody has sent lately</summary>
				<${Types} rows=${linesOf(data).filter((line) => !known(line))}
					label="What nobody has sent lately" /></details><//>`)}<//>`;
}

const known = ({ newest, dead }) => Boolean(newest || dead);

function Types({ rows, label, empty }) {
	return html`<${Table} label=${label} rows=${rows}
		rowKey=${(row) => `${row.from} ${row.to} ${row.type}`}
		rowClass=${(row) => row.dead ? 'error' : ''}
		empty=${empty} columns=${[
		{ head: 'Type', cell: (row) => html`<bdi>${row.type}</bdi>` },
		{ head: 'From', cell: (row) => html`<bdi>${row.from}</bdi>`, fixed: true },
		{ head: 'To', cell: (row) => html`<a href=${endpointLink(row.to)}><bdi>${row.to}
			</bdi></a>`, fixed: true },
		{ head: 'A second', num: true, cell: (row) => html`<span
			class=${row.rate ? '' : 'zero'}>${format.rate(row.rate)}</span>` },
		{ head: 'Newest', cell: (row) => html`<${Ago} at=${row.newest} />`, fixed: true },
		{ head: 'Fails', grow: true, cell: (row) => row.dead ? html`<a href=${`#/dead?${
			new URLSearchParams({ endpoint: row.to, message_type: row.type })}`}>
			<${Badge} kind="error">${format.count(row.dead, row.capped)} dead<//></a>
			<bdi class="cut muted">${row.error}</bdi>` : html`<span class="muted">–</span>` }]} />`;
}

// Where something comes from: the endpoint that its sender consumes, else who that says it is.
function senderOf(row) {
	return row.consumes ?? row.source ?? 'unnamed sender';
}

// A line for each type that somebody sends to an endpoint, or would.
function linesOf({ sent, sends, routes, sagas }) {
	const lines = new Map();
	const own = new Map(sagas.map(({ saga, endpoint }) => [saga, endpoint]));
	const known = new Set(sent.map(({ endpoint, message_type: type }) => `${endpoint}\n${type}`));
	sent.forEach((row) => lines.set(`${senderOf(row)}\n${row.endpoint}\n${row.message_type}`, {
		type: row.message_type, from: row.messages ? senderOf(row) : '–', to: row.endpoint,
		source: row.source, rate: row.per_s, newest: row.newest_at, dead: row.dead,
		capped: row.dead_capped, error: row.newest_error }));
	const add = (from, to, type) => known.has(`${to}\n${type}`) || lines.set(
		`${from}\n${to}\n${type}`, { type, from, to, rate: 0, newest: null, dead: 0 });
	sends.forEach(({ saga, endpoint, message_type: type }) => add(own.get(saga) ?? saga, endpoint,
		type));
	routes.forEach(({ endpoint, message_type: type }) => add('whoever publishes', endpoint, type));
	return [...lines.values()].sort((a, b) => (b.dead > 0) - (a.dead > 0) || b.rate - a.rate
		|| a.to.localeCompare(b.to) || a.type.localeCompare(b.type));
}

// All types between two places as one arrow. What nobody has sent is drawn between endpoints only.
function edgesOf(data) {
	const places = new Set(data.endpoints.map(({ name }) => name));
	const edges = new Map();
	linesOf(data).forEach((line) => {
		if (line.from === '–' || (!line.newest && !places.has(line.from))) return;
		const key = `${line.from}\n${line.to}`;
		const edge = edges.get(key) ?? { from: line.from, to: line.to, rate: 0, dead: 0,
			types: [] };
		edge.rate += line.rate;
		edge.dead += line.dead;
		edge.types.push(`${line.type} ${format.rate(line.rate)}/s${line.dead
			? `, ${format.count(line.dead, line.capped)} dead` : ''}`);
		edges.set(key, edge);
	});
	return [...edges.values()];
}

function Picture({ of, edges }) {
	const known = Object.fromEntries(of.endpoints.map((endpoint) => [endpoint.name, endpoint]));
	const names = new Set([...Object.keys(known), ...edges.flatMap(({ from, to }) => [from, to])]);
	const nodes = [...names].map((name) => {
		const endpoint = known[name];
		return {
			id: name, href: endpoint && endpointLink(name),
			kind: endpoint?.dead ? 'bad' : endpoint ? '' : 'final',
			round: !endpoint,
			lines: endpoint ? [name, `${format.rate(endpoint.acked_per_s)}/s, ${format.count(
				endpoint.depth)} waiting`,
				...(endpoint.dead ? [`${format.count(endpoint.dead, endpoint.capped)} dead`] : [])]
				: [name],
		};
	});
	return html`<${Drawing} nodes=${nodes} label="Flow of messages"
		edges=${edges.map(({ from, to, types, rate, dead }) => ({
		from, to, label: [rate >= 0.1 && `${format.rate(rate)}/s`, dead > 0 && 'fails']
			.filter(Boolean).join(', '),
			title: `${from} to ${to}\n${types.join('\n')}`,
		kind: dead ? 'bad' : rate ? 'gone' : '',
	}))} />`;
}
