// What 095_console.pl and 135_console_pages.pl have looked at in a browser: every page; hostile
// data, by keyboard, while things go away, and as somebody who may not.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { context, facts, is, logIn, ok, open, please, run, settled, show, tell }
	from './console_browser.mjs';
import { simulate } from './console_simulate.mjs';

const MOST_BYTES = 100 * 1024;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const { address, errand, gateway, password, order, story, pictures } = facts;
let bytes = 0;

// What differs between the themes is the contrast, so that is all that is looked at twice.
async function accessible(page, what, rules) {
	if (await page.evaluate(() => !window.axe)) await page.evaluate(axe);
	const { violations } = await page.evaluate((only) => window.axe.run(document, {
		resultTypes: ['violations'], ...(only ? { runOnly: { type: 'rule', values: only } } : {}),
	}), rules);
	ok(violations.length === 0, `${what}: axe finds nothing`);
	violations.forEach(({ id, help, nodes }) => tell(`# ${what}: ${id}: ${help}: ${
		nodes.slice(0, 3).map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(
			' | ')}`));
}

// Those that documents show.
const PICTURED = ['overview', 'story'];

const PAGES = [
	['overview', 'overview', 'Overview'], ['find', `find/${order}`, 'Find'],
	['story', `story/${story}`, /Story/], ['stories', 'story', 'Story'],
	['streams', 'streams', 'Streams'], ['newest', 'streams?tail=1', 'Streams'],
	['stream', `streams/order-${order}`, /order/],
		['state', `streams/order-${order}/state`, /order/],
	['readers', 'readers', /Subscriptions/], ['messages', 'messages', 'Messages'],
	['endpoint', 'messages/billing', 'billing'], ['dead', 'dead', 'Dead letters'],
	['group', 'dead?endpoint=billing&error_code=08006', 'Dead letters'],
		['sagas', 'sagas', 'Sagas'],
	['saga', 'sagas/order', 'order'], ['instance', `sagas/order/instance/${order}`, /order/],
	['flow', 'flow', 'Flow'], ['simulate', 'simulate', 'Simulate'], ['shop', 'shop', 'Shop'],
	['stock', 'shop/stock', 'Shop'], ['order', `shop/${order}`, /Order/],
		['health', 'health', 'Health'],
];

async function everyPage() {
	const page = await open();
	const seen = new Map();
	page.on('response', async (reply) => {
		const { pathname } = new URL(reply.url());
		if (pathname === '/' || pathname.startsWith('/app/')) {
			seen.set(pathname, gzipSync(await reply.body(), { level: 9 }).length);
		}
	});
	await logIn(page, 'operator');
	bytes = [...seen.values()].reduce((sum, n) => sum + n, 0);
	ok(seen.size > 10 && bytes <= MOST_BYTES, `all of it is ${bytes} bytes, ${MOST_BYTES} at most`);
	for (const [name, hash, title] of PAGES) {
		await show(page, hash);
		const heading = await page.textContent('main h1');
		ok(title instanceof RegExp ? title.test(heading) : heading === title,
			`${name}: its heading`);
		is(await page.locator('main > :first-child h1').count(), 1, `${name}: begins with it`);
		is(await page.locator('main .trouble').count(), 0, `${name}: nothing is refused`);
		const text = await page.locator('main .trouble').allTextContents();
		text.forEach((line) => tell(`# ${name}: ${line}`));
		// What it shows may come by a second request, after the heading.
		const shown = page.locator('main td, main dd, main pre, main details, main .empty').first();
		ok(await shown.waitFor({ state: 'attached' }).then(() => true, () => false),
			`${name}: shows something`);
		// A line takes two looks at the database.
		if (name === 'overview') await page.locator('.chart canvas').first().waitFor();
		for (const scheme of ['light', 'dark']) {
			await page.evaluate((mode) => localStorage.setItem('theme', mode), scheme);
			await page.emulateMedia({ colorScheme: scheme });
			await page.evaluate((mode) => {
				document.documentElement.dataset.theme = mode;
				dispatchEvent(new Event('theme'));
			}, scheme);
			await accessible(page, `${name}, ${scheme}`, scheme === 'dark' ? ['color-contrast']
				: null);
			if (scheme === 'light' || PICTURED.includes(name)) {
				await page.screenshot({ path: `${pictures}/${name}-${scheme}.png` });
			}
		}
		await page.setViewportSize({ width: 380, height: 800 });
		await settled(page);
		const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
		ok(wide <= 0, `${name}: a narrow screen need not scroll to the side`);
		await page.setViewportSize({ width: 1280, height: 800 });
	}
	await page.close();
}

