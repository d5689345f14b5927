// Swim lanes: a row for each service, entries from left to right in order of time.
import { html, useEffect, useRef, useState } from './htm.js';
import * as format from './format.js';

const ROW = 40;
const LETTERS = [15, 128];
const LONG_LETTERS = [25, 196];
const TOP = 26;

export function Lanes({ entries, chosen, onChoose }) {
	const holder = useRef();
	// those of one database together
	const places = [...new Set(entries.map(({ where }) => where))];
	const lanes = [...new Set(places.flatMap((place) => entries.filter(({ where }) =>
		where === place).map(nameOfLane)))];
	const [room, setRoom] = useState(900);
	const step = Math.max(15, Math.min(90, (room - 30) / entries.length));
	const width = Math.max(room, step * entries.length + 20);
	const height = TOP + ROW * lanes.length + 6;
	const x = (index) => 14 + index * step;
	const y = (entry) => TOP + ROW * lanes.indexOf(nameOfLane(entry)) + ROW / 2;
	const every = Math.max(1, Math.ceil(76 / step));
	const start = +new Date(entries[0].at);
	useEffect(() => {
		const measure = () => setRoom(holder.current.clientWidth);
		measure();
		addEventListener('resize', measure);
		return () => removeEventListener('resize', measure);
	}, []);
	useEffect(() => {
		const box = holder.current;
		const at = x(chosen ?? entries.length - 1);
		if (at < box.scrollLeft || at > box.scrollLeft + box.clientWidth - 30) {
			box.scrollLeft = Math.max(0, at - box.clientWidth / 2);
		}
	}, [chosen, entries.length]);
	return html`<div class="lanes"><${Names} of=${lanes}
		letters=${places.length > 1 ? LONG_LETTERS : LETTERS} height=${height} />
		<div class="drawing" ref=${holder} tabindex="0" role="region"
			aria-label="Swim lanes; the table below says the same">
		<svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} aria-hidden="true">
			${lanes.map((lane, i) => html`<rect class="lane ${i % 2 ? 'odd' : ''}" x="0"
				y=${TOP + ROW * i} width=${width} height=${ROW} />`)}
			${entries.filter((_, i) => i % every === 0).map((entry) => html`<text class="soft"
				x=${x(entry.index)} y="16"
				text-anchor="middle">${format.duration(new Date(entry.at) - start)}</text>`)}
			${entries.map((entry) => {
				const cause = entries[entry.cause];
				return cause && html`<path class="cause" d=${curve(x(cause.index), y(cause),
					x(entry.index), y(entry))} />`;
			})}
			${entries.map((entry) => html`<g onClick=${() => onChoose(entry.index)}><title>
				${`${entry.name}, ${nameOfLane(entry)}: ${
				entry.state ?? ''}`}</title><${Mark} entry=${entry} x=${x(entry.index)}
					y=${y(entry)} />
				${entry.hangs && html`<circle class="ring hangs" cx=${x(entry.index)} cy=${y(entry)}
					r="13" />`}
				${entry.index === chosen && html`<circle class="ring chosen" cx=${x(entry.index)}
					cy=${y(entry)} r="10" />`}</g>`)}
		</svg></div></div>
		<div class="legend"><span><${Sample} kind="event" />event</span><span>
			<${Sample} kind="message" />message</span>
			<span><${Sample} kind="saga" />saga's step</span><span>
				<${Sample} kind="timer" />expected or timer</span>
			<span><${Sample} kind="dead_letter" />dead letter</span></div>`;
}

const nameOfLane = ({ row, lane }) => row ?? lane ?? '?';

// The services, which stay where they are when one scrolls.
function Names({ of, letters: [most, width], height }) {
	return html`<svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`}
		aria-hidden="true">
		${of.map((lane, i) => html`<g><rect class="lane ${i % 2 ? 'odd' : ''}" x="0"
			y=${TOP + ROW * i}
			width=${width} height=${ROW} /><title>${lane}</title>
				<text x="14" y=${TOP + ROW * i + 24}>${
				lane.length > most ? `${lane.slice(0, most - 1)}…` : lane}</text></g>`)}</svg>`;
}

function Sample({ kind }) {
	return html`<svg width="14" height="14" aria-hidden="true">
		<${Mark} entry=${{ kind }} x="7" y="7" /></svg>`;
}

// The shape tells the kind, the colour only repeats it.
function Mark({ entry, x, y }) {
	const cx = +x;
	const cy = +y;
	const bad = entry.kind === 'dead_letter' || entry.state === 'dead' ? 'bad' : '';
	if (bad) return html`<path class="mark bad" d=${`M${cx - 6} ${cy - 6}h12v12h-12z`} />`;
	if (entry.kind === 'saga') return html`<path class="mark saga"
		d=${`M${cx} ${cy - 7}l7 7l-7 7l-7 -7z`} />`;
	if (entry.kind === 'timer' || entry.state === 'expected') {
		return html`<circle class="mark wait" cx=${cx} cy=${cy} r="5.5" />`;
	}
	if (entry.kind === 'message') return html`<path class="mark message"
		d=${`M${cx - 6} ${cy - 5}l12 5l-12 5z`} />`;
	return html`<circle class="mark" cx=${cx} cy=${cy} r="5.5" />`;
}

function curve(fromX, fromY, toX, toY) {
	const middle = (fromX + toX) / 2;
	return fromY === toY ? `M${fromX} ${fromY}Q${middle} ${fromY - Math.min(16,
		(toX - fromX) / 3)} ${toX} ${toY}` :
		`M${fromX} ${fromY}C${middle} ${fromY} ${middle} ${toY} ${toX} ${toY}`;
}
