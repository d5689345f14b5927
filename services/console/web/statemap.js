// A saga's states. The way that most of it goes is the spine; states that one comes back from
// stand to its left, what undoes and ends to its right. What stays in a state is a count.
import { html, useEffect, useRef } from './htm.js';
import { Box } from './graph.js';

const WIDE = 176;
const HIGH = 46;
const GAP = 34;
const COLUMN = 250;

// saga.diagram(): {from, to, label} for each line with an arrow.
export function parseDiagram(text) {
	return text.split('\n').map((line) => /^\s*(\S+) --> (\S+)(?: : (.*))?$/.exec(line))
		.filter(Boolean).map(([, from, to, label]) => ({ from, to, label: label ?? '' }));
}

// States that are for trouble, by their name.
const TROUBLE = /retry|wait|stuck|fail|compensat|cancel|refund|unpaid|resolv|error/i;

// The way that most of it goes: the longest one without trouble, from the start to an end.
export function spine(transitions) {
	const next = new Map();
	transitions.forEach(({ from, to, label }) => {
		if (from === to || to === '[*]' || /^(timer|gave_up):/.test(label)) return;
		if (!TROUBLE.test(to)) next.set(from, (next.get(from) ?? new Set()).add(to));
	});
	let best = [];
	const walk = (way) => {
		if (way.length > best.length) best = way;
		if (way.length > 40) return;
		(next.get(way[way.length - 1]) ?? []).forEach((to) => way.includes(to)
			|| walk([...way, to]));
	};
	walk(['[*]']);
	return best;
}

// Column and row of each state.
function place(transitions, main) {
	const at = new Map(main.map((state, row) => [state, { column: 1, row }]));
	const rest = [...new Set(transitions.flatMap(({ from, to }) => [from, to]))]
		.filter((state) => !at.has(state));
	const taken = { 0: new Set(), 2: new Set() };
	rest.forEach((state) => {
		const into = transitions.filter(({ from, to }) => to === state && main.includes(from));
		const rows = into.map(({ from }) => main.indexOf(from));
		const back = transitions.some(({ from, to }) => from === state && main.includes(to) &&
			into.some((one) => one.from === to || main.indexOf(to) === main.indexOf(one.from) + 1));
		const ends = transitions.some(({ from, to }) => from === state && to === '[*]');
		const column = back && !ends && rows.length <= 2 ? 0 : 2;
		const wanted = rows.length === 0 ? 1 :
			Math.round(rows.reduce((sum, row) => sum + row, 0) / rows.length) + (ends ? 1 : 0);
		let row = Math.max(0, wanted);
		while (taken[column].has(row)) row++;
		taken[column].add(row);
		at.set(state, { column, row });
	});
	return at;
}

// All transitions between two states as one arrow.
function merge(transitions) {
	const merged = new Map();
	transitions.forEach(({ from, to, label }) => {
		if (from === to || to === '[*]') return;
		const key = `${from}\n${to}`;
		merged.set(key, { from, to, events: [...(merged.get(key)?.events ?? []), label] });
	});
	return [...merged.values()];
}

