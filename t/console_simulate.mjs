// Has the errand of console_errand.sql tried in the browser, in a world where it is not always told
// in time.
import { show } from './console_browser.mjs';

const answer = (to, reply) => ({ none: { to, ...(reply ? { reply } : {}) } });
const SCENARIO = {
	start: { type: 'ErrandBegun', body: {} },
	participants: { desk: { commands: { Ask: answer('told', 'Told'), Charge: answer('paid'),
		Note: answer('noted') } } },
	invariants: [{ name: 'it is told in time', at_end: true, holds: '$.count.desk.told == 1' }],
	faults: { drops: 3 },
};

export async function simulate(page) {
	await show(page, 'simulate');
	await page.getByLabel('Saga').selectOption('errand');
	await page.getByText('Scenario', { exact: true }).click();
	const scenario = page.getByRole('textbox', { name: 'Scenario' });
	// what is known of the saga comes by a request, and would take its place
	await page.waitForFunction((field) => field.value === '{}', await scenario.elementHandle());
	await scenario.fill(JSON.stringify(SCENARIO));
	await page.getByRole('button', { name: 'Run' }).click();
	await page.getByRole('table').getByText('it is told in time').first().waitFor();
}
