// Lines over time, drawn by uPlot, with a table for who does not see lines.
import { html, useEffect, useRef, useState } from './htm.js';
import { get, live } from './data.js';
import { Trouble, Empty, Table } from './ui.js';
import * as format from './format.js';

const COLOURS = ['--accent', '--good', '--warning', '--error', '--muted'];

function colour(name) {
	return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// All series of a name added up, or each by itself: {label: values}.
function lines(samples, wanted) {
	const points = Math.max(0, ...Object.values(samples.series).map((values) => values.length));
	const found = wanted.map(({ label, name }) => {
		const total = new Array(points).fill(null);
		Object.entries(samples.series).forEach(([key, values]) => {
			if (key !== name && !key.startsWith(`${name}{`)) return;
			const padded = [...new Array(points - values.length).fill(null), ...values];
			padded.forEach((value, i) => {
				if (value !== null) total[i] = (total[i] ?? 0) + value;
			});
		});
		return { label, values: total };
	});
	const times = Array.from({ length: points },
		(_, i) => samples.end - (points - 1 - i) * samples.step);
	return { times, found };
}

// Whether there are two points that a line could lead through.
const old = ({ found }) => found.some(({ values }) =>
	values.filter((value) => value !== null).length > 1);

// wanted: [{label, name}]
export function Chart({ title, wanted, unit, range }) {
	const holder = useRef();
	const plot = useRef(null);
	const [data, setData] = useState(null);
	const [error, setError] = useState(null);
	useEffect(() => {
		let gone = false;
		const load = async () => {
			try {
				const all = await Promise.all(wanted.map(({ name }) => get('samples',
					{ range, prefix: name })));
				const series = Object.assign({}, ...all.map((samples) => samples.series));
				if (!gone) setData(lines({ ...all[0], series }, wanted));
			} catch (refusal) {
				if (!gone) setError(refusal);
			}
		};
		let looks = 0;
		const stop = live.watch(({ connection }) => {
			looks++;
			if (connection === 'live' && (range === '10m' ? looks % 2 === 0
				: looks % 15 === 0)) load();
		});
		load();
		return () => {
			gone = true;
			stop();
		};
	}, [range]);
	useEffect(() => {
		if (!data || !old(data)) return;
		const rows = [data.times, ...data.found.map(({ values }) => values)];
		if (plot.current) plot.current.setData(rows);
		else plot.current = draw(holder.current, rows, data.found, unit);
	}, [data]);
	useEffect(() => {
		const again = () => {
			plot.current?.destroy();
			plot.current = null;
			setData((last) => last && { ...last });
		};
		const size = () => plot.current?.setSize({ width: holder.current.clientWidth - 16,
			height: 170 });
		addEventListener('theme', again);
		addEventListener('resize', size);
		return () => {
			removeEventListener('theme', again);
			removeEventListener('resize', size);
			plot.current?.destroy();
		};
	}, []);
	const young = data && !old(data);
	return html`<section class="card"><header><h2>${title}</h2><span class="note">${unit}</span>
		</header>
		<${Trouble} error=${error} />
		${young ? html`<${Empty} title="Too young for a line.">A point is added every two
			seconds.<//>` :
			html`<div class="chart" ref=${holder} aria-hidden="true"></div>`}
		${data && !young && html`<${Numbers} data=${data} title=${title} />`}</section>`;
}

function draw(holder, rows, found, unit) {
	const axis = { stroke: colour('--muted'), grid: { stroke: colour('--line'), width: 1 },
		ticks: { show: false }, font: '11px system-ui, sans-serif' };
	return new window.uPlot({
		width: holder.clientWidth - 16, height: 170, cursor: { y: false }, legend: { live: true },
		axes: [{ ...axis, grid: { show: false },
			incrs: [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600,
			7200, 14400], values: (_, ticks) => ticks.map((tick) => format.hour(tick * 1000)),
				space: 70 },
			{ ...axis, size: 52, values: (_, ticks) => ticks.map((tick) => format.rate(tick)) }],
		scales: { y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1) * 1.1] } },
		series: [{}, ...found.map(({ label }, i) => ({
			label, stroke: colour(COLOURS[i % COLOURS.length]), width: 1.6, points: { show: false },
			dash: [[], [6, 3], [2, 3]][i % 3], spanGaps: true,
			value: (_, value) => (value === null ? '–' : `${format.rate(value)} ${unit}`),
		}))],
	}, rows, holder);
}

// The last points as numbers.
function Numbers({ data, title }) {
	const places = data.times.map((_, i) => i).slice(-10).reverse();
	return html`<details><summary class="note">As a table</summary>
		<${Table} label=${title} rows=${places}
		columns=${[{ head: 'time', cell: (i) => format.time(data.times[i] * 1000), fixed: true },
			...data.found.map(({ label, values }) => ({
				head: label, num: true, cell: (i) => format.rate(values[i]),
			}))]} /></details>`;
}
