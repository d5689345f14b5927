// Drawings of boxes and arrows: in columns from left to right, each box beyond those that it
// hears from, as near as may be to them.
import { html } from './htm.js';

const LINE = 16;
const GAP = 26;
const BETWEEN = 130;

// How many steps each node is from where it begins; an arrow that leads back counts for nothing.
function columns(nodes, edges) {
	const ahead = forward(nodes, edges);
	const column = new Map();
	const visit = (id) => {
		if (!column.has(id)) {
			column.set(id, Math.max(0, ...ahead.filter(({ to }) => to === id).map(
				({ from }) => visit(from) + 1)));
		}
		return column.get(id);
	};
	nodes.forEach(({ id }) => visit(id));
	return column;
}

// The arrows that lead on from where things begin: from who hears of nobody, then from who tells
// the most.
function forward(nodes, edges) {
	const others = edges.filter(({ from, to }) => from !== to);
	const seen = new Map();
	const back = new Set();
	const follow = (id) => {
		seen.set(id, 'on the way');
		others.filter(({ from }) => from === id).forEach((edge) => {
			if (seen.get(edge.to) === 'on the way') back.add(edge);
			else if (!seen.has(edge.to)) follow(edge.to);
		});
		seen.set(id, 'done');
	};
	const hears = (id) => others.some(({ to }) => to === id);
	const tells = (id) => others.filter(({ from }) => from === id).length;
	nodes.map(({ id }) => id).sort((a, b) => hears(a) - hears(b) || tells(b) - tells(a)).forEach(
		(id) => seen.has(id) || follow(id));
	return others.filter((edge) => !back.has(edge));
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
	const near = (id) => edges.filter(({ from, to }) => from === id || to === id).length;
	return html`<div class="drawing" tabindex="0" role="region"
		aria-label=${`${label}; the table says the same`}>
		<svg width=${width} height=${height + 30} viewBox=${`0 -15 ${width} ${height + 30}`}>
			${edges.map((edge) => html`<${Edge} edge=${edge} from=${at.get(edge.from)}
				to=${at.get(edge.to)} crowd=${near(edge.from) - near(edge.to)} />`)}
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

// To the right in a curve, and back to the left beside it; around what lies between in a column.
// crowd: how many arrows more there are where it begins; what it says stands at the other end.
function Edge({ edge, from, to, crowd }) {
	const way = Math.sign(to.x - from.x);
	const beside = way * 7;
	const start = { x: from.x + (way || 1) * from.width / 2, y: from.y - beside };
	const end = { x: to.x - (way || 1) * to.width / 2, y: to.y - beside };
	const bend = (end.x - start.x) / 2;
	const under = Math.max(from.y + from.height, to.y + to.height);
	const turns = way === 0 ? [start.x + 60, under, end.x - 60, under] :
		[start.x + bend, start.y, end.x - bend, end.y];
	const path = `M${start.x} ${start.y}C${turns.join(' ')} ${end.x} ${end.y}`;
	const part = way === 0 ? 0.5 : 0.5 + Math.sign(crowd) * 0.22;
	const along = (a, b, c, d) => a * (1 - part) ** 3 + 3 * b * part * (1 - part) ** 2
		+ 3 * c * part ** 2 * (1 - part) + d * part ** 3;
	return html`<g class="transition"><title>${edge.title ?? edge.label ?? ''}</title>
		<path class=${`edge ${edge.kind ?? ''}`} d=${path} />
		<path class="arrow" d="M0 0L-8 -3.5V3.5z"
			transform=${`translate(${end.x} ${end.y}) rotate(${way < 0 ? 180 : 0})`} />
		${edge.label && html`<text class="soft onedge" text-anchor="middle"
			x=${along(start.x, turns[0], turns[2], end.x)}
			y=${along(start.y, turns[1], turns[3], end.y) + 4}>${edge.label}</text>`}</g>`;
}
