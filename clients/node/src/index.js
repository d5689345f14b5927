// What the package gives.
export { Client, connect } from './client.js';
export { ANY, EXISTS, NEW } from './store.js';
export * from './errors.js';