// What others have written is text, wherever it is shown.
async function hostile() {
	const page = await open();
	await please('hostile data');
	await logIn(page, 'operator');
	const name = encodeURIComponent('<script>window.hurt=1</script>');
	for (const hash of ['dead', `dead?endpoint=${name}`, `messages/${name}`, 'streams',
		'streams?tail=1',
		'messages', 'overview', 'flow', `find/${name}`]) {
		await show(page, hash);
		is(await page.evaluate(() => window.hurt), undefined, `${hash}: nothing of it runs`);
		is(await page.locator('main script, main iframe, main img, main b').count(), 0,
			`${hash}: it is no markup`);
	}
	await show(page, `dead?endpoint=${name}`);
	ok(await page.getByText('"><svg onload=window.hurt=1>').count() > 0,
		'the name is read as it is');
	await page.getByRole('link', { name: '"><svg onload=window.hurt=1>' }).last().click();
	await page.waitForSelector('main pre');
	ok((await page.textContent('main pre')).includes('<b>&amp;<b>&amp;'),
		'a body of a megabyte too');
	await page.getByRole('button', { name: /Show all/ }).click();
	await page.waitForFunction(() => document.querySelector(
		'main pre').textContent.length > 900000);
	ok(true, 'also all of it');
	is(await page.evaluate(() => window.hurt), undefined, 'and nothing of it runs');
	await page.close();
}

// From logging in to mending, without a mouse.
async function keyboard() {
	const page = await open();
	await context.clearCookies();
	await page.goto(`${address}/`);
	await page.waitForSelector('#role');
	await page.keyboard.type('operator');
	await page.keyboard.press('Tab');
	await page.keyboard.type(password.operator);
	await page.keyboard.press('Enter');
	await page.waitForSelector('.frame');
	await page.keyboard.press('g');
	await page.keyboard.press('d');
	await page.waitForFunction(() => document.querySelector('h1')?.textContent === 'Dead letters');
	ok(true, 'g d goes to the dead letters');
	await page.keyboard.press('/');
	is(await page.evaluate(() => document.activeElement.id), 'search', '/ goes to the search box');
	await page.keyboard.type('billing');
	await page.keyboard.press('Enter');
	await page.getByRole('table', { name: undefined }).first().waitFor();
	ok(page.url().endsWith('#/find/billing'), 'and Enter searches');
	await page.keyboard.press('?');
	await page.waitForSelector('dialog[open]');
	await page.keyboard.press('Escape');
	await page.waitForSelector('dialog[open]', { state: 'detached' });
	ok(true, '? shows the keys, Escape closes');
	await show(page, 'messages/billing');
	await tabTo(page, 'Pause');
	await page.keyboard.press('Enter');
	await page.waitForSelector('dialog[open]');
	await tabTo(page, 'Pause', 'dialog');
	await page.keyboard.press('Enter');
	await page.getByText('done').waitFor();
	await page.keyboard.press('Escape');
	await tabTo(page, 'Resume');
	ok(true, 'an endpoint is paused without a mouse');
	await page.keyboard.press('Enter');
	await tabTo(page, 'Resume', 'dialog');
	await page.keyboard.press('Enter');
	await page.getByText('done').waitFor();
	ok(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle !== 'none' ||
		document.activeElement === document.body), 'one sees where one is');
	await page.close();
}

async function tabTo(page, label, within = 'main') {
	await page.locator(`${within} button`, { hasText: label }).first().waitFor();
	for (let i = 0; i < 300; i++) {
		const there = await page.evaluate(([text, place]) =>
			document.activeElement.tagName === 'BUTTON' &&
			document.activeElement.textContent.trim() === text &&
			document.activeElement.closest(place) !== null, [label, within]);
		if (there) return;
		await page.keyboard.press('Tab');
	}
	throw new Error(`Tab never comes to ${label}`);
}

// A viewer sees what his role may, and no button.
async function viewer() {
	const page = await open();
	await logIn(page, 'viewer');
	await show(page, 'messages/billing');
	is(await page.locator('main .heading button').count(), 0, 'a viewer has no buttons');
	await page.close();
	const other = await open();
	await logIn(other, 'stranger');
	await other.getByText('Your role may not see counts.').waitFor();
	ok(true, 'a stranger is told why he sees nothing');
	await other.close();
}

// The server goes and comes back; so does the page.
async function restart() {
	const page = await open();
	await logIn(page, 'operator');
	await page.locator('.bar .badge.good').waitFor();
	await please('stop server');
	await page.getByText('The database does not answer.').waitFor();
	ok(true, 'the page says that the database is away');
	await please('start server');
	await page.locator('.bar .badge.good').waitFor();
	is(await page.locator('.banner').count(), 0, 'and comes back by itself');
	await show(page, 'messages');
	await page.getByRole('link', { name: 'payment' }).first().waitFor();
	ok(true, 'with what it shows');
	await page.close();
}

// A role that has expired is out as soon as its connection is made anew.
async function expiry() {
	const page = await open();
	await logIn(page, 'viewer');
	await show(page, 'messages');
	await please('expire viewer');
	await page.waitForSelector('#role');
	ok(true, 'who may not log in any more is logged out');
	await page.close();
}

