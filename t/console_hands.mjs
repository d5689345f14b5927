// Does by hand what can be done in the console, for 137_console_hands.pl.
import { facts, is, logIn, ok, open, please, run, settled, show } from './console_browser.mjs';

const { errand, order, story } = facts;
let page;

const press = (name, within = page.locator('main')) =>
	within.getByRole('button', { name, exact: true }).first().click();
const dialog = () => page.locator('dialog');

// Presses a button that asks first, fills in what it asks for, and waits until it is done.
async function act(name, fields = {}, within = undefined) {
	await press(name, within);
	for (const [label, value] of Object.entries(fields)) {
		await dialog().getByLabel(label).fill(value);
	}
	await dialog().locator('button.primary').click();
	await dialog().locator('.badge', { hasText: 'done' }).waitFor();
	await close();
}

async function bulk(name) {
	await press(name);
	await dialog().locator('button.primary:enabled').click();
	await dialog().getByText('finished').waitFor();
	await close();
}

async function close() {
	await press('Close', dialog());
	await dialog().waitFor({ state: 'detached' });
}

// A table has rows, and all are like that.
async function everyRow(label, like) {
	await page.waitForFunction(([name, pattern]) => {
		const rows = [...document.querySelectorAll(`main [aria-label="${name}"] tbody tr`)];
		return rows.length > 0 && rows.every((row) => new RegExp(pattern).test(row.textContent));
	}, [label, like]);
}

async function firstLetter(hash) {
	await show(page, hash);
	await page.locator('main [aria-label="Dead letters"] tbody a').first().click();
	await page.getByRole('button', { name: 'Discard', exact: true }).waitFor();
}

async function letters() {
	const dead = +await please('the dead');
	await firstLetter('dead?endpoint=billing&message_type=WriteInvoice');
	const body = page.getByRole('textbox', { name: 'Body' });
	const whole = await body.inputValue();
	await body.fill(whole.replace(/"invoice": \d+/, '"invoice": "none"'));
	await press('Check');
	await page.locator('main .trouble').waitFor();
	ok(true, 'a body that breaks its contract is told from one that keeps it');
	await body.fill(whole.replace(/"invoice": \d+/, '"invoice": 4711'));
	await press('Check');
	await page.getByText('it keeps its contract').waitFor();
	await act('Redrive with this body');
	await page.getByText('It is no dead letter any more.').waitFor();
	is(await please('the corrected'), '1', 'a letter goes with a corrected body');
	await firstLetter('dead?endpoint=billing');
	await act('Discard');
	is(await please('the discarded'), '1', 'one is discarded');
	await show(page, `story/${story}`);
	await act('Redrive');
	is(+await please('the dead'), dead - 3, 'one is redriven from its story');
	await please('the oldest is given up');
	is(await please('the discarded'), '2', 'the one that failed first is given up');
	await show(page, 'dead?endpoint=billing');
	const sent = [];
	page.on('request', (request) => sent.push(new URL(request.url()).pathname));
	await act('Redrive one');
	is(+await please('the dead'), dead - 5, 'and another one goes');
	is(await please('the discarded'), '2', 'but none that was given up');
	is(sent.filter((path) => path.endsWith('/redrive')).length, 1, 'which costs nothing');
	await show(page, 'dead?reason=discarded');
	await page.locator('main [aria-label="Dead letters"] tbody a').first().click();
	await act('Redrive');
	is(await please('the discarded'), '1', 'on its own page it goes all the same');
}

// All that match, slowly, and not to the end.
async function stopped() {
	await show(page, 'dead?endpoint=billing');
	const dead = +await please('the dead');
	await press('Redrive these');
	await dialog().getByText(`${dead} match now`).waitFor();
	await dialog().getByLabel('How fast').selectOption('1 a second');
	await press('Redrive', dialog());
	await dialog().getByText(/\d redriven/).waitFor();
	await press('Stop', dialog());
	await dialog().getByText('stopped').waitFor();
	const told = await dialog().locator('[role=status]').textContent();
	await close();
	const left = +await please('the dead');
	ok(left > 0 && left < dead, `of ${dead} letters ${left} are left, as the stop came between`);
	is(dead - left, +/(\d+) redriven/.exec(told)[1], 'and as many were redriven as it says');
}

