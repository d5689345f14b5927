// Something for all that match: how many, then batch by batch, with what became of each, and
// a stop.
import { html, useEffect, useRef, useState } from './htm.js';
import { Badge, Dialog, Table, Trouble, closeDialog, openDialog } from './ui.js';
import * as format from './format.js';

const BATCH = 100;
const KEPT = 200;

const wait = (ms) => new Promise((resume) => setTimeout(resume, ms));

// count(): {count, capped: or more, about: more or less}. ask(max, after, rate): the rows of
// one batch, the last with the key to go on from; none: it is over. With a rate a batch is what
// may go in a second, and the next one comes when that is over, so that one can still stop.
export function Bulk({ label, title, danger, primary, ...rest }) {
	return html`<button class=${danger ? 'danger' : primary ? 'primary' : ''}
		onClick=${() => openDialog(Run, { title: title ?? label, danger, ...rest })}>
		${label}</button>`;
}

function Run({ title, danger, start, count, ask, done, rates, children, onClose }) {
	const [expected, setExpected] = useState(null);
	const [rate, setRate] = useState(0);
	const [state, setState] = useState({ phase: 'asked', tally: {}, rows: [] });
	const stop = useRef(false);
	useEffect(() => {
		count?.().then(setExpected, (error) => setState((old) => ({ ...old, error })));
		return () => {
			stop.current = true;
		};
	}, []);
	const run = async (event) => {
		event.preventDefault();
		const tally = {};
		const begun = Date.now();
		const size = rate ? Math.min(BATCH, rate) : BATCH;
		let sent = 0;
		let rows = [];
		let after = null;
		try {
			for (;;) {
				setState({ phase: 'running', tally: { ...tally }, rows });
				const batch = await ask(size, after, rate);
				after = batch[batch.length - 1]?.key;
				const told = batch.filter(({ result }) => result);
				told.forEach(({ result, count: n }) => {
					tally[result] = (tally[result] ?? 0) + (n ?? 1);
				});
				rows = [...told.filter(({ result }) => result === 'refused'), ...rows,
					...told.filter(({ result }) => result !== 'refused')].slice(0, KEPT);
				if (batch.length === 0 || stop.current) break;
				sent += told.filter(({ result }) => result === 'redriven').length;
				if (rate) {
					setState({ phase: 'running', tally: { ...tally }, rows });
					await wait(begun + 1000 * sent / rate - Date.now());
					if (stop.current) break;
				}
			}
			setState({ phase: stop.current ? 'stopped' : 'done', tally, rows });
		} catch (error) {
			setState({ phase: 'stopped', tally, rows, error });
		}
	};
	const total = Object.values(state.tally).reduce((sum, n) => sum + n, 0);
	const running = state.phase === 'running';
	const over = state.phase === 'done' || state.phase === 'stopped';
	const close = () => {
		onClose();
		done?.();
	};
	return html`<${Dialog} title=${title} onClose=${close}><form onSubmit=${run}>
		<div class="explain">${children}</div>
		${count && !over && !running && html`<p role="status">
			${expected ? html`<strong>${expected.about ? 'About ' : ''}${
			format.count(expected.count, expected.capped)}</strong> ${expected.count === 1
			&& !expected.capped ? 'matches' : 'match'} now.`
			: 'Counting…'}</p>`}
		${rates && !over && !running && html`<label>How fast<select value=${rate}
			onChange=${(event) => setRate(+event.target.value)}>
			<option value="0">as fast as it goes</option><option value="1">1 a second</option>
				<option value="10">10 a second</option><option value="100">100 a second</option>
				</select></label>`}
		${(running || over) && html`<div role="status"><p>
			${over ? html`<${Badge} kind=${state.phase === 'done' ? 'good' : 'warning'}>
			${state.phase === 'done' ? 'finished' : 'stopped'}<//>` :
			html`<${Badge} kind="busy">working<//>`} ${Object.entries(state.tally).map(([what,
				n]) => `${format.count(n)} ${what}`).join(', ') || (over ? 'nothing was there'
				: '')}</p>
			${running && html`<progress aria-label="Progress"
				max=${Math.max(expected?.count ?? 0, total, 1)} value=${total}></progress>`}</div>`}
		<${Trouble} error=${state.error} />
		${state.rows.length > 0 && html`<div class="results">
			<${Table} label="What became of each" rows=${state.rows} columns=${[
			{ head: 'Result', cell: (row) => html`<${Badge}
				kind=${row.result === 'refused' ? 'error' : 'good'}>${row.result ?? 'removed'}<//>`,
				fixed: true },
			{ head: 'Message', grow: true, cell: (row) => html`<bdi>${row.message_type}
				</bdi> ${row.message_id ? html`<span class="id">${format.short(row.message_id)}
				</span>` : format.count(row.count)}` },
			{ head: 'Why', cell: (row) => row.error ?? '' }]} /></div>`}
		<div class="buttons">${running ? html`<button type="button" onClick=${() => {
			stop.current = true;
		}}>Stop</button>` : html`<button type="button" onClick=${closeDialog}>
			${over ? 'Close' : 'Leave it'}</button>`}
			${state.phase === 'asked' && html`<button class="primary ${danger ? 'danger' : ''}"
				disabled=${count && (!expected || expected.count === 0)}>${start}</button>`}</div>
	</form><//>`;
}
