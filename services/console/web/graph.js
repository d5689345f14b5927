// Drawings of boxes and arrows: in columns from left to right, each box beyond those that it
// hears from, as near as may be to them.
import { html } from './htm.js';

const LINE = 16;
const GAP = 26;
const BETWEEN = 130;

// How many steps each node is from where it begins; an arrow that leads back counts for nothing.
function columns(nodes, edges) {
	const column = new Map();
	const visit = (id, way) => {
		if (column.has(id)) return column.get(id);
		const before = edges.filter(({ from, to }) => to === id && !way.includes(from)
			&& from !== id);
		const steps = before.map(({ from }) => visit(from, [...way, id]) + 1);
		column.set(id, Math.max(0, ...steps));
		return column.get(id);
	};
	nodes.forEach(({ id }) => visit(id, [id]));
	return column;
}

// The nodes of each column, ordered by the middle of their neighbours.
function arrange(nodes, edges) {
	const column = columns(nodes, edges);
	const all = [];
	nodes.forEach((node) => (all[column.get(node.id)] ??= []).push(node));
	const rank = () => new Map(all.flatMap((list) => list.map((node, i) => [node.id,
		i / list.length])));
	for (let turn = 0; turn < 4; turn++) {
		const at = rank();
		const middle = ({ id }) => {
			const near = edges.filter(({ from, to }) => from === id || to === id)
				.map(({ from, to }) => at.get(from === id ? to : from));
			return near.length ? near.reduce((sum, n) => sum + n, 0) / near.length : 1;
		};
		all.forEach((list) => list.sort((a, b) => middle(a) - middle(b)));
	}
	return all;
}

// Middle and size of each box, and of the drawing.
function place(nodes, edges) {
	const at = new Map();
	const high = (node) => LINE * node.lines.length + 16;
	const total = (list) => list.reduce((sum, node) => sum + high(node) + GAP, -GAP);
	const all = arrange(nodes, edges);
	const height = Math.max(...all.map(total)) + 12;
	let left = 6;
	all.forEach((list) => {
		const width = Math.max(64, ...list.flatMap(({ lines }) =>
			lines.map((line) => line.length * 7.2 + 24)));
		let top = (height - total(list)) / 2;
		list.forEach((node) => {
			at.set(node.id, { x: left + width / 2, y: top + high(node) / 2, width,
				height: high(node) });
			top += high(node) + GAP;
		});
		left += width + BETWEEN;
	});
	return { at, width: left - BETWEEN + 6, height };
}

// nodes: {id, lines, kind, href, title, round}; edges: {from, to, label, kind, title}
export function Drawing({ nodes, edges, label }) {
	const { at, width, height } = place(nodes, edges);
	return html`<div class="drawing" tabindex="0" role="region"
		aria-label=${`${label}; the table says the same`}>
		<svg width=${width} height=${height + 30} viewBox=${`0 -15 ${width} ${height + 30}`}>
			${edges.map((edge) => html`<${Edge} edge=${edge} from=${at.get(edge.from)}
				to=${at.get(edge.to)} />`)}
			${nodes.map((node) => html`<${Box} node=${node} at=${at.get(node.id)} />`)}
		</svg></div>`;
}

export function Box({ node, at }) {
	const box = html`<g><title>${node.title ?? node.lines.join(', ')}</title>
		<rect class=${`box ${node.kind ?? ''}`} x=${at.x - at.width / 2} y=${at.y - at.height / 2}
			width=${at.width} height=${at.height} rx=${node.round ? at.height / 2 : 6} />
		${node.lines.map((line, i) => html`<text class=${i ? 'soft' : ''} x=${at.x}
			y=${at.y + 4 + (i - (node.lines.length - 1) / 2) * LINE} text-anchor="middle">${line}
				</text>`)}</g>`;
	return node.href ? html`<a href=${node.href}>${box}</a>` : box;
}

// To the right in a curve; back to the left around what lies between.
function Edge({ edge, from, to }) {
	const back = to.x <= from.x;
	const start = { x: from.x + from.width / 2, y: from.y };
	const end = { x: to.x - to.width / 2, y: to.y };
	const bend = (end.x - start.x) / 2;
	const under = back ? Math.max(from.y + from.height, to.y + to.height) : null;
	const turns = back ? [start.x + 60, under, end.x - 60, under] :
		[start.x + bend, start.y, end.x - bend, end.y];
	const path = `M${start.x} ${start.y}C${turns.join(' ')} ${end.x} ${end.y}`;
	return html`<g class="transition"><title>${edge.title ?? edge.label ?? ''}</title>
		<path class=${`edge ${edge.kind ?? ''}`} d=${path} />
		<path class="arrow" d="M0 0L-8 -3.5V3.5z" transform=${`translate(${end.x} ${end.y})`} />
		${edge.label && html`<text class="soft onedge" x=${(start.x + end.x) / 8
			+ 3 * (turns[0] + turns[2]) / 8} text-anchor="middle"
			y=${(start.y + end.y) / 8 + 3 * (turns[1] + turns[3]) / 8 + 4}>${edge.label}
				</text>`}</g>`;
}