// An event that was put aside is given again.
async function replay() {
	const page = await open();
	await logIn(page, 'operator');
	await show(page, 'readers');
	await page.getByRole('button', { name: 'Replay' }).click();
	await page.locator('dialog').getByRole('button', { name: 'Replay' }).click();
	await page.locator('dialog').getByText('done').waitFor();
	await page.locator('dialog').getByRole('button', { name: 'Close' }).click();
	await page.locator('main').getByText('given again').waitFor();
	ok(true, 'an event that was put aside is given again');
	await page.close();
}

// All that the instance has sent is handled: what is outstanding is what its definition waits for.
async function commands() {
	const page = await open();
	const answers = async () => {
		await show(page, `sagas/errand/instance/${errand}`);
		const rows = page.locator('main [aria-label="Commands"] tbody tr');
		await rows.first().waitFor();
		const told = await rows.evaluateAll((all) => all.map(({ cells }) => [cells[0], cells[4]]
			.map((cell) => cell.textContent.replace(/[^\w ]/g, '')).join(' ').trim()));
		return told.sort().join(', ');
	};
	await logIn(page, 'operator');
	is(await answers(), 'Ask outstanding, Charge outstanding, Note none is awaited',
		'what waits for an answer is told from what does not');
	await please('tell the errand');
	await page.goto('about:blank');
	is(await answers(), 'Ask, Charge outstanding, Note none is awaited',
		'and when it has one');
	await page.close();
}

// A run that breaks an invariant, step by step on the diagram.
async function violation() {
	const page = await open();
	await logIn(page, 'operator');
	await simulate(page);
	const here = (kind) => page.locator(`main svg.states g:has(> .box.${kind}) text`).first();
	is(await here('here').textContent(), 'Busy', 'a violating run begins where the saga begins');
	const next = page.getByRole('button', { name: 'Next' });
	while (await next.isEnabled()) await next.click();
	is(await here('bad').textContent(), 'Over', 'and leads to where it breaks the invariant');
	await page.getByLabel('Step', { exact: true }).focus();
	await page.keyboard.press('ArrowLeft');
	is(await here('here').textContent(), 'Busy', 'a step back by keyboard');
	await page.close();
}

// A network that drops says nothing: the page does, and comes back.
async function silence() {
	const page = await open();
	await logIn(page, 'operator');
	await page.locator('.bar .badge.good').waitFor();
	await please('stop console');
	await page.getByText('The console does not answer.').waitFor();
	ok(true, 'the page says that nothing comes any more');
	await please('continue console');
	await page.locator('.bar .badge.good').waitFor();
	is(await page.locator('.banner').count(), 0, 'and comes back by itself then, too');
	await page.close();
}

// Who does not look asks for nothing.
async function hidden() {
	const page = await open();
	await logIn(page, 'operator');
	const look = (away) => page.evaluate((value) => {
		Object.defineProperty(document, 'hidden', { value, configurable: true });
		document.dispatchEvent(new Event('visibilitychange'));
	}, away);
	await page.locator('.bar .badge.good').waitFor();
	await look(true);
	await page.locator('.bar').getByText('Paused').waitFor();
	ok(true, 'nothing comes while the page is hidden');
	await look(false);
	await page.locator('.bar .badge.good').waitFor();
	ok(true, 'and it goes on when somebody looks');
	await page.close();
}

// The browser's own network goes.
async function offline() {
	const page = await open();
	await logIn(page, 'operator');
	await show(page, 'messages');
	await context.setOffline(true);
	await page.getByText('the console cannot be reached').first().waitFor();
	ok(true, 'offline, the page says what it cannot get');
	await context.setOffline(false);
	await page.locator('main .trouble').waitFor({ state: 'detached' });
	await page.locator('.bar .badge.good').waitFor();
	ok(true, 'and goes on when the network is back');
	await page.close();
}

// Under the gateway's address everything is as it is under its own.
async function behindGateway() {
	const at = `${gateway}/console`;
	const page = await open(at);
	await logIn(page, 'operator', at);
	await page.locator('.bar .badge.good').waitFor();
	await page.goto(`${at}/#/messages/billing`);
	await settled(page);
	is(await page.locator('main .trouble').count(), 0, 'behind the gateway pages get their data');
	const [cookie] = await context.cookies(`${at}/`);
	is(cookie.path, '/console/', 'the cookie is for the console alone');
	await page.getByRole('button', { name: 'Pause' }).last().click();
	await page.locator('dialog').getByRole('button', { name: 'Pause' }).click();
	await page.getByText('done').waitFor();
	await page.locator('dialog').getByRole('button', { name: 'Close' }).click();
	await page.getByRole('button', { name: 'Resume' }).click();
	await page.locator('dialog').getByRole('button', { name: 'Resume' }).click();
	await page.getByText('done').waitFor();
	ok(true, 'and act');
	await page.close();
}

// The pages alone take minutes on a busy machine, and so have a test of their own.
await run(facts.part === 'pages' ? [everyPage] : [hostile, keyboard, replay, commands, violation,
	viewer, behindGateway, silence, hidden, offline, restart, expiry]);
