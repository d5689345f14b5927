/*
 * librabbitmq.h
 *		The library's headers, whose names have changed with its version 0.12.
 */
#ifndef SERVICES_BRIDGE_LIBRABBITMQ_H
#define SERVICES_BRIDGE_LIBRABBITMQ_H

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif

#endif
