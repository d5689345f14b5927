// Drawings of boxes and arrows, placed by dagre.
import { html } from './htm.js';
import { Graph, layout } from './dagre.js';

const LINE = 16;

// nodes: {id, lines, kind, href, title}; edges: {from, to, label, kind, weight, title}
export function Drawing({ nodes, edges, down, label }) {
	const graph = new Graph({ multigraph: false });
	graph.setGraph({ rankdir: down ? 'TB' : 'LR', nodesep: 26, ranksep: down ? 46 : 74, marginx: 6,
		marginy: 6 });
	graph.setDefaultEdgeLabel(() => ({}));
	nodes.forEach((node) => {
		const longest = Math.max(...node.lines.map((line) => line.length));
		graph.setNode(node.id, { width: Math.max(64, longest * 7.2 + 24),
			height: LINE * node.lines.length + 16 });
	});
	edges.forEach(({ from, to, weight }) => graph.setEdge(from, to, { weight: weight ?? 1 }));
	layout(graph);
	const { width, height } = graph.graph();
	return html`<div class="drawing" tabindex="0" role="region"
		aria-label=${`${label}; the table says the same`}>
		<svg width=${Math.ceil(width)} height=${Math.ceil(height)}
			viewBox=${`0 0 ${Math.ceil(width)} ${Math.ceil(height)}`}>
			${edges.map((edge) => html`<${Edge} edge=${edge}
				points=${graph.edge(edge.from, edge.to).points} />`)}
			${nodes.map((node) => html`<${Box} node=${node} at=${graph.node(node.id)} />`)}
		</svg></div>`;
}

export function Box({ node, at }) {
	const top = at.y - at.height / 2;
	const box = html`<g><title>${node.title ?? node.lines.join(', ')}</title>
		<rect class=${`box ${node.kind ?? ''}`} x=${at.x - at.width / 2} y=${top} width=${at.width}
			height=${at.height}
			rx=${node.round ? at.height / 2 : 6} />
		${node.lines.map((line, i) => html`<text class=${i ? 'soft' : ''} x=${at.x}
			y=${at.y + 4 + (i - (node.lines.length - 1) / 2) * LINE}
			text-anchor="middle">${line}</text>`)}</g>`;
	return node.href ? html`<a href=${node.href}>${box}</a>` : box;
}

function Edge({ edge, points }) {
	const end = points[points.length - 1];
	const before = points[points.length - 2];
	const turn = Math.atan2(end.y - before.y, end.x - before.x) * 180 / Math.PI;
	const middle = points[Math.floor(points.length / 2)];
	return html`<g><title>${edge.title ?? edge.label ?? ''}</title>
		<path class=${`edge ${edge.kind ?? ''}`} d=${smooth(points)} />
		<path class="arrow" d="M0 0L-8 -3.5V3.5z"
			transform=${`translate(${end.x} ${end.y}) rotate(${turn})`} />
		${edge.label && html`<text class="soft" x=${middle.x} y=${middle.y - 4}
			text-anchor="middle">${edge.label}</text>`}</g>`;
}

// Through the middles of dagre's corners.
function smooth(points) {
	const at = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;
	const inner = points.slice(1, -1).map((point, i) => {
		const next = points[i + 2];
		const stop = i === points.length - 3 ? next
			: { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
		return `Q${at(point)} ${at(stop)}`;
	});
	return `M${at(points[0])}${inner.length ? inner.join('')
		: `L${at(points[points.length - 1])}`}`;
}
