// The one who only clicks, for 132_console_film.pl.
import { context, facts, is, logIn, ok, open, please, run, tell } from './console_browser.mjs';

const MOST_CLICKS = 5;

async function film() {
	const page = await open();
	let clicks = 0;
	const click = async (locator) => {
		await locator.first().click();
		clicks++;
	};
	const picture = (name) => page.screenshot({ path: `${facts.pictures}/film-${name}.png` });
	await logIn(page, 'operator');
	await page.locator('.bar .badge.good').waitFor();
	await please('kill payment');
	await click(page.getByRole('link', { name: /nobody consumes: endpoint payment/ }));
	await page.getByText('Nobody holds a lane now.').waitFor();
	const waiting = await page.locator('.figure', { hasText: 'Waiting' }).locator('.value')
		.textContent();
	ok(+waiting.replace(/\D/g, '') > 0, `nobody is there, and ${waiting.trim()} wait`);
	await picture('away');
	await please('start payment');
	await click(page.locator('a.figure.error', { hasText: 'Dead letters' }));
	await page.getByText('violates check constraint').first().waitFor();
	ok((await page.textContent('main')).includes('amount_is_small'),
		'the page says what the service stumbles over');
	await picture('dead');
	await please('mend payment');
	await click(page.getByRole('button', { name: 'Redrive these' }));
	await click(page.locator('dialog').getByRole('button', { name: 'Redrive' }));
	await page.locator('dialog').getByText('finished').waitFor();
	const said = await page.locator('dialog [role=status]').last().textContent();
	ok(/\d redriven/.test(said), `the database says what became of them: ${said.trim()}`);
	is(/refused/.test(said), false, 'none is refused');
	await picture('redriven');
	await click(page.locator('dialog').getByRole('button', { name: 'Close' }));
	ok(clicks <= MOST_CLICKS, `mended with ${clicks} clicks`);
	await page.goto(`${facts.address}/#/overview`);
	await page.getByRole('link', { name: /endpoint payment/ }).first()
		.waitFor({ state: 'detached' });
	ok(true, 'nothing is wrong with the endpoint any more');
	await page.close();
}

tell('# the film begins');
await run([film]);
