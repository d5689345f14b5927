/*
 * currency.h
 *		ISO 4217: the currencies there are, and the decimals each has.
 */
#ifndef ECOMMERCE_BASE_CURRENCY_H
#define ECOMMERCE_BASE_CURRENCY_H

extern int	currency_minor_units(const char *code);

#endif
