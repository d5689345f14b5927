// A definition tried in many orders of messages; a violating run, step by step, on the diagram.
import { html, useEffect, useState } from './htm.js';
import { post, useData } from './data.js';
import { Answer, Badge, Card, Code, Empty, Heading, Table, Trouble } from './ui.js';
import { StateMap } from './statemap.js';
import * as format from './format.js';

export function Simulate() {
	const sagas = useData('sagas', {});
	const names = [...new Set((sagas.data ?? []).map(({ saga }) => saga))];
	const [name, setName] = useState(null);
	const saga = name ?? names[0];
	const scenario = useData(saga ? 'scenario' : null, { saga });
	const [text, setText] = useState('');
	const [schedules, setSchedules] = useState(300);
	const [seed, setSeed] = useState(1);
	const [state, setState] = useState({});
	useEffect(() => setText(scenario.data ? format.json(scenario.data) : ''), [scenario.data]);
	const choose = (other) => {
		setName(other);
		setState({});
	};
	const run = async (event) => {
		event.preventDefault();
		setState({ running: true });
		try {
			const result = await post('simulate',
				{ saga, scenario: JSON.parse(text), schedules: +schedules, seed: +seed });
			setState({ result });
		} catch (error) {
			setState({ error: error.more ? error
				: { message: `The scenario is no JSON: ${error.message}`, more: {} } });
		}
	};
	return html`<${Heading} title="Simulate"
		note="Runs a definition in memory through many orders of messages, with losses, duplicates
			and timeouts, and checks its invariants in each. Nothing is stored or sent." />
		<${Answer} of=${sagas} empty=${html`<${Card}><${Empty} title="No saga is defined." /><//>`}>
		<form class="filter" onSubmit=${run}>
			<label>Saga <select value=${saga} onChange=${(event) => choose(event.target.value)}>
			${names.map((one) => html`<option value=${one}>${one}</option>`)}</select></label>
			<label>Orders <input type="number" min="1" max="100000" value=${schedules}
				onInput=${(event) => setSchedules(event.target.value)} /></label>
			<label>Seed <input type="number" value=${seed}
				onInput=${(event) => setSeed(event.target.value)} /></label>
			<button class="primary" disabled=${state.running || !text}>
				${state.running ? 'Running…' : 'Run'}</button></form>
		<${Trouble} error=${state.error} />
		${state.result ? html`<${Result} of=${state.result} saga=${saga} />`
			: html`<${Card}><${Empty} title=${state.running ? 'Running…'
				: 'Nothing has been tried yet.'}>Run tries the scenario below in so many orders; the
				same seed gives the same ones.<//><//>`}
		<${Card}><details><summary>Scenario</summary><div class="pad">
			<textarea rows="20" aria-label="Scenario" spellcheck="false" value=${text}
			onInput=${(event) => setText(event.target.value)}></textarea></div></details><//><//>`;
}

function Result({ of, saga }) {
	const [chosen, setChosen] = useState(0);
	const bad = of.violation_count > 0;
	return html`<section class="verdict ${bad ? 'error' : 'good'}" role="status">
		<span class="shape" aria-hidden="true">${bad ? '■' : '●'}</span><div>
			<h2>${bad ? format.counted(of.violation_count, 'violation', 'violations')
				: 'No invariant was broken'}</h2>
				<p>in ${format.counted(of.schedules, 'order', 'orders')} with ${format.counted(
				of.transitions, 'transition', 'transitions')}</p></div></section>
		<${Card} title="How they ended"><${Table} label="How they ended"
			rows=${Object.entries(of.end_states ?? {}).sort((a, b) => b[1] - a[1])} columns=${[
			{ head: 'State', grow: true, cell: ([state]) => state },
				{ head: 'Runs', num: true, cell: ([, n]) => format.count(n) },
			{ head: 'Share', num: true, cell: ([, n]) =>
				`${(100 * n / of.schedules).toFixed(1)} %` }]} /><//>
		${bad && html`<${Card} title="Violations" note="the first ten">
			<${Table} label="Violations" rows=${of.violations.map((violation,
			i) => ({ ...violation, i }))} rowClass=${({ i }) => i === chosen ? 'chosen' : ''}
			columns=${[
			{ head: 'Run', num: true, cell: (row) => row.schedule },
				{ head: 'Invariant', cell: (row) => html`<${Badge} kind="error">${row.invariant}
				<//>` }, { head: 'Problem', grow: true,
					cell: (row) => html`<bdi class="cut" title=${row.problem}>${row.problem}
					</bdi>` },
			{ head: html`<span class="sr">Step through</span>`,
				cell: (row) => html`<button aria-pressed=${row.i === chosen}
				onClick=${() => setChosen(row.i)}>Step through</button>` }]} /><//>
		<${Trace} key=${chosen} saga=${saga} of=${of.violations[chosen]}  />`}`;
}

// The state after a step, as far as the step tells: "timer:hotel: Undoing, version 4".
const stateOf = (step) => /: ([^:]+), version \d+$/.exec(step)?.[1] ?? null;

function Trace({ saga, of }) {
	const about = useData('saga-diagram', { saga });
	const [at, setAt] = useState(0);
	const steps = of.trace;
	const way = steps.slice(0, at + 1).map(stateOf).filter((state, i, all) => state
		&& state !== all[i - 1]);
	const keys = (event) => {
		const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
		if (!move) return;
		event.preventDefault();
		setAt(Math.max(0, Math.min(steps.length - 1, at + move)));
	};
	return html`<${Card} title="How it came about" note=${`step ${at + 1} of ${steps.length}`}
		tools=${html`<button disabled=${at === 0} onClick=${() => setAt(at - 1)}>Back</button>
			<button disabled=${at >= steps.length - 1}
				onClick=${() => setAt(at + 1)}>Next</button>`}>
		<div class="pad"><input type="range" min="0" max=${Math.max(0, steps.length - 1)}
			value=${at} aria-label="Step" onInput=${(event) => setAt(+event.target.value)}
			onKeyDown=${keys} /></div>
		${about.data && html`<${StateMap} text=${about.data.diagram}  way=${way}
			here=${way[way.length - 1]} stuck=${at === steps.length - 1}
			label="The run on the diagram" />`}
		<${Table} label="Steps" rows=${steps.map((step, i) => ({ step, i }))}
			rowClass=${({ i }) => i === at ? 'chosen' : ''} columns=${[
			{ head: 'No.', num: true, cell: ({ i }) => html`<button class="plain"
				onClick=${() => setAt(i)}>${i + 1}</button>` },
			{ head: 'What happened', grow: true,
				cell: ({ step }) => html`<bdi class="mono">${step}</bdi>` }]} /><//>`;
}
