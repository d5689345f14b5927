// Logging in with a role of the database.
import { html, useEffect, useState } from './htm.js';
import { logIn } from './data.js';
import { Trouble } from './ui.js';

export function LogIn() {
	const [role, setRole] = useState('');
	const [password, setPassword] = useState('');
	const [error, setError] = useState(null);
	const [busy, setBusy] = useState(false);
	useEffect(() => {
		document.title = 'Log in · ecommerce console';
		document.getElementById('role')?.focus();
	}, []);
	const submit = async (event) => {
		event.preventDefault();
		setBusy(true);
		setError(null);
		try {
			await logIn(role, password);
		} catch (refusal) {
			setError(refusal);
			setBusy(false);
		}
	};
	return html`<main class="login"><form onSubmit=${submit}>
		<h1 class="brand"><img src="app/icon.svg" alt="" width="26" height="26"
			/>ecommerce console</h1>
		<label>Role<input id="role" value=${role} required autocomplete="username"
			spellcheck="false"
			autocapitalize="none" onInput=${(event) => setRole(event.target.value)} /></label>
		<label>Password<input type="password" value=${password} required
			autocomplete="current-password"
			onInput=${(event) => setPassword(event.target.value)} /></label>
		<${Trouble} error=${error} />
		<button class="primary" disabled=${busy}>${busy ? 'Asking the database…' : 'Log in'}
			</button>
		<p class="note">A role of the database. You see and do here what it may, and no more.</p>
	</form></main>`;
}
