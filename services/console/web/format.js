// How values are written: numbers, times, durations, sizes, ids.

const number = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const clock = new Intl.DateTimeFormat(undefined, {
	hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hour12: false,
});

// 1234567 as 1,234,567; a count that was cut off as 10,000+.
export function count(value, capped) {
	if (value === null || value === undefined) return '–';
	return number.format(value) + (capped ? '+' : '');
}

// A count and what is counted: 1 order, 2 orders.
export function counted(value, one, many, capped) {
	return `${count(value, capped)} ${value === 1 && !capped ? one : many}`;
}

const cents = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 3 });

export function money(value) {
	return cents.format(value);
}

// Per second, with as many digits as tell something.
export function rate(value) {
	if (value === null || value === undefined) return '–';
	return value === 0 ? '0' : value < 0.1 ? '<0.1' : value < 10 ? value.toFixed(1) :
		number.format(Math.round(value));
}

export function bytes(value) {
	if (value === null || value === undefined) return '–';
	const units = ['B', 'kB', 'MB', 'GB', 'TB'];
	let unit = 0;
	while (value >= 1000 && unit < units.length - 1) {
		value /= 1000;
		unit++;
	}
	return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

// Milliseconds in the two greatest units: 3 min 20 s.
export function duration(ms) {
	if (ms === null || ms === undefined || Number.isNaN(ms)) return '–';
	if (!Number.isFinite(ms)) return '∞';
	const sign = ms < 0 ? '-' : '';
	const s = Math.abs(ms) / 1000;
	if (s === 0) return '0';
	if (s < 1) return `${sign}${Math.round(s * 1000)} ms`;
	if (s < 10) return `${sign}${s.toFixed(1)} s`;
	const steps = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
	const first = steps.findIndex(([, size]) => s >= size);
	const [unit, size] = steps[first];
	const whole = Math.floor(s / size);
	const [below, belowSize] = steps[first + 1] ?? [];
	const rest = below ? Math.floor((s % size) / belowSize) : 0;
	return sign + `${whole} ${unit}` + (rest && whole < 10 ? ` ${rest} ${below}` : '');
}

// An interval as PostgreSQL writes it (ISO 8601, or 1 day 02:03:04.5) in milliseconds.
export function interval(text) {
	if (text === null || text === undefined) return null;
	const part = (unit) => `(?:(-?[\\d.]+)${unit})?`;
	const iso = new RegExp(`^P${'YMD'.split('').map(part).join('')}(?:T${
		'HMS'.split('').map(part).join('')})?$`);
	const [, y, mo, d, h, m, s] = iso.exec(text) ?? [];
	if (iso.test(text)) {
		return ((((+(y ?? 0) * 365 + +(mo ?? 0) * 30 + +(d ?? 0)) * 24 + +(h ?? 0)) * 60 +
			+(m ?? 0)) * 60 + +(s ?? 0)) * 1000;
	}
	const plain = /^(?:(-?\d+) days? ?)?(?:(-?)(\d+):(\d+):([\d.]+))?$/.exec(text);
	if (!plain) return NaN;
	const time = ((+(plain[3] ?? 0) * 60 + +(plain[4] ?? 0)) * 60 + +(plain[5] ?? 0)) * 1000;
	return +(plain[1] ?? 0) * 86400000 + (plain[2] === '-' ? -time : time);
}

// A text of the database with the intervals in it as durations.
export function spans(text) {
	return (text ?? '').replace(/\b(?:\d+ days? )?\d\d+:\d\d:\d\d(?:\.\d+)?(?![\d+:])/g,
		(found) => duration(interval(found)));
}

// How long ago, or in how long.
export function relative(at, now) {
	const past = now - new Date(at);
	if (Number.isNaN(past)) return at === 'infinity' ? 'never' : String(at);
	if (Math.abs(past) < 1000) return 'now';
	const coarse = duration(Math.abs(past)).split(' ').slice(0, 2).join(' ');
	return past > 0 ? `${coarse} ago` : `in ${coarse}`;
}

export function when(at) {
	const date = new Date(at);
	return Number.isNaN(+date) ? String(at) : absolute.format(date);
}

export function time(at) {
	const date = new Date(at);
	return Number.isNaN(+date) ? String(at) : clock.format(date);
}

// On a time axis.
export function hour(at) {
	return clock.format(new Date(at)).replace(/[.,]\d+$/, '');
}

// The beginning of a uuid; time-ordered ones differ at their end.
export function short(id) {
	return /^[0-9a-f]{8}-/.test(id ?? '') ? `${id.slice(0, 8)}…${id.slice(-4)}` : id;
}

// The name of a stream, with what is a uuid in it made short.
export function shortStream(name) {
	return String(name ?? '').replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi, short);
}

export function isUuid(text) {
	return /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text);
}

// What JSON looks like on a page.
export function json(value) {
	return JSON.stringify(value, null, 2) ?? '';
}

// snake_case and CamelCase in words.
export function words(name) {
	return String(name).replace(/_/g, ' ').replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
}