async function messages() {
	await show(page, 'messages/later');
	await act('Send one', { Type: 'BookPayment', 'Body, a JSON object': '{"hand": 1}',
		'Partition key': 'left' });
	is(await please('sent by hand'), 'left', 'a message is sent');
	await bulk('Retry all now');
	is(await please('not yet due'), '0', 'what waits for another attempt is due');
	const waits = +await please('what waits');
	await act('Cancel');
	is(+await please('what waits'), waits - 1, 'one is cancelled');
	await bulk('Purge');
	is(await please('what waits'), '0', 'and all others are removed');
}

async function readers() {
	await show(page, 'readers');
	await page.getByRole('button', { name: 'Skip the event' }).waitFor();
	is(await please('the ledger'), 'failed', 'a projection has failed');
	await act('Skip the event');
	is(await please('the ledger'), 'running', 'it goes on without the event');
	const row = page.getByRole('row', { name: /^counted/ });
	await act('Pause', {}, row);
	is(await please('the count'), 'paused', 'another one is paused');
	await act('Resume', {}, row);
	is(await please('the count'), 'running', 'and resumed');
	await please('the count is wrong');
	await act('Rebuild', {}, row);
	is(await please('the count is filled again'), 't', 'and rebuilt');
	await act('Reset', { 'Read again': '0' }, page.getByRole('row', { name: /^mailer/ }));
	is(await please('the mailer'), '0', 'a subscription reads again from the beginning');
}

async function sagas() {
	await show(page, 'sagas/errand');
	await act('none', { 'Stuck after': '2 hours' });
	is(await please('the patience'), '02:00:00', 'a state may last so long');
	await show(page, `sagas/errand/instance/${errand}`);
	await act('Migrate');
	is(await please('the errand'), '2|Busy', 'an instance goes to another version');
	await act('Go to', { State: 'Over', Reason: 'it rains' });
	is(await please('the errand'), '2|Over', 'and to another state');
	is(await please('its history'), 'operator|it rains', 'by whom, and why');
	await page.getByRole('heading', { name: 'errand: Over' }).waitFor();
	await show(page, `sagas/order/instance/${order}`);
	await act('Retry');
	await act('Cancel', { Reason: 'changed my mind' });
	is(await please('the order is cancelled'), 'Cancelled', 'an order is cancelled');
}

async function streams() {
	await show(page, 'streams');
	await page.getByLabel('Beginning of a stream').fill('ledger-');
	await press('Filter');
	await everyRow('Streams', '^ledger-');
	ok(true, 'streams by the beginning of their names');
	await show(page, `streams/order-${order}/state`);
	await page.getByLabel('since version').fill('1');
	await page.keyboard.press('Tab');
	await page.locator('.diff ins').first().waitFor();
	ok(true, 'what has changed between two versions');
	await show(page, 'streams?tail=1');
	await page.getByLabel('Type').selectOption('Waved');
	const waved = page.locator('main [aria-label="Newest events"]').getByRole('link',
		{ name: 'Waved' });
	await everyRow('Newest events', 'Waved');
	is(await waved.count(), 1, 'the end of the log, of one type');
	await please('a new event');
	await waved.nth(1).waitFor();
	ok(true, 'a new event comes by itself');
	await waved.nth(1).click();
	await page.getByRole('heading', { name: 'As it was stored' }).waitFor();
	const code = async (label) => (await page.locator(`pre[aria-label="${label}"]`)
		.textContent()).replace(/\s/g, '');
	is(await code('Data'), '{"hands":["left"]}', 'an old event as its type is now');
	is(await code('Stored data'), '{"hand":"left"}', 'and as it was stored');
}

async function health() {
	const pid = await please('somebody in the way');
	await show(page, 'health');
	await press('Check now');
	await page.getByText('Checking…').waitFor({ state: 'detached' });
	await settled(page);
	is((await page.locator('main .trouble').allTextContents()).join(' '), '',
		'the checks run to their end');
	await act('End it', {}, page.getByRole('row', { name: new RegExp(`^${pid}\\b`) }));
	is(await please('he is gone'), '0', 'who is in the way is ended');
}

async function recorded() {
	is(await please('the record'), 'cancel cancel-saga discard end-session goto-saga migrate-saga '
		+ 'pause-projection purge rebuild-projection redrive redrive-one reset-subscription '
		+ 'resume-projection retry-now retry-saga send set-patience skip-event',
		'all of it is recorded');
}

async function hands() {
	page = await open();
	await logIn(page, 'operator');
	for (const part of [letters, stopped, messages, readers, sagas, streams, health, recorded]) {
		await part();
	}
	await page.close();
}

await run([hands]);
