// Who sends what to whom, how fast, and where it fails.
import { html } from './htm.js';
import { useData } from './data.js';
import { Answer, Card, Empty, Heading, Table, endpointLink } from './ui.js';
import { Drawing } from './graph.js';
import * as format from './format.js';

export function Flow() {
	const found = useData('flow', {}, 5000);
	const data = found.data;
	return html`<${Heading} title="Flow"
		note="Who sends what to whom, as definitions and subscriptions say; figures are of now." />
		<${Answer} of=${found}>${data && (data.endpoints.length === 0
			? html`<${Card}><${Empty} title="There is no endpoint." /><//>` : html`
			<${Card} title="Endpoints and sagas" note="hover an arrow for its message types">
				<${Picture} of=${data} /><//>
			<${Card} title="Message types"><${Table} label="Who sends what to whom"
				rows=${edgesOf(data)} columns=${[
				{ head: 'From', cell: (row) => html`<bdi>${row.from}</bdi>` },
					{ head: 'To', cell: (row) => html`<a href=${endpointLink(row.to)}><bdi>${row.to}
					</bdi></a>` },
				{ head: 'How', cell: (row) => row.how, fixed: true },
					{ head: 'Types', grow: true,
					cell: (row) => html`<bdi>${row.types.join(', ')}</bdi>` }]} /><//>`)}<//>`;
}

// Commands go from a saga to an endpoint; what is published comes to whoever has subscribed.
function edgesOf({ sends, routes, sagas }) {
	const edges = new Map();
	const add = (from, to, how, type) => {
		const key = `${from}\n${to}`;
		const edge = edges.get(key) ?? { from, to, how, types: [] };
		if (!edge.types.includes(type)) edge.types.push(type);
		edges.set(key, edge);
	};
	const own = new Map(sagas.map(({ saga, endpoint }) => [saga, endpoint]));
	sends.forEach(({ saga, endpoint, message_type: type }) => add(own.get(saga) ?? saga, endpoint,
		'sends', type));
	const answers = new Map();
	sends.forEach(({ saga, endpoint, replies }) => (replies
		?? []).forEach((type) => answers.set(`${own.get(saga)}\n${type}`, endpoint)));
	routes.forEach(({ endpoint, message_type: type }) => {
		const from = answers.get(`${endpoint}\n${type}`);
		add(from ?? 'published', endpoint, from ? 'replies' : 'publishes', type);
	});
	return [...edges.values()];
}

function Picture({ of }) {
	const edges = edgesOf(of);
	const known = Object.fromEntries(of.endpoints.map((endpoint) => [endpoint.name, endpoint]));
	const names = new Set([...Object.keys(known), ...edges.flatMap(({ from, to }) => [from, to])]);
	const nodes = [...names].map((name) => {
		const endpoint = known[name];
		return {
			id: name, href: endpoint && endpointLink(name),
				kind: endpoint?.dead || endpoint?.breakers ? 'bad' : endpoint ? '' : 'final',
			round: !endpoint,
			lines: endpoint ? [name, `${format.rate(endpoint.acked_per_s)}/s, ${format.count(
				endpoint.depth)} waiting`,
				...(endpoint.dead ? [`${format.count(endpoint.dead)} dead`] : [])] : [name],
		};
	});
	return html`<${Drawing} nodes=${nodes} label="Flow of messages"
		edges=${edges.map(({ from, to, types, how }) => ({
		from, to, label: types.length === 1 ? types[0] : `${types.length} types`,
			title: `${from} ${how} to ${to}: ${types.join(', ')}`,
		kind: known[to]?.dead ? 'bad' : '',
	}))} />`;
}
