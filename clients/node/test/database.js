// What the tests share: clients of the server that PG* names, and patience.
import { connect } from '../src/index.js';

// Notes what is logged instead of printing it.
export function open(options = {}) {
	const warnings = [];
	const db = connect({ max: 6, log: { warn: (text) => warnings.push(text) }, ...options });

	return Object.assign(db, { warnings });
}

// Looks until it is so; fails when patience ends.
export async function until(what, condition) {
	const end = Date.now() + 1000 * Number(process.env.PG_TEST_TIMEOUT_DEFAULT ?? 180);

	for (;;) {
		const value = await condition();

		if (value) return value;
		if (Date.now() > end) throw new Error(`it never came to pass: ${what}`);
		await new Promise((resolve) => { setTimeout(resolve, 10); });
	}
}

export const rows = async (db, text, values) => (await db.query(text, values)).rows;