// counts: of instances by state; way: the states one instance went through; here: where it is.
export function StateMap({ text, counts, way, here, stuck, href, label }) {
	const transitions = parseDiagram(text);
	const main = spine(transitions);
	const at = place(transitions, main);
	const used = [...at.values()];
	const left = used.some(({ column }) => column === 0) ? 0 : 1;
	const width = COLUMN * (Math.max(...used.map(({ column }) => column)) - left) + WIDE + 60;
	const height = (Math.max(...used.map(({ row }) => row)) + 1) * (HIGH + GAP);
	const point = (state) => {
		const { column, row } = at.get(state);
		return { x: 30 + COLUMN * (column - left) + WIDE / 2,
			y: 4 + row * (HIGH + GAP) + HIGH / 2 };
	};
	const gone = new Set((way ?? []).map((state, i) => `${way[i - 1] ?? '[*]'}\n${state}`));
	const stays = (state) => transitions.filter(({ from, to }) => from === state && to === state);
	const ends = new Set(transitions.filter(({ to }) => to === '[*]').map(({ from }) => from));
	// where it is, or else the spine, is what one sees on a narrow screen
	const holder = useRef();
	const middle = point(at.has(here) ? here : main[0]).x;
	useEffect(() => {
		holder.current.scrollLeft = middle - holder.current.clientWidth / 2;
	}, [middle]);
	return html`<div class="drawing" tabindex="0" role="region" ref=${holder}
		aria-label=${`${label}; the tables say the same`}>
		<svg class="states" width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`}>
			${merge(transitions).map((edge) => html`<${Arrow} edge=${edge} from=${point(edge.from)}
				to=${point(edge.to)} main=${main.indexOf(edge.to) === main.indexOf(edge.from) + 1 &&
					main.includes(edge.from)} gone=${gone.has(`${edge.from}\n${edge.to}`)}
				same=${at.get(edge.from).column === at.get(edge.to).column} />`)}
			${[...at.keys()].map((state) => html`<${Box} at=${{ ...point(state), width: WIDE,
				height: HIGH }} node=${{
				lines: state === '[*]' ? ['start'] :
					[state, below(counts?.[state], stays(state).length)],
				round: state === '[*]', href: state === '[*]' || !href ? null : href(state),
				kind: state === here ? (stuck ? 'bad' : 'here') : ends.has(state) ? 'final' : '',
				title: [state, ...stays(state).map((stay) => `stays on ${stay.label}`)].join('\n'),
			}} />`)}</svg></div>
		<div class="legend"><span>↻ so many events leave it in its state</span></div>`;
}

function below(count, stays) {
	const parts = [count && `${count} here`, stays && `↻ ${stays}`].filter(Boolean);
	return parts.join(' · ') || '·';
}

function Arrow({ edge, from, to, main, gone, same }) {
	const [path, turn, end] = same ? within(from, to) : across(from, to);
	const kind = gone ? 'gone' : main ? '' : 'side';
	return html`<g class="transition"><title>${`${edge.from} to ${edge.to}\n${
		edge.events.join('\n')}`}</title>
		<path class=${`edge ${kind}`} d=${path} />
		<path class=${`arrow ${kind}`} d="M0 0L-8 -3.5V3.5z"
			transform=${`translate(${end.x} ${end.y}) rotate(${turn})`} /></g>`;
}

// Straight to the neighbour below, in an arc to others of the column.
function within(from, to) {
	if (to.y > from.y && to.y - from.y <= HIGH + GAP) {
		const end = { x: to.x, y: to.y - HIGH / 2 };
		return [`M${from.x} ${from.y + HIGH / 2}L${end.x} ${end.y}`, 90, end];
	}
	const side = to.y > from.y ? 1 : -1;
	const end = { x: to.x + side * WIDE / 2, y: to.y - side * 8 };
	const out = end.x + side * Math.min(28, 12 + Math.abs(to.y - from.y) / 18);
	return [`M${from.x + side * WIDE / 2} ${from.y + side * 8}C${out} ${from.y + side * 20} ${
		out} ${to.y - side * 20} ${end.x} ${end.y}`, side > 0 ? 180 : 0, end];
}

function across(from, to) {
	const side = to.x > from.x ? 1 : -1;
	const shift = Math.sign(to.y - from.y) * 10;
	const start = { x: from.x + side * WIDE / 2, y: from.y + shift };
	const end = { x: to.x - side * WIDE / 2, y: to.y - shift };
	const middle = (start.x + end.x) / 2;
	return [`M${start.x} ${start.y}C${middle} ${start.y} ${middle} ${end.y} ${end.x} ${end.y}`,
		side > 0 ? 0 : 180, end];
}
