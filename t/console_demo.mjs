// Does what the last lines of the demo offer, for 090_demo.pl: opens the addresses it has printed,
// logs in with the names and passwords it has printed, and goes on by clicking.
import { context, facts, is, ok, open, run, settled } from './console_browser.mjs';

const { password, stories } = facts;
// From a story's address to the page that it promises.
async function enter(role, { address, state }) {
	const page = await open(new URL(address).origin);
	await context.clearCookies();
	await page.goto(address);
	await page.getByLabel('Role').fill(role);
	await page.getByLabel('Password').fill(password[role]);
	await page.getByRole('button', { name: 'Log in' }).click();
	await page.getByRole('heading', { name: /^Story of order / }).waitFor();
	ok(true, `${role}: logging in leads to the story that was asked for`);
	is(await page.getByRole('link', { name: `saga order: ${state}` }).count(), 1,
		`${role}: it is one that ended ${state}`);
	return page;
}

async function click(page, name) {
	await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name }).click();
	await settled(page);
}

// The buttons of the page that do something to the database.
const ACTS = /^(Pause|Resume|Retry|Send|Purge|Cancel|Go to|Migrate|Rebuild|Skip|Reset|Replay)\b/;

async function offered(page) {
	const names = await page.locator('main button').allTextContents();
	return names.map((name) => name.trim()).filter((name) => ACTS.test(name)).sort().join(', ');
}
async function clicks(role) {
	const page = await enter(role, stories[0]);
	const found = {};
	await page.getByRole('link', { name: /^saga order/ }).click();
	await settled(page);
	await page.locator('main [aria-label="Commands"] tbody tr').first().waitFor();
	found.instance = await offered(page);
	await click(page, 'Subscriptions');
	await page.locator('main [aria-label="Projections"] tbody tr').first().waitFor();
	found.readers = await offered(page);
	await click(page, 'Messages');
	await page.locator('main').getByRole('link', { name: 'notification' }).click();
	await page.getByText('How it is set').waitFor();
	await settled(page);
	found.endpoint = await offered(page);
	return { page, found };
}

async function viewer() {
	const { page, found } = await clicks('console_viewer');
	is(Object.values(found).join(''), '', 'a viewer is offered nothing that acts');
	is(await page.getByText('looking only').count(), 1, 'and is told that he looks only');
	await page.getByRole('button', { name: 'Log out' }).click();
	await page.getByLabel('Role').waitFor();
	ok(true, 'he logs out');
	await page.close();
	await (await enter('console_viewer', stories[1])).close();
}

async function operator() {
	const { page, found } = await clicks('console_operator');
	Object.entries(found).forEach(([name, buttons]) => ok(buttons !== '',
		`an operator is offered something on the page of ${name}: ${buttons}`));
	for (const name of ['Pause', 'Resume']) {
		await page.locator('main').getByRole('button', { name }).click();
		await page.locator('dialog').getByRole('button', { name }).click();
		await page.locator('dialog').getByText('done').waitFor();
		await page.locator('dialog').getByRole('button', { name: 'Close' }).click();
	}
	await page.locator('main').getByRole('button', { name: 'Pause' }).waitFor();
	ok(true, 'and an endpoint is paused and resumed');
	await page.close();
}

await run([viewer, operator]);
