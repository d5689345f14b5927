// Orders, money, stock; one order as customer, warehouse and bookkeeper see it.
import { html } from './htm.js';
import { useData, useList } from './data.js';
import { Ago, Answer, Card, Empty, Fields, Figure, Heading, Id, List, State, Table, Tabs, Trouble,
	storyLink, streamLink } from './ui.js';
import * as format from './format.js';

const STATUSES = ['Created', 'Confirmed', 'Completed', 'Cancelled'];

export function Shop({ parts, query }) {
	if (parts[0] === 'stock') return html`<${Stock} />`;
	return parts[0] ? html`<${Order} id=${parts[0]} />`
		: html`<${Orders} status=${query.status} />`;
}

const tabs = (current) => html`<${Tabs} label="Views of the shop" current=${current}
	of=${[['orders', '#/shop'], ['stock', '#/shop/stock']]} />`;
const money = (value, currency) => value === null || value === undefined ? '–'
	: `${format.money(value)}${currency ? ` ${currency}` : ''}`;

function Orders({ status }) {
	const list = useList('shop-orders', { status, max: 50 }, 'events');
	return html`<${Heading} title="Shop" note="What customers have ordered, newest first." />
		${tabs('orders')}<${Totals} />
		<${Card} title="Orders" tools=${html`<${Tabs} label="Status" current=${status ?? 'all'}
			of=${[['all', '#/shop'], ...STATUSES.map((value) => [value, `#/shop?status=${value}`])]}
			/>`}>
			<${List} of=${list} label="Orders" rowKey=${(row) => row.order_id}
				empty=${html`<${Empty} title=${status ? `No order is ${status}.` : 'No order yet.'}
				/>`} columns=${[
				{ head: 'Order', cell: (row) => html`<${Id} value=${row.order_id}
					to=${`#/shop/${row.order_id}`} />`, fixed: true },
					{ head: 'Status', cell: (row) => html`<${State} value=${row.status} />`,
					fixed: true },
				{ head: 'Total', num: true, cell: (row) => money(row.total_amount) },
					{ head: 'Lines', num: true, cell: (row) => row.item_count },
				{ head: 'Note', grow: true, cell: (row) => html`<bdi>
					${row.cancel_reason ?? row.confirmation_number ?? ''}</bdi>` },
					{ head: 'Ordered', cell: (row) => html`<${Ago} at=${row.created_at} />`,
					fixed: true },
				{ head: 'Moved', cell: (row) => html`<${Ago} at=${row.updated_at} />`,
					fixed: true }]} /><//>`;
}

// How much there is of everything, from what is counted anyway and from the newest.
function Totals() {
	const found = useData('shop-totals', {}, 5000);
	const data = found.data;
	if (!data) return html`<${Trouble} error=${found.error} retry=${found.reload} />`;
	const amount = data.newest.reduce((sum, row) => sum + +row.amount, 0);
	const orders = data.newest.reduce((sum, row) => sum + row.orders, 0);
	const lost = data.newest.find(({ status }) => status === 'Cancelled');
	const { stock } = data;
	return html`<section class="figures" aria-label="Orders, money, stock">
		${data.states.filter((row) => row.orders > 0).map((row) => html`<${Figure}
			key=${row.state} name=${row.state}
			value=${`${row.estimated ? '~' : ''}${format.count(row.orders)}`}
			below=${`${row.orders === 1 ? 'order' : 'orders'}${
				row.kind === 'final' ? ', ended' : ''}`}
			href=${`#/sagas/order?state=${encodeURIComponent(row.state)}`} />`)}
		<${Figure} name="Ordered" value=${money(amount)} below=${`${data.currency}, ${
			orders >= 1000 ? 'newest 1,000 orders' : format.counted(orders, 'order', 'orders')}`} />
		<${Figure} name="Of it cancelled" value=${money(lost?.amount ?? 0)}
			below=${`${data.currency}, ${format.counted(lost?.orders ?? 0, 'order', 'orders')}`} />
		<${Figure} name="On hand" value=${format.count(stock.on_hand ?? 0)} href="#/shop/stock"
			below=${`${format.count(stock.reserved ?? 0)} reserved`} />
		<${Figure} name="Sold out" value=${format.count(stock.sold_out)} href="#/shop/stock"
			kind=${stock.sold_out ? 'warning' : ''}
			below=${`of ${stock.capped ? 'the newest ' : ''}${
				format.counted(stock.articles, 'article', 'articles')}`}
			/></section>`;
}

function Stock() {
	const list = useList('shop-stock', { max: 50 }, 5000);
	return html`<${Heading} title="Shop" note="What is on the shelves." />${tabs('stock')}
		<${Card} title="Stock"><${List} of=${list} label="Stock" rowKey=${(row) => row.product_id}
		rowClass=${(row) => row.kind === 'goods' && row.available <= 0 ? 'warning' : ''}
		empty=${html`<${Empty} title="No product yet." />`}
			columns=${[{ head: 'Article', cell: (row) => html`<bdi>${row.sku}</bdi>`, wide: true },
			{ head: 'Name', grow: true, cell: (row) => html`<bdi>${row.name}</bdi>` },
			{ head: 'On hand', num: true, cell: (row) => format.count(row.on_hand) },
				{ head: 'Reserved', num: true, cell: (row) => format.count(row.reserved) },
			{ head: 'Available', num: true, cell: (row) => html`<strong>
				${format.count(row.available)}</strong>` },
				{ head: 'Price', num: true, cell: (row) => money(row.amount, row.currency) },
			{ head: 'Moved', cell: (row) => html`<${Ago} at=${row.updated_at} />`, fixed: true }]}
				/><//>`;
}

function Order({ id }) {
	const found = useData('shop-order', { id }, 'events');
	const data = found.data;
	const order = data?.order;
	return html`<${Heading} title=${order ? `Order ${format.short(id)}` : 'Order'}
		note=${html`<span class="id">${id}</span>`}>
		${order && html`<a class="button" href=${storyLink(id)}>Its story</a>
			<a class="button" href=${streamLink(`order-${id}`)}>Its stream</a>`}<//>
		<${Answer} of=${found}>${data && (order ? html`<div class="grid three">
			<${Card} title="As the customer sees it">
				<${Fields} of=${[['status', html`<${State} value=${order.status} />`],
				['total', money(order.total_amount)], ['lines', order.item_count],
				['ordered', html`<${Ago} at=${order.created_at} />`],
					['confirmation', order.confirmation_number],
					['cancelled because', order.cancel_reason]]} />
				<${Rows} title="Mails" rows=${data.notifications}
					columns=${[['Letter', (row) => row.template],
					['Status', (row) => html`<${State} value=${row.status} />`],
					['Sent', (row) => html`<${Ago} at=${row.sent_at} />`]]} /><//>
			<${Card} title="As the warehouse sees it">
				<${Rows} title="Reservations" rows=${data.reservations}
				columns=${[['Status', (row) => html`<${State} value=${row.status} />`],
				['Pieces', (row) => (row.items ?? []).reduce((sum, { quantity }) => sum + quantity,
				0)],
				['Moved', (row) => html`<${Ago} at=${row.updated_at} />`]]} />
				<${Rows} title="Shipments" rows=${data.shipments}
					columns=${[['Status', (row) => html`<${State} value=${row.status} />`],
					['Carrier', (row) => row.carrier ?? '–'],
					['Tracking', (row) => row.tracking_number ?? '–']]} /><//>
			<${Card} title="As the bookkeeper sees it">
				<${Rows} title="Payments" rows=${data.payments}
				columns=${[['Status', (row) => html`<${State} value=${row.status} />`],
				['Amount', (row) => money(row.amount, row.currency)],
				['Card', (row) => row.last4_digits
					? html`<span title=${row.card_type}>…${row.last4_digits}</span>` : '–'],
				['Refund', (row) => html`<span class="id" title=${row.refund_id ?? ''}>${
					cut(row.refund_id)}</span>`]]} /><//></div>` :
			html`<${Card}><${Empty} title="There is no such order."><a href="#/shop">All orders</a>
				<//><//>`)}<//>`;
}

// Another one's id, by its beginning.
const cut = (id) => id?.length > 14 ? `${id.slice(0, 12)}…` : id ?? '–';

function Rows({ title, rows, columns }) {
	return html`<h3 class="pad">${title}</h3>
		<${Table} label=${title} rows=${rows} empty=${html`<p class="pad muted">None.</p>`}
		columns=${columns.map(([head, cell]) => ({ head, cell, fixed: true }))} />`;
}
