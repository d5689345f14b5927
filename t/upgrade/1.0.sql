--
-- PostgreSQL database dump
--


-- Dumped from database version 15.20 (Debian 15.20-0+deb12u1)
-- Dumped by pg_dump version 15.20 (Debian 15.20-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: ecommerce; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS ecommerce WITH SCHEMA public;


--
-- Name: EXTENSION ecommerce; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION ecommerce IS 'event store, message bus and saga engine';


--
-- Name: ecommerce_access; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS ecommerce_access WITH SCHEMA public;


--
-- Name: EXTENSION ecommerce_access; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION ecommerce_access IS 'shop: API keys, what they open and for whom';


--
-- Name: ecommerce_inventory; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS ecommerce_inventory WITH SCHEMA public;


--
-- Name: EXTENSION ecommerce_inventory; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION ecommerce_inventory IS 'shop: products, stock and reservations';


--
-- Name: ecommerce_notification; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS ecommerce_notification WITH SCHEMA public;


--
-- Name: EXTENSION ecommerce_notification; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION ecommerce_notification IS 'shop: notifications and their templates';


--
-- Name: ecommerce_order; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS ecommerce_order WITH SCHEMA public;


--
-- Name: EXTENSION ecommerce_order; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION ecommerce_order IS 'shop: orders over HTTP, their list and state';


--
-- Name: ecommerce_payment; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS ecommerce_payment WITH SCHEMA public;


--
-- Name: EXTENSION ecommerce_payment; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION ecommerce_payment IS 'shop: payments and intents with the provider';


--
-- Name: ecommerce_shipping; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS ecommerce_shipping WITH SCHEMA public;


--
-- Name: EXTENSION ecommerce_shipping; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION ecommerce_shipping IS 'shop: shipments and carriers';


--
-- Name: required; Type: DOMAIN; Schema: public; Owner: postgres
--

CREATE DOMAIN public.required AS text NOT NULL;


ALTER DOMAIN public.required OWNER TO postgres;

--
-- Name: opened; Type: TYPE; Schema: public; Owner: postgres
--

CREATE TYPE public.opened AS (
	owner public.required
);


ALTER TYPE public.opened OWNER TO postgres;

--
-- Name: opened_2; Type: TYPE; Schema: public; Owner: postgres
--

CREATE TYPE public.opened_2 AS (
	owner public.required,
	currency public.required
);


ALTER TYPE public.opened_2 OWNER TO postgres;

--
-- Name: balance(jsonb, event_store.event); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.balance(state jsonb, event event_store.event) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
	SELECT jsonb_set(state, '{balance}', to_jsonb((state ->> 'balance')::numeric
		+ coalesce((event.data ->> 'amount')::numeric, 0)))
$$;


ALTER FUNCTION public.balance(state jsonb, event event_store.event) OWNER TO postgres;

--
-- Name: event handler Opened of account(jsonb, event_store.event); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event handler Opened of account"(jsonb, event_store.event) RETURNS jsonb
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT public.balance($1, $2) AS balance;
END;
ALTER FUNCTION ecommerce."event handler Opened of account"(jsonb, event_store.event) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event handler Opened of account"(jsonb, event_store.event) OWNER TO postgres;

--
-- Name: FUNCTION "event handler Opened of account"(jsonb, event_store.event); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event handler Opened of account"(jsonb, event_store.event) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event handler OrderCancelled of order(jsonb, event_store.event); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event handler OrderCancelled of order"(jsonb, event_store.event) RETURNS jsonb
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT ecommerce.apply_order_cancelled($1, $2) AS apply_order_cancelled;
END;
ALTER FUNCTION ecommerce."event handler OrderCancelled of order"(jsonb, event_store.event) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event handler OrderCancelled of order"(jsonb, event_store.event) OWNER TO postgres;

--
-- Name: FUNCTION "event handler OrderCancelled of order"(jsonb, event_store.event); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event handler OrderCancelled of order"(jsonb, event_store.event) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event handler OrderCompleted of order(jsonb, event_store.event); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event handler OrderCompleted of order"(jsonb, event_store.event) RETURNS jsonb
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT ecommerce.apply_order_completed($1, $2) AS apply_order_completed;
END;
ALTER FUNCTION ecommerce."event handler OrderCompleted of order"(jsonb, event_store.event) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event handler OrderCompleted of order"(jsonb, event_store.event) OWNER TO postgres;

--
-- Name: FUNCTION "event handler OrderCompleted of order"(jsonb, event_store.event); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event handler OrderCompleted of order"(jsonb, event_store.event) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event handler OrderConfirmed of order(jsonb, event_store.event); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event handler OrderConfirmed of order"(jsonb, event_store.event) RETURNS jsonb
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT ecommerce.apply_order_confirmed($1, $2) AS apply_order_confirmed;
END;
ALTER FUNCTION ecommerce."event handler OrderConfirmed of order"(jsonb, event_store.event) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event handler OrderConfirmed of order"(jsonb, event_store.event) OWNER TO postgres;

--
-- Name: FUNCTION "event handler OrderConfirmed of order"(jsonb, event_store.event); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event handler OrderConfirmed of order"(jsonb, event_store.event) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event handler OrderCreated of order(jsonb, event_store.event); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event handler OrderCreated of order"(jsonb, event_store.event) RETURNS jsonb
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT ecommerce.apply_order_created($1, $2) AS apply_order_created;
END;
ALTER FUNCTION ecommerce."event handler OrderCreated of order"(jsonb, event_store.event) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event handler OrderCreated of order"(jsonb, event_store.event) OWNER TO postgres;

--
-- Name: FUNCTION "event handler OrderCreated of order"(jsonb, event_store.event); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event handler OrderCreated of order"(jsonb, event_store.event) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event handler Paid of account(jsonb, event_store.event); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event handler Paid of account"(jsonb, event_store.event) RETURNS jsonb
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT public.balance($1, $2) AS balance;
END;
ALTER FUNCTION ecommerce."event handler Paid of account"(jsonb, event_store.event) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event handler Paid of account"(jsonb, event_store.event) OWNER TO postgres;

--
-- Name: FUNCTION "event handler Paid of account"(jsonb, event_store.event); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event handler Paid of account"(jsonb, event_store.event) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ArrangeShipment 1(ecommerce.arrange_shipment); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ArrangeShipment 1"(ecommerce.arrange_shipment) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ArrangeShipment 1"(ecommerce.arrange_shipment) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ArrangeShipment 1"(ecommerce.arrange_shipment) OWNER TO postgres;

--
-- Name: FUNCTION "event type ArrangeShipment 1"(ecommerce.arrange_shipment); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ArrangeShipment 1"(ecommerce.arrange_shipment) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type CancelShipment 1(ecommerce.cancel_shipment); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type CancelShipment 1"(ecommerce.cancel_shipment) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type CancelShipment 1"(ecommerce.cancel_shipment) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type CancelShipment 1"(ecommerce.cancel_shipment) OWNER TO postgres;

--
-- Name: FUNCTION "event type CancelShipment 1"(ecommerce.cancel_shipment); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type CancelShipment 1"(ecommerce.cancel_shipment) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type CommitReservation 1(ecommerce.commit_reservation); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type CommitReservation 1"(ecommerce.commit_reservation) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type CommitReservation 1"(ecommerce.commit_reservation) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type CommitReservation 1"(ecommerce.commit_reservation) OWNER TO postgres;

--
-- Name: FUNCTION "event type CommitReservation 1"(ecommerce.commit_reservation); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type CommitReservation 1"(ecommerce.commit_reservation) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type InventoryReleaseFailed 1(ecommerce.inventory_release_failed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type InventoryReleaseFailed 1"(ecommerce.inventory_release_failed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type InventoryReleaseFailed 1"(ecommerce.inventory_release_failed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type InventoryReleaseFailed 1"(ecommerce.inventory_release_failed) OWNER TO postgres;

--
-- Name: FUNCTION "event type InventoryReleaseFailed 1"(ecommerce.inventory_release_failed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type InventoryReleaseFailed 1"(ecommerce.inventory_release_failed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type InventoryReleased 1(ecommerce.inventory_released); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type InventoryReleased 1"(ecommerce.inventory_released) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type InventoryReleased 1"(ecommerce.inventory_released) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type InventoryReleased 1"(ecommerce.inventory_released) OWNER TO postgres;

--
-- Name: FUNCTION "event type InventoryReleased 1"(ecommerce.inventory_released); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type InventoryReleased 1"(ecommerce.inventory_released) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type InventoryReservationFailed 1(ecommerce.inventory_reservation_failed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type InventoryReservationFailed 1"(ecommerce.inventory_reservation_failed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type InventoryReservationFailed 1"(ecommerce.inventory_reservation_failed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type InventoryReservationFailed 1"(ecommerce.inventory_reservation_failed) OWNER TO postgres;

--
-- Name: FUNCTION "event type InventoryReservationFailed 1"(ecommerce.inventory_reservation_failed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type InventoryReservationFailed 1"(ecommerce.inventory_reservation_failed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type InventoryReserved 1(ecommerce.inventory_reserved); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type InventoryReserved 1"(ecommerce.inventory_reserved) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type InventoryReserved 1"(ecommerce.inventory_reserved) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type InventoryReserved 1"(ecommerce.inventory_reserved) OWNER TO postgres;

--
-- Name: FUNCTION "event type InventoryReserved 1"(ecommerce.inventory_reserved); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type InventoryReserved 1"(ecommerce.inventory_reserved) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type NotificationFailed 1(ecommerce.notification_failed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type NotificationFailed 1"(ecommerce.notification_failed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type NotificationFailed 1"(ecommerce.notification_failed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type NotificationFailed 1"(ecommerce.notification_failed) OWNER TO postgres;

--
-- Name: FUNCTION "event type NotificationFailed 1"(ecommerce.notification_failed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type NotificationFailed 1"(ecommerce.notification_failed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type NotificationSent 1(ecommerce.notification_sent); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type NotificationSent 1"(ecommerce.notification_sent) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type NotificationSent 1"(ecommerce.notification_sent) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type NotificationSent 1"(ecommerce.notification_sent) OWNER TO postgres;

--
-- Name: FUNCTION "event type NotificationSent 1"(ecommerce.notification_sent); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type NotificationSent 1"(ecommerce.notification_sent) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type Opened 1(public.opened); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type Opened 1"(public.opened) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type Opened 1"(public.opened) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type Opened 1"(public.opened) OWNER TO postgres;

--
-- Name: FUNCTION "event type Opened 1"(public.opened); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type Opened 1"(public.opened) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type Opened 2(public.opened_2); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type Opened 2"(public.opened_2) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type Opened 2"(public.opened_2) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type Opened 2"(public.opened_2) OWNER TO postgres;

--
-- Name: FUNCTION "event type Opened 2"(public.opened_2); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type Opened 2"(public.opened_2) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type OrderCancellationAmended 1(ecommerce.order_cancellation_amended); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type OrderCancellationAmended 1"(ecommerce.order_cancellation_amended) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type OrderCancellationAmended 1"(ecommerce.order_cancellation_amended) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type OrderCancellationAmended 1"(ecommerce.order_cancellation_amended) OWNER TO postgres;

--
-- Name: FUNCTION "event type OrderCancellationAmended 1"(ecommerce.order_cancellation_amended); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type OrderCancellationAmended 1"(ecommerce.order_cancellation_amended) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type OrderCancellationRejected 1(ecommerce.order_cancellation_rejected); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type OrderCancellationRejected 1"(ecommerce.order_cancellation_rejected) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type OrderCancellationRejected 1"(ecommerce.order_cancellation_rejected) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type OrderCancellationRejected 1"(ecommerce.order_cancellation_rejected) OWNER TO postgres;

--
-- Name: FUNCTION "event type OrderCancellationRejected 1"(ecommerce.order_cancellation_rejected); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type OrderCancellationRejected 1"(ecommerce.order_cancellation_rejected) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type OrderCancellationRequested 1(ecommerce.order_cancellation_requested); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type OrderCancellationRequested 1"(ecommerce.order_cancellation_requested) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type OrderCancellationRequested 1"(ecommerce.order_cancellation_requested) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type OrderCancellationRequested 1"(ecommerce.order_cancellation_requested) OWNER TO postgres;

--
-- Name: FUNCTION "event type OrderCancellationRequested 1"(ecommerce.order_cancellation_requested); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type OrderCancellationRequested 1"(ecommerce.order_cancellation_requested) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type OrderCancelled 1(ecommerce.order_cancelled); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type OrderCancelled 1"(ecommerce.order_cancelled) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type OrderCancelled 1"(ecommerce.order_cancelled) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type OrderCancelled 1"(ecommerce.order_cancelled) OWNER TO postgres;

--
-- Name: FUNCTION "event type OrderCancelled 1"(ecommerce.order_cancelled); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type OrderCancelled 1"(ecommerce.order_cancelled) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type OrderCompleted 1(ecommerce.order_completed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type OrderCompleted 1"(ecommerce.order_completed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type OrderCompleted 1"(ecommerce.order_completed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type OrderCompleted 1"(ecommerce.order_completed) OWNER TO postgres;

--
-- Name: FUNCTION "event type OrderCompleted 1"(ecommerce.order_completed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type OrderCompleted 1"(ecommerce.order_completed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type OrderConfirmed 1(ecommerce.order_confirmed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type OrderConfirmed 1"(ecommerce.order_confirmed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type OrderConfirmed 1"(ecommerce.order_confirmed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type OrderConfirmed 1"(ecommerce.order_confirmed) OWNER TO postgres;

--
-- Name: FUNCTION "event type OrderConfirmed 1"(ecommerce.order_confirmed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type OrderConfirmed 1"(ecommerce.order_confirmed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type OrderCreated 1(ecommerce.order_created); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type OrderCreated 1"(ecommerce.order_created) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type OrderCreated 1"(ecommerce.order_created) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type OrderCreated 1"(ecommerce.order_created) OWNER TO postgres;

--
-- Name: FUNCTION "event type OrderCreated 1"(ecommerce.order_created); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type OrderCreated 1"(ecommerce.order_created) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type OrderSubmitted 1(ecommerce.order_submitted); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type OrderSubmitted 1"(ecommerce.order_submitted) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type OrderSubmitted 1"(ecommerce.order_submitted) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type OrderSubmitted 1"(ecommerce.order_submitted) OWNER TO postgres;

--
-- Name: FUNCTION "event type OrderSubmitted 1"(ecommerce.order_submitted); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type OrderSubmitted 1"(ecommerce.order_submitted) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type PaymentFailed 1(ecommerce.payment_failed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type PaymentFailed 1"(ecommerce.payment_failed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type PaymentFailed 1"(ecommerce.payment_failed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type PaymentFailed 1"(ecommerce.payment_failed) OWNER TO postgres;

--
-- Name: FUNCTION "event type PaymentFailed 1"(ecommerce.payment_failed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type PaymentFailed 1"(ecommerce.payment_failed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type PaymentProcessed 1(ecommerce.payment_processed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type PaymentProcessed 1"(ecommerce.payment_processed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type PaymentProcessed 1"(ecommerce.payment_processed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type PaymentProcessed 1"(ecommerce.payment_processed) OWNER TO postgres;

--
-- Name: FUNCTION "event type PaymentProcessed 1"(ecommerce.payment_processed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type PaymentProcessed 1"(ecommerce.payment_processed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type PaymentRefundFailed 1(ecommerce.payment_refund_failed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type PaymentRefundFailed 1"(ecommerce.payment_refund_failed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type PaymentRefundFailed 1"(ecommerce.payment_refund_failed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type PaymentRefundFailed 1"(ecommerce.payment_refund_failed) OWNER TO postgres;

--
-- Name: FUNCTION "event type PaymentRefundFailed 1"(ecommerce.payment_refund_failed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type PaymentRefundFailed 1"(ecommerce.payment_refund_failed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type PaymentRefunded 1(ecommerce.payment_refunded); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type PaymentRefunded 1"(ecommerce.payment_refunded) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type PaymentRefunded 1"(ecommerce.payment_refunded) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type PaymentRefunded 1"(ecommerce.payment_refunded) OWNER TO postgres;

--
-- Name: FUNCTION "event type PaymentRefunded 1"(ecommerce.payment_refunded); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type PaymentRefunded 1"(ecommerce.payment_refunded) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type PaymentRegained 1(ecommerce.payment_regained); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type PaymentRegained 1"(ecommerce.payment_regained) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type PaymentRegained 1"(ecommerce.payment_regained) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type PaymentRegained 1"(ecommerce.payment_regained) OWNER TO postgres;

--
-- Name: FUNCTION "event type PaymentRegained 1"(ecommerce.payment_regained); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type PaymentRegained 1"(ecommerce.payment_regained) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type PaymentReturned 1(ecommerce.payment_returned); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type PaymentReturned 1"(ecommerce.payment_returned) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type PaymentReturned 1"(ecommerce.payment_returned) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type PaymentReturned 1"(ecommerce.payment_returned) OWNER TO postgres;

--
-- Name: FUNCTION "event type PaymentReturned 1"(ecommerce.payment_returned); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type PaymentReturned 1"(ecommerce.payment_returned) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type PaymentStatusReported 1(ecommerce.payment_status_reported); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type PaymentStatusReported 1"(ecommerce.payment_status_reported) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type PaymentStatusReported 1"(ecommerce.payment_status_reported) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type PaymentStatusReported 1"(ecommerce.payment_status_reported) OWNER TO postgres;

--
-- Name: FUNCTION "event type PaymentStatusReported 1"(ecommerce.payment_status_reported); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type PaymentStatusReported 1"(ecommerce.payment_status_reported) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type PaymentVoided 1(ecommerce.payment_voided); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type PaymentVoided 1"(ecommerce.payment_voided) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type PaymentVoided 1"(ecommerce.payment_voided) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type PaymentVoided 1"(ecommerce.payment_voided) OWNER TO postgres;

--
-- Name: FUNCTION "event type PaymentVoided 1"(ecommerce.payment_voided); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type PaymentVoided 1"(ecommerce.payment_voided) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ProcessPayment 1(ecommerce.process_payment); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ProcessPayment 1"(ecommerce.process_payment) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ProcessPayment 1"(ecommerce.process_payment) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ProcessPayment 1"(ecommerce.process_payment) OWNER TO postgres;

--
-- Name: FUNCTION "event type ProcessPayment 1"(ecommerce.process_payment); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ProcessPayment 1"(ecommerce.process_payment) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type QueryPaymentStatus 1(ecommerce.query_payment_status); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type QueryPaymentStatus 1"(ecommerce.query_payment_status) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type QueryPaymentStatus 1"(ecommerce.query_payment_status) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type QueryPaymentStatus 1"(ecommerce.query_payment_status) OWNER TO postgres;

--
-- Name: FUNCTION "event type QueryPaymentStatus 1"(ecommerce.query_payment_status); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type QueryPaymentStatus 1"(ecommerce.query_payment_status) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type RefundPayment 1(ecommerce.refund_payment); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type RefundPayment 1"(ecommerce.refund_payment) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type RefundPayment 1"(ecommerce.refund_payment) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type RefundPayment 1"(ecommerce.refund_payment) OWNER TO postgres;

--
-- Name: FUNCTION "event type RefundPayment 1"(ecommerce.refund_payment); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type RefundPayment 1"(ecommerce.refund_payment) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ReleaseInventory 1(ecommerce.release_inventory); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ReleaseInventory 1"(ecommerce.release_inventory) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ReleaseInventory 1"(ecommerce.release_inventory) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ReleaseInventory 1"(ecommerce.release_inventory) OWNER TO postgres;

--
-- Name: FUNCTION "event type ReleaseInventory 1"(ecommerce.release_inventory); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ReleaseInventory 1"(ecommerce.release_inventory) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ReservationCommitFailed 1(ecommerce.reservation_commit_failed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ReservationCommitFailed 1"(ecommerce.reservation_commit_failed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ReservationCommitFailed 1"(ecommerce.reservation_commit_failed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ReservationCommitFailed 1"(ecommerce.reservation_commit_failed) OWNER TO postgres;

--
-- Name: FUNCTION "event type ReservationCommitFailed 1"(ecommerce.reservation_commit_failed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ReservationCommitFailed 1"(ecommerce.reservation_commit_failed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ReservationCommitted 1(ecommerce.reservation_committed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ReservationCommitted 1"(ecommerce.reservation_committed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ReservationCommitted 1"(ecommerce.reservation_committed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ReservationCommitted 1"(ecommerce.reservation_committed) OWNER TO postgres;

--
-- Name: FUNCTION "event type ReservationCommitted 1"(ecommerce.reservation_committed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ReservationCommitted 1"(ecommerce.reservation_committed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ReservationExpired 1(ecommerce.reservation_expired); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ReservationExpired 1"(ecommerce.reservation_expired) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ReservationExpired 1"(ecommerce.reservation_expired) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ReservationExpired 1"(ecommerce.reservation_expired) OWNER TO postgres;

--
-- Name: FUNCTION "event type ReservationExpired 1"(ecommerce.reservation_expired); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ReservationExpired 1"(ecommerce.reservation_expired) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ReserveInventory 1(ecommerce.reserve_inventory); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ReserveInventory 1"(ecommerce.reserve_inventory) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ReserveInventory 1"(ecommerce.reserve_inventory) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ReserveInventory 1"(ecommerce.reserve_inventory) OWNER TO postgres;

--
-- Name: FUNCTION "event type ReserveInventory 1"(ecommerce.reserve_inventory); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ReserveInventory 1"(ecommerce.reserve_inventory) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type SendNotification 1(ecommerce.send_notification); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type SendNotification 1"(ecommerce.send_notification) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type SendNotification 1"(ecommerce.send_notification) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type SendNotification 1"(ecommerce.send_notification) OWNER TO postgres;

--
-- Name: FUNCTION "event type SendNotification 1"(ecommerce.send_notification); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type SendNotification 1"(ecommerce.send_notification) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ShipmentArranged 1(ecommerce.shipment_arranged); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ShipmentArranged 1"(ecommerce.shipment_arranged) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ShipmentArranged 1"(ecommerce.shipment_arranged) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ShipmentArranged 1"(ecommerce.shipment_arranged) OWNER TO postgres;

--
-- Name: FUNCTION "event type ShipmentArranged 1"(ecommerce.shipment_arranged); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ShipmentArranged 1"(ecommerce.shipment_arranged) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ShipmentCancelFailed 1(ecommerce.shipment_cancel_failed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ShipmentCancelFailed 1"(ecommerce.shipment_cancel_failed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ShipmentCancelFailed 1"(ecommerce.shipment_cancel_failed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ShipmentCancelFailed 1"(ecommerce.shipment_cancel_failed) OWNER TO postgres;

--
-- Name: FUNCTION "event type ShipmentCancelFailed 1"(ecommerce.shipment_cancel_failed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ShipmentCancelFailed 1"(ecommerce.shipment_cancel_failed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ShipmentCancelled 1(ecommerce.shipment_cancelled); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ShipmentCancelled 1"(ecommerce.shipment_cancelled) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ShipmentCancelled 1"(ecommerce.shipment_cancelled) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ShipmentCancelled 1"(ecommerce.shipment_cancelled) OWNER TO postgres;

--
-- Name: FUNCTION "event type ShipmentCancelled 1"(ecommerce.shipment_cancelled); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ShipmentCancelled 1"(ecommerce.shipment_cancelled) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ShipmentDelivered 1(ecommerce.shipment_delivered); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ShipmentDelivered 1"(ecommerce.shipment_delivered) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ShipmentDelivered 1"(ecommerce.shipment_delivered) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ShipmentDelivered 1"(ecommerce.shipment_delivered) OWNER TO postgres;

--
-- Name: FUNCTION "event type ShipmentDelivered 1"(ecommerce.shipment_delivered); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ShipmentDelivered 1"(ecommerce.shipment_delivered) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ShipmentDispatched 1(ecommerce.shipment_dispatched); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ShipmentDispatched 1"(ecommerce.shipment_dispatched) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ShipmentDispatched 1"(ecommerce.shipment_dispatched) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ShipmentDispatched 1"(ecommerce.shipment_dispatched) OWNER TO postgres;

--
-- Name: FUNCTION "event type ShipmentDispatched 1"(ecommerce.shipment_dispatched); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ShipmentDispatched 1"(ecommerce.shipment_dispatched) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: event type ShipmentFailed 1(ecommerce.shipment_failed); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."event type ShipmentFailed 1"(ecommerce.shipment_failed) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
END;
ALTER FUNCTION ecommerce."event type ShipmentFailed 1"(ecommerce.shipment_failed) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."event type ShipmentFailed 1"(ecommerce.shipment_failed) OWNER TO postgres;

--
-- Name: FUNCTION "event type ShipmentFailed 1"(ecommerce.shipment_failed); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."event type ShipmentFailed 1"(ecommerce.shipment_failed) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: hear(event_store.event); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.hear(event event_store.event) RETURNS void
    LANGUAGE sql
    AS $$ INSERT INTO public.heard VALUES (((event).data ->> 'n')::int) $$;


ALTER FUNCTION public.hear(event event_store.event) OWNER TO postgres;

--
-- Name: projection heard(event_store.event); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."projection heard"(event_store.event) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT public.hear($1) AS hear;
END;
ALTER FUNCTION ecommerce."projection heard"(event_store.event) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."projection heard"(event_store.event) OWNER TO postgres;

--
-- Name: FUNCTION "projection heard"(event_store.event); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."projection heard"(event_store.event) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: projection inventory(event_store.event); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."projection inventory"(event_store.event) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT ecommerce_inventory._apply($1) AS _apply;
END;
ALTER FUNCTION ecommerce."projection inventory"(event_store.event) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."projection inventory"(event_store.event) OWNER TO postgres;

--
-- Name: FUNCTION "projection inventory"(event_store.event); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."projection inventory"(event_store.event) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: hear_never(event_store.event); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.hear_never(event event_store.event) RETURNS void
    LANGUAGE sql
    AS $$ SELECT 1 / 0 $$;


ALTER FUNCTION public.hear_never(event event_store.event) OWNER TO postgres;

--
-- Name: projection never(event_store.event); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."projection never"(event_store.event) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT public.hear_never($1) AS hear_never;
END;
ALTER FUNCTION ecommerce."projection never"(event_store.event) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."projection never"(event_store.event) OWNER TO postgres;

--
-- Name: FUNCTION "projection never"(event_store.event); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."projection never"(event_store.event) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: projection order_summary(event_store.event); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."projection order_summary"(event_store.event) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT ecommerce_order._apply($1) AS _apply;
END;
ALTER FUNCTION ecommerce."projection order_summary"(event_store.event) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."projection order_summary"(event_store.event) OWNER TO postgres;

--
-- Name: FUNCTION "projection order_summary"(event_store.event); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."projection order_summary"(event_store.event) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: projection price_list(event_store.event); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."projection price_list"(event_store.event) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT ecommerce_order._apply_product($1) AS _apply_product;
END;
ALTER FUNCTION ecommerce."projection price_list"(event_store.event) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."projection price_list"(event_store.event) OWNER TO postgres;

--
-- Name: FUNCTION "projection price_list"(event_store.event); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."projection price_list"(event_store.event) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: with_currency(jsonb); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.with_currency(data jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$ SELECT data || '{"currency": "EUR"}' $$;


ALTER FUNCTION public.with_currency(data jsonb) OWNER TO postgres;

--
-- Name: upcaster Opened 1(jsonb); Type: FUNCTION; Schema: ecommerce; Owner: postgres
--

CREATE FUNCTION ecommerce."upcaster Opened 1"(jsonb) RETURNS jsonb
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT public.with_currency($1) AS with_currency;
END;
ALTER FUNCTION ecommerce."upcaster Opened 1"(jsonb) DEPENDS ON EXTENSION ecommerce;


ALTER FUNCTION ecommerce."upcaster Opened 1"(jsonb) OWNER TO postgres;

--
-- Name: FUNCTION "upcaster Opened 1"(jsonb); Type: COMMENT; Schema: ecommerce; Owner: postgres
--

COMMENT ON FUNCTION ecommerce."upcaster Opened 1"(jsonb) IS 'Stands for registered code, which runs with the rights of its owner; never called.';


--
-- Name: id(integer); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.id(n integer) RETURNS uuid
    LANGUAGE sql IMMUTABLE
    AS $$
	SELECT format('00000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid
$$;


ALTER FUNCTION public.id(n integer) OWNER TO postgres;

--
-- Name: serve(text); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.serve(service text) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
	message message_bus.delivery;
	item record;
BEGIN
	FOR message IN SELECT * FROM message_bus.receive(service, 10) ORDER BY delivery_id LOOP
		EXECUTE format('SELECT ecommerce_%s.%s($1)', service, lower(regexp_replace(message.message_type,
			'(?<!^)([A-Z])', '_\1', 'g'))) USING message.body;
		PERFORM message_bus.ack(message.delivery_id);
	END LOOP;
	IF service IN ('payment', 'shipping') THEN
		FOR item IN EXECUTE format('SELECT * FROM ecommerce_%s.claim(10, ''1 min'')', service) LOOP
			EXECUTE format('SELECT ecommerce_%1$s.settle($1, $2, ecommerce_%1$s.simulate($3, $4))', service)
				USING item.work_id, item.fence, item.operation, item.request;
		END LOOP;
	END IF;
END
$_$;


ALTER FUNCTION public.serve(service text) OWNER TO postgres;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: heard; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.heard (
    n integer
);


ALTER TABLE public.heard OWNER TO postgres;

--
-- Data for Name: api_key; Type: TABLE DATA; Schema: ecommerce_access; Owner: postgres
--

COPY ecommerce_access.api_key (key_id, key_hash, name, scope, customer_id, tenant_id, created_at, created_by, expires_at, revoked_at, revoked_by) FROM stdin;
c11761b3-0af3-4455-860d-8c6fd3c095af	\\xf65c21f4d8bab82970518d27e46ff6c32454ff0e312d40e4734d7613a9899885	web shop	operator	\N	\N	2026-11-29 17:16:11.760553+00	postgres	\N	\N	\N
\.


--
-- Data for Name: idempotency; Type: TABLE DATA; Schema: ecommerce_inventory; Owner: postgres
--

COPY ecommerce_inventory.idempotency (owner, key, request_hash, reply, created_at) FROM stdin;
/	product	\\xea03f5d612fa29e681b0b7e092dcc2913b334b6a408f61804fbab16c7282ae5a	(201,"{""sku"": ""MUG"", ""kind"": ""goods"", ""name"": ""Mug"", ""price"": {""amount"": 21, ""currency"": ""USD""}, ""on_hand"": 0, ""version"": 1, ""reserved"": 0, ""available"": 0, ""product_id"": ""00000000-0000-4000-8000-000000000001""}","""1-0bcf4484b394b991""",/products/00000000-0000-4000-8000-000000000001)	2026-11-29 17:16:11.639773+00
\.


--
-- Data for Name: product; Type: TABLE DATA; Schema: ecommerce_inventory; Owner: postgres
--

COPY ecommerce_inventory.product (product_id, "position", sku, name, on_hand, reserved, kind, amount, currency, percent, version, updated_at) FROM stdin;
00000000-0000-4000-8000-000000000001	48	MUG	Mug	8	0	goods	21	USD	\N	2	2026-11-29 17:16:11.645431+00
\.


--
-- Data for Name: reservation; Type: TABLE DATA; Schema: ecommerce_inventory; Owner: postgres
--

COPY ecommerce_inventory.reservation (key, order_id, status, items, expires_at, reason, correlation_id, version, updated_at) FROM stdin;
ee89887c-7fc0-5c92-bbd2-539fd7892eec	01a2284e-a1ff-7fad-9334-6b4d84db83a3	committed	[{"sku": "MUG", "quantity": 2, "product_id": "00000000-0000-4000-8000-000000000001"}]	2026-11-29 17:31:11.685309+00	\N	\N	2	2026-11-29 17:16:11.717764+00
\.


--
-- Data for Name: idempotency; Type: TABLE DATA; Schema: ecommerce_notification; Owner: postgres
--

COPY ecommerce_notification.idempotency (owner, key, request_hash, reply, created_at) FROM stdin;
/	none	\\xb96aed3979fde8b6a9b0c84790c055734dfad4fa4e23abab1265ce374f5c9c94	(200,"{""next"": null, ""items"": [{""status"": ""pending"", ""sent_at"": null, ""order_id"": ""01a2284e-a1ff-7fad-9334-6b4d84db83a3"", ""template"": ""order_received"", ""notification_id"": ""3f77002b-0ac9-4f4d-a307-5536536e9bfb""}, {""status"": ""pending"", ""sent_at"": null, ""order_id"": ""01a2284e-a1ff-7fad-9334-6b4d84db83a3"", ""template"": ""order_confirmed"", ""notification_id"": ""1ed2e155-2062-495a-9c72-7cf49e26ab43""}], ""cursor"": ""4""}",,)	2026-11-29 17:16:11.791789+00
\.


--
-- Data for Name: notification; Type: TABLE DATA; Schema: ecommerce_notification; Owner: postgres
--

COPY ecommerce_notification.notification (notification_id, "position", key, order_id, customer_id, email, template, data, status, reason, sent_at, created_at, operation, due_at, attempts, fence, lease_until, correlation_id, user_id, tenant_id, traceparent) FROM stdin;
3f77002b-0ac9-4f4d-a307-5536536e9bfb	3	7a35e3a5-996a-5cac-8a33-1b3104e54591	01a2284e-a1ff-7fad-9334-6b4d84db83a3	00000000-0000-4000-8000-000000000007	\N	order_received	{"currency": "USD", "total_amount": 42.00}	pending	\N	\N	2026-11-29 17:16:11.738621+00	send	2026-11-29 17:16:11.738621+00	0	0	\N	\N	\N	\N	\N
1ed2e155-2062-495a-9c72-7cf49e26ab43	4	07dbb28f-89ba-56c2-81c9-eeefac054fa3	01a2284e-a1ff-7fad-9334-6b4d84db83a3	00000000-0000-4000-8000-000000000007	\N	order_confirmed	{"currency": "USD", "total_amount": 42.00, "confirmation_number": "CN-5X2RF4QBD5F8"}	pending	\N	\N	2026-11-29 17:16:11.749042+00	send	2026-11-29 17:16:11.749042+00	0	0	\N	\N	\N	\N	\N
\.


--
-- Data for Name: template; Type: TABLE DATA; Schema: ecommerce_notification; Owner: postgres
--

COPY ecommerce_notification.template (name, outcome, subject, body) FROM stdin;
order_received		We have received your order ${order_id}	<p>Thank you for your order over ${total_amount} ${currency}.</p><p>We will tell you when it is confirmed.</p>
order_confirmed		Your order is confirmed: ${confirmation_number}	<p>Your order ${order_id} is confirmed and being packed.</p><p>Its number is ${confirmation_number}.</p>
order_shipped	tracked	Your order ${order_id} is on its way	<p>The parcel has left us. Tracking number: ${tracking_number}</p>
order_shipped		Your order ${order_id} is on its way	<p>The parcel has left us.</p>
order_delivered		Your order ${order_id} was delivered	<p>We hope you enjoy it.</p>
order_cancelled		Your order ${order_id} was cancelled	<p>Your order was cancelled.</p>
order_cancelled	never_paid	Your order ${order_id} was cancelled	<p>We are sorry: we could not carry out your order.</p><p>Nothing was charged.</p>
order_cancelled	out_of_stock	Your order ${order_id} was cancelled	<p>We are sorry: what you have ordered is sold out.</p><p>Nothing was charged.</p>
order_cancelled	payment_refused	Your order ${order_id} was cancelled	<p>Your payment over ${total_amount} ${currency} was refused. Please ask your bank, or order again with another way to pay.</p><p>Nothing was charged.</p>
order_cancelled	on_request	Your order ${order_id} was cancelled	<p>Your order was cancelled as you wished.</p><p>Nothing was charged.</p>
order_cancelled	refunded	Your order ${order_id} was cancelled	<p>Your order was cancelled. You get back what you have paid, ${total_amount} ${currency}.</p><p>The number of the refund is ${refund_id}.</p>
order_cancelled	returned	Your order ${order_id} was cancelled	<p>Your order was cancelled, because its payment of ${total_amount} ${currency} had gone back to you.</p>
cancellation_rejected		Your order ${order_id} cannot be cancelled any more	<p>You wished to cancel your order, but the parcel has left us already.</p>
payment_refunded		A refund for your order ${order_id}	<p>A payment of ${total_amount} ${currency} for your order has arrived after it was cancelled. You get it back.</p><p>The number of the refund is ${refund_id}.</p>
\.


--
-- Data for Name: idempotency; Type: TABLE DATA; Schema: ecommerce_order; Owner: postgres
--

COPY ecommerce_order.idempotency (owner, key, request_hash, reply, created_at) FROM stdin;
/	order	\\x032ac89381119fdb7a83448fa4b12343e3d98fed3f5323077b60711090a281f8	(202,"{""status"": ""Created"", ""version"": 1, ""order_id"": ""01a2284e-a1ff-7fad-9334-6b4d84db83a3""}","""1""",/orders/01a2284e-a1ff-7fad-9334-6b4d84db83a3)	2026-11-29 17:16:11.659781+00
\.


--
-- Data for Name: order_summary; Type: TABLE DATA; Schema: ecommerce_order; Owner: postgres
--

COPY ecommerce_order.order_summary (order_id, "position", customer_id, status, total_amount, item_count, confirmation_number, cancel_reason, refund_id, version, created_at, updated_at) FROM stdin;
01a2284e-a1ff-7fad-9334-6b4d84db83a3	50	00000000-0000-4000-8000-000000000007	Confirmed	42.00	1	CN-5X2RF4QBD5F8	\N	\N	2	2026-11-29 17:16:11.655842+00	2026-11-29 17:16:11.736724+00
\.


--
-- Data for Name: price_list; Type: TABLE DATA; Schema: ecommerce_order; Owner: postgres
--

COPY ecommerce_order.price_list (product_id, sku, name, kind, amount, currency, percent) FROM stdin;
00000000-0000-4000-8000-000000000001	MUG	Mug	goods	21	USD	\N
\.


--
-- Data for Name: early_webhook; Type: TABLE DATA; Schema: ecommerce_payment; Owner: postgres
--

COPY ecommerce_payment.early_webhook (event_id, transaction_id, event, received_at) FROM stdin;
evt_1	ch_unknown	{"id": "evt_1", "data": {"object": {"id": "ch_unknown", "refunded": true}}, "type": "charge.refunded"}	2026-11-29 17:16:11.751258+00
\.


--
-- Data for Name: idempotency; Type: TABLE DATA; Schema: ecommerce_payment; Owner: postgres
--

COPY ecommerce_payment.idempotency (owner, key, request_hash, reply, created_at) FROM stdin;
/	hook	\\xb1ef33f0d1ad96d1ec99095380d658c7e5aece537538e1c5bf7d5d3f3f814cb0	(200,"{""received"": true}",,)	2026-11-29 17:16:11.751552+00
\.


--
-- Data for Name: payment; Type: TABLE DATA; Schema: ecommerce_payment; Owner: postgres
--

COPY ecommerce_payment.payment (payment_id, "position", key, order_id, customer_id, status, amount, currency, card_type, last4_digits, token, transaction_id, refund_id, refunded_amount, dispute_id, dispute_status, error_code, error_reason, is_retryable, processed_at, charge_begun_at, refund_number, moves, not_at_provider, is_asked, is_cancelled, cancel_reason, created_at, operation, due_at, attempts, fence, lease_until, correlation_id, user_id, tenant_id, traceparent) FROM stdin;
d37f8cfd-21bc-4545-8956-83bcd1f6b053	1	4beba35f-292f-59d7-8510-f8e791a93f7d	01a2284e-a1ff-7fad-9334-6b4d84db83a3	00000000-0000-4000-8000-000000000007	captured	42.00	USD	card	4242	tok_ok	sim_ch_34d746b66d1e5cb4	\N	0	\N	\N	\N	\N	\N	2026-11-29 17:16:11.709633+00	2026-11-29 17:16:11.695494+00	1	1	f	f	f	\N	2026-11-29 17:16:11.694468+00	\N	2026-11-29 17:16:11.694468+00	0	1	\N	\N	\N	\N	\N
\.


--
-- Data for Name: simulator_charge; Type: TABLE DATA; Schema: ecommerce_payment; Owner: postgres
--

COPY ecommerce_payment.simulator_charge (key, order_id, amount, token, status, error_code, is_retryable, visible_at, refund_id) FROM stdin;
4beba35f-292f-59d7-8510-f8e791a93f7d	01a2284e-a1ff-7fad-9334-6b4d84db83a3	42.00	tok_ok	captured	\N	\N	2026-11-29 17:16:11.708717+00	\N
\.


--
-- Data for Name: webhook_event; Type: TABLE DATA; Schema: ecommerce_payment; Owner: postgres
--

COPY ecommerce_payment.webhook_event (event_id, event_type, received_at) FROM stdin;
evt_1	charge.refunded	2026-11-29 17:16:11.750421+00
\.


--
-- Data for Name: idempotency; Type: TABLE DATA; Schema: ecommerce_shipping; Owner: postgres
--

COPY ecommerce_shipping.idempotency (owner, key, request_hash, reply, created_at) FROM stdin;
/	shipped	\\xccded7a348f86c17b57ff11283c6396fcf667086e83bcaa85af72934ec11cc49	(200,"{""key"": ""2975e2e5-5bb8-5b23-8c01-6b23bddb6306"", ""status"": ""dispatched"", ""carrier"": ""Simulated Parcel"", ""order_id"": ""01a2284e-a1ff-7fad-9334-6b4d84db83a3"", ""shipment_id"": ""4d70b24b-6486-4464-8c2c-002a63cd6150"", ""tracking_number"": ""TRK94890E1CE78C""}",,)	2026-11-29 17:16:11.757763+00
\.


--
-- Data for Name: shipment; Type: TABLE DATA; Schema: ecommerce_shipping; Owner: postgres
--

COPY ecommerce_shipping.shipment (shipment_id, "position", key, order_id, customer_id, status, items, address, carrier, estimated_delivery, tracking_number, delivered_at, error_code, error_reason, is_retryable, is_cancelled, created_at, operation, due_at, attempts, fence, lease_until, correlation_id, user_id, tenant_id, traceparent) FROM stdin;
4d70b24b-6486-4464-8c2c-002a63cd6150	2	2975e2e5-5bb8-5b23-8c01-6b23bddb6306	01a2284e-a1ff-7fad-9334-6b4d84db83a3	00000000-0000-4000-8000-000000000007	dispatched	[{"sku": "MUG", "quantity": 2, "product_id": "00000000-0000-4000-8000-000000000001"}]	{"city": "Springfield", "street": "1 Main St", "country": "US"}	Simulated Parcel	2026-12-02 00:00:00+00	TRK94890E1CE78C	\N	\N	\N	\N	f	2026-11-29 17:16:11.729086+00	\N	2026-11-29 17:16:11.730862+00	0	1	\N	\N	\N	\N	\N
\.


--
-- Data for Name: simulator_consignment; Type: TABLE DATA; Schema: ecommerce_shipping; Owner: postgres
--

COPY ecommerce_shipping.simulator_consignment (key, order_id, status) FROM stdin;
2975e2e5-5bb8-5b23-8c01-6b23bddb6306	01a2284e-a1ff-7fad-9334-6b4d84db83a3	arranged
\.


--
-- Data for Name: aggregate; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.aggregate (category, initial_state, snapshot_every) FROM stdin;
account	{"balance": 0}	2
order	{}	100
\.


--
-- Data for Name: event_handler; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.event_handler (category, event_type, handler, owner) FROM stdin;
account	Opened	public.balance(pg_catalog.jsonb,event_store.event)	postgres
account	Paid	public.balance(pg_catalog.jsonb,event_store.event)	postgres
order	OrderCreated	ecommerce.apply_order_created(pg_catalog.jsonb,event_store.event)	postgres
order	OrderConfirmed	ecommerce.apply_order_confirmed(pg_catalog.jsonb,event_store.event)	postgres
order	OrderCancelled	ecommerce.apply_order_cancelled(pg_catalog.jsonb,event_store.event)	postgres
order	OrderCompleted	ecommerce.apply_order_completed(pg_catalog.jsonb,event_store.event)	postgres
\.


--
-- Data for Name: event_type; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.event_type (event_type, schema_version, payload_type, owner, may_be_current) FROM stdin;
Opened	1	public.opened	postgres	t
Opened	2	public.opened_2	postgres	t
OrderCreated	1	ecommerce.order_created	postgres	t
OrderConfirmed	1	ecommerce.order_confirmed	postgres	t
OrderCancelled	1	ecommerce.order_cancelled	postgres	t
OrderCompleted	1	ecommerce.order_completed	postgres	t
OrderSubmitted	1	ecommerce.order_submitted	postgres	t
OrderCancellationRequested	1	ecommerce.order_cancellation_requested	postgres	t
OrderCancellationRejected	1	ecommerce.order_cancellation_rejected	postgres	t
OrderCancellationAmended	1	ecommerce.order_cancellation_amended	postgres	t
ReserveInventory	1	ecommerce.reserve_inventory	postgres	t
CommitReservation	1	ecommerce.commit_reservation	postgres	t
ReleaseInventory	1	ecommerce.release_inventory	postgres	t
InventoryReserved	1	ecommerce.inventory_reserved	postgres	t
InventoryReservationFailed	1	ecommerce.inventory_reservation_failed	postgres	t
InventoryReleased	1	ecommerce.inventory_released	postgres	t
InventoryReleaseFailed	1	ecommerce.inventory_release_failed	postgres	t
ReservationCommitted	1	ecommerce.reservation_committed	postgres	t
ReservationCommitFailed	1	ecommerce.reservation_commit_failed	postgres	t
ReservationExpired	1	ecommerce.reservation_expired	postgres	t
ProcessPayment	1	ecommerce.process_payment	postgres	t
QueryPaymentStatus	1	ecommerce.query_payment_status	postgres	t
RefundPayment	1	ecommerce.refund_payment	postgres	t
PaymentProcessed	1	ecommerce.payment_processed	postgres	t
PaymentFailed	1	ecommerce.payment_failed	postgres	t
PaymentRefunded	1	ecommerce.payment_refunded	postgres	t
PaymentStatusReported	1	ecommerce.payment_status_reported	postgres	t
PaymentVoided	1	ecommerce.payment_voided	postgres	t
PaymentRefundFailed	1	ecommerce.payment_refund_failed	postgres	t
PaymentReturned	1	ecommerce.payment_returned	postgres	t
PaymentRegained	1	ecommerce.payment_regained	postgres	t
ArrangeShipment	1	ecommerce.arrange_shipment	postgres	t
CancelShipment	1	ecommerce.cancel_shipment	postgres	t
ShipmentArranged	1	ecommerce.shipment_arranged	postgres	t
ShipmentFailed	1	ecommerce.shipment_failed	postgres	t
ShipmentDispatched	1	ecommerce.shipment_dispatched	postgres	t
ShipmentDelivered	1	ecommerce.shipment_delivered	postgres	t
ShipmentCancelled	1	ecommerce.shipment_cancelled	postgres	t
ShipmentCancelFailed	1	ecommerce.shipment_cancel_failed	postgres	t
SendNotification	1	ecommerce.send_notification	postgres	t
NotificationSent	1	ecommerce.notification_sent	postgres	t
NotificationFailed	1	ecommerce.notification_failed	postgres	t
\.


--
-- Data for Name: projection; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.projection (name, handler, owner, mode, category, event_types, tables, on_error) FROM stdin;
heard	public.hear(event_store.event)	postgres	async	log	\N	{public.heard}	refuse
never	public.hear_never(event_store.event)	postgres	inline	log	\N	{}	defer
order_summary	ecommerce_order._apply(event_store.event)	postgres	inline	order	\N	{ecommerce_order.order_summary}	refuse
price_list	ecommerce_order._apply_product(event_store.event)	postgres	inline	product	{ProductDescribed}	{ecommerce_order.price_list}	refuse
inventory	ecommerce_inventory._apply(event_store.event)	postgres	inline	\N	{ProductDescribed,StockAdjusted,StockHeld,HoldRenewed,HoldRefused,HoldCommitted,HoldReleased,HoldExpired}	{ecommerce_inventory.product,ecommerce_inventory.reservation}	refuse
\.


--
-- Data for Name: projection_deferred; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.projection_deferred (name, "position", last_error, failed_at) FROM stdin;
never	47	division by zero (SQLSTATE 22012)	2026-11-29 17:16:11.408487+00
\.


--
-- Data for Name: projection_progress; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.projection_progress (name, checkpoint, rebuild_step, rebuild_until, paused, failed, failures, retry_at, error_position, last_error, updated_at) FROM stdin;
heard	0	\N	\N	f	f	0	\N	\N	\N	2026-11-29 17:16:11.402803+00
never	0	\N	\N	f	f	0	\N	\N	\N	2026-11-29 17:16:11.403712+00
order_summary	0	\N	\N	f	f	0	\N	\N	\N	2026-11-29 17:16:11.554989+00
price_list	0	\N	\N	f	f	0	\N	\N	\N	2026-11-29 17:16:11.560202+00
inventory	0	\N	\N	f	f	0	\N	\N	\N	2026-11-29 17:16:11.57559+00
\.


--
-- Data for Name: retention; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.retention (name, max_count, max_age, truncate_before) FROM stdin;
log-1	10	\N	\N
\.


--
-- Data for Name: snapshot; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.snapshot (stream, version, fingerprint, created_at, updated_at, latest_at, state) FROM stdin;
account-1	3	fc995d28e4c1e9be7e083fc4706623fe9863ddd672e34f81d59775747c6f6806	2026-11-29 17:16:11.373079+00	2026-11-29 17:16:11.38568+00	2026-11-29 17:16:11.38568+00	{"balance": 6}
\.


--
-- Data for Name: stored_event; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.stored_event ("position", stream, version, event_id, event_type, schema_version, data, metadata, occurred_at, stream_id, category_key) FROM stdin;
1	account-1	1	01a2284e-a0ed-7072-a781-d3c6d9ba3d4a	Opened	1	{"owner": "Ann"}	{}	2026-11-29 17:16:11.373079+00	1	693094236
2	account-2	1	01a2284e-a0f5-76ed-b6b9-6d36c5ce0b3f	Opened	2	{"owner": "Bob", "currency": "USD"}	{}	2026-11-29 17:16:11.381434+00	2	693094236
3	account-1	2	01a2284e-a0f9-7a97-91f3-dd83f6a69725	Paid	1	{"amount": 5}	{"by": "Ann"}	2026-11-29 17:16:11.385662+00	1	693094236
4	account-1	3	01a2284e-a0f9-7ae1-b486-ce25a29c06d3	Paid	1	{"amount": 1}	{}	2026-11-29 17:16:11.38568+00	1	693094236
35	log-1	31	01a2284e-a0fb-72b4-9493-9857ead59fc7	Said	1	{"n": 31}	{}	2026-11-29 17:16:11.387169+00	3	1062293841
36	log-1	32	01a2284e-a0fb-72cc-983a-424a86400c79	Said	1	{"n": 32}	{}	2026-11-29 17:16:11.387175+00	3	1062293841
37	log-1	33	01a2284e-a0fb-72e5-8bb6-c2be77d465ae	Said	1	{"n": 33}	{}	2026-11-29 17:16:11.387181+00	3	1062293841
38	log-1	34	01a2284e-a0fb-72fd-b45a-02c08c22f9b4	Said	1	{"n": 34}	{}	2026-11-29 17:16:11.387187+00	3	1062293841
39	log-1	35	01a2284e-a0fb-7316-af7f-132218278d48	Said	1	{"n": 35}	{}	2026-11-29 17:16:11.387193+00	3	1062293841
40	log-1	36	01a2284e-a0fb-732f-ac5d-8d09ccad4635	Said	1	{"n": 36}	{}	2026-11-29 17:16:11.387199+00	3	1062293841
41	log-1	37	01a2284e-a0fb-734b-b5c5-995fb1d5625c	Said	1	{"n": 37}	{}	2026-11-29 17:16:11.387206+00	3	1062293841
42	log-1	38	01a2284e-a0fb-7364-9142-954634616a58	Said	1	{"n": 38}	{}	2026-11-29 17:16:11.387212+00	3	1062293841
43	log-1	39	01a2284e-a0fb-7385-b664-c596c042554a	Said	1	{"n": 39}	{}	2026-11-29 17:16:11.38722+00	3	1062293841
44	log-1	40	01a2284e-a0fb-739d-ae8a-470868870b3c	Said	1	{"n": 40}	{}	2026-11-29 17:16:11.387226+00	3	1062293841
46	log-2	1	01a2284e-a108-71eb-afe8-3ad77776ed7b	Said	1	{}	{}	2026-11-29 17:16:11.40012+00	5	1062293841
47	log-1	41	01a2284e-a110-750a-82ad-3c7ac3715c44	Said	1	{"n": 41}	{}	2026-11-29 17:16:11.408315+00	3	1062293841
48	product-00000000-0000-4000-8000-000000000001	1	01a2284e-a1ef-7431-9008-89bc778490a0	ProductDescribed	1	{"sku": "MUG", "kind": "goods", "name": "Mug", "price": {"amount": 21, "currency": "USD"}, "product_id": "00000000-0000-4000-8000-000000000001"}	{}	2026-11-29 17:16:11.631299+00	6	-448249556
49	product-00000000-0000-4000-8000-000000000001	2	01a2284e-a1fd-76e5-afa5-2bea161bdda4	StockAdjusted	1	{"delta": 10, "reason": "delivery"}	{}	2026-11-29 17:16:11.645431+00	6	-448249556
50	order-01a2284e-a1ff-7fad-9334-6b4d84db83a3	1	01a2284e-a207-7d78-8315-3c98d4c570d9	OrderCreated	1	{"items": [{"sku": "MUG", "quantity": 2, "product_id": "00000000-0000-4000-8000-000000000001", "unit_price": 21.00, "total_price": 42.00, "product_name": "Mug"}], "currency": "USD", "customer_id": "00000000-0000-4000-8000-000000000007", "total_amount": 42.00, "payment_method": {"type": "card", "token": "tok_ok", "last4_digits": "4242"}, "shipping_address": {"city": "Springfield", "state": null, "street": "1 Main St", "country": "US", "postal_code": null}}	{}	2026-11-29 17:16:11.655842+00	7	1932267671
51	reservation-ee89887c-7fc0-5c92-bbd2-539fd7892eec	1	01a2284e-a226-770a-8483-3cbcbc803119	StockHeld	1	{"items": [{"sku": "MUG", "quantity": 2, "product_id": "00000000-0000-4000-8000-000000000001"}], "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "expires_at": "2026-11-29T17:31:11.685309+00:00"}	{}	2026-11-29 17:16:11.68644+00	8	-1103768903
52	reservation-ee89887c-7fc0-5c92-bbd2-539fd7892eec	2	01a2284e-a245-7c39-acb2-b30393fab2e2	HoldCommitted	1	{"order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3"}	{}	2026-11-29 17:16:11.717764+00	8	-1103768903
53	order-01a2284e-a1ff-7fad-9334-6b4d84db83a3	2	01a2284e-a258-7b95-9616-6a2ecf8f2d32	OrderConfirmed	1	{"confirmation_number": "CN-5X2RF4QBD5F8"}	{"causation_id": "01a2284e-a253-7322-a722-93f11c5345e6", "correlation_id": "01a2284e-a20b-788f-85bb-d23474a09388", "conversation_id": "01a2284e-a20b-788f-85bb-d23474a09388"}	2026-11-29 17:16:11.736724+00	7	1932267671
\.


--
-- Data for Name: stream; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.stream (stream_id, name_key, name, last_version, deleted_version, tombstoned) FROM stdin;
1	-2421951702180028842	account-1	\N	\N	\N
2	-2421952801691657053	account-2	\N	\N	\N
4	214812372175514821	log-3	1	1	t
3	214810173152258399	log-1	40	\N	\N
5	214811272663886610	log-2	1	1	\N
6	-6824512136730489552	product-00000000-0000-4000-8000-000000000001	\N	\N	\N
7	-1250296048011285785	order-01a2284e-a1ff-7fad-9334-6b4d84db83a3	\N	\N	\N
8	3675829276581928168	reservation-ee89887c-7fc0-5c92-bbd2-539fd7892eec	\N	\N	\N
\.


--
-- Data for Name: subscription; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.subscription (name, category, stream, event_types, partitions, created_at) FROM stdin;
listener	log	\N	\N	2	2026-11-29 17:16:11.408696+00
\.


--
-- Data for Name: subscription_partition; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.subscription_partition (name, partition, checkpoint) FROM stdin;
listener	0	0
listener	1	39
\.


--
-- Data for Name: truncated_stream; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.truncated_stream (stream_id, before_version) FROM stdin;
5	2
\.


--
-- Data for Name: upcaster; Type: TABLE DATA; Schema: event_store; Owner: postgres
--

COPY event_store.upcaster (event_type, from_version, function, owner) FROM stdin;
Opened	1	public.with_currency(pg_catalog.jsonb)	postgres
\.


--
-- Data for Name: ack_0; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.ack_0 (endpoint_id, lane, "position") FROM stdin;
2	0	12
1	0	7
1	1	8
4	2	19
5	2	20
4	2	22
6	2	23
4	2	24
5	2	25
7	2	26
4	2	28
8	2	29
4	2	30
4	5	31
9	4	33
9	7	34
9	1	35
\.


--
-- Data for Name: ack_1; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.ack_1 (endpoint_id, lane, "position") FROM stdin;
\.


--
-- Data for Name: aside; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.aside ("position", endpoint_id, lane, message_id, correlation_id, conversation_id, sent_at, schema_version, message_type, body, headers, causation_id, user_id, tenant_id, traceparent, source, deliver_at, expires_at, partition_key, state, due_at, attempt, receipt, error_code, error, first_failed_at, last_failed_at) FROM stdin;
0	1	1	01a2284e-a116-76d0-abbc-fd4c2862307b	01a2284e-a116-76d0-abbc-fd4c2862307b	01a2284e-a116-76d0-abbc-fd4c2862307b	2026-11-29 17:16:11.414427+00	1	Later	{}	\N	\N	\N	\N	\N	psql	2036-11-29 17:16:11.414319+00	\N	\N	scheduled	2036-11-29 17:16:11.414319+00	1	\N	\N	\N	\N	\N
12	2	0	01a2284e-a118-7e20-9ea6-16e3e27a8906	01a2284e-a118-7e20-9ea6-16e3e27a8906	01a2284e-a118-7e20-9ea6-16e3e27a8906	2026-11-29 17:16:11.416883+00	1	Letter	{"n": 4}	\N	\N	\N	\N	\N	psql	\N	\N	\N	retrying	2026-11-29 18:16:11.417887+00	2	\N	away	nobody is at home	2026-11-29 17:16:11.417887+00	2026-11-29 17:16:11.417887+00
1	1	0	01a2284e-a115-7f78-a8bd-d360de114a1d	01a2284e-a115-7f78-a8bd-d360de114a1d	01a2284e-a115-7f78-a8bd-d360de114a1d	2026-11-29 17:16:11.413991+00	1	Posted	{"n": 1}	\N	\N	\N	\N	\N	psql	\N	\N	\N	retrying	2026-11-29 18:16:11.421076+00	2	\N	broken	it is broken	2026-11-29 17:16:11.421076+00	2026-11-29 17:16:11.421076+00
4	1	0	01a2284e-a116-70d0-b85e-13a37457e446	01a2284e-a116-70d0-b85e-13a37457e446	01a2284e-a116-70d0-b85e-13a37457e446	2026-11-29 17:16:11.414051+00	1	Posted	{"n": 4}	\N	\N	\N	\N	\N	psql	\N	\N	\N	retrying	2026-11-29 18:16:11.421095+00	2	\N	broken	it is broken	2026-11-29 17:16:11.421095+00	2026-11-29 17:16:11.421095+00
5	1	0	01a2284e-a116-70d4-a053-c4d0cd50ead9	01a2284e-a116-70d4-a053-c4d0cd50ead9	01a2284e-a116-70d4-a053-c4d0cd50ead9	2026-11-29 17:16:11.414052+00	1	Posted	{"n": 5}	\N	\N	\N	\N	\N	psql	\N	\N	\N	retrying	2026-11-29 18:16:11.421102+00	2	\N	broken	it is broken	2026-11-29 17:16:11.421102+00	2026-11-29 17:16:11.421102+00
6	1	0	01a2284e-a116-70d9-ba9a-a7aa6cf6f322	01a2284e-a116-70d9-ba9a-a7aa6cf6f322	01a2284e-a116-70d9-ba9a-a7aa6cf6f322	2026-11-29 17:16:11.414053+00	1	Posted	{"n": 6}	\N	\N	\N	\N	\N	psql	\N	\N	\N	retrying	2026-11-29 18:16:11.421106+00	2	\N	broken	it is broken	2026-11-29 17:16:11.421106+00	2026-11-29 17:16:11.421106+00
7	1	0	01a2284e-a116-70dd-a29f-4a7cd2c52560	01a2284e-a116-70dd-a29f-4a7cd2c52560	01a2284e-a116-70dd-a29f-4a7cd2c52560	2026-11-29 17:16:11.414055+00	1	Posted	{"n": 7}	\N	\N	\N	\N	\N	psql	\N	\N	\N	retrying	2026-11-29 18:16:11.421111+00	2	\N	broken	it is broken	2026-11-29 17:16:11.421111+00	2026-11-29 17:16:11.421111+00
2	1	1	01a2284e-a116-70c0-aafb-da99dc4692fa	01a2284e-a116-70c0-aafb-da99dc4692fa	01a2284e-a116-70c0-aafb-da99dc4692fa	2026-11-29 17:16:11.414047+00	1	Posted	{"n": 2}	\N	\N	\N	\N	\N	psql	\N	\N	\N	retrying	2026-11-29 18:16:11.421115+00	2	\N	broken	it is broken	2026-11-29 17:16:11.421115+00	2026-11-29 17:16:11.421115+00
3	1	1	01a2284e-a116-70c8-a68e-18691ba7d5a4	01a2284e-a116-70c8-a68e-18691ba7d5a4	01a2284e-a116-70c8-a68e-18691ba7d5a4	2026-11-29 17:16:11.414049+00	1	Posted	{"n": 3}	\N	\N	\N	\N	\N	psql	\N	\N	\N	retrying	2026-11-29 18:16:11.421119+00	2	\N	broken	it is broken	2026-11-29 17:16:11.421119+00	2026-11-29 17:16:11.421119+00
8	1	1	01a2284e-a116-70e5-a86e-75a679eb9953	01a2284e-a116-70e5-a86e-75a679eb9953	01a2284e-a116-70e5-a86e-75a679eb9953	2026-11-29 17:16:11.414056+00	1	Posted	{"n": 8}	\N	\N	\N	\N	\N	psql	\N	\N	\N	retrying	2026-11-29 18:16:11.421123+00	2	\N	broken	it is broken	2026-11-29 17:16:11.421123+00	2026-11-29 17:16:11.421123+00
\.


--
-- Data for Name: breaker; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.breaker (endpoint_id, message_type, state, attempts, failures, window_start, opened_at, retry_at, probe_successes) FROM stdin;
1	Posted	open	2	2	2026-11-29 17:16:11.421133+00	2026-11-29 17:16:11.421133+00	2026-11-29 18:16:11.421133+00	0
\.


--
-- Data for Name: dead; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.dead ("position", endpoint_id, lane, message_id, correlation_id, conversation_id, sent_at, schema_version, message_type, body, headers, causation_id, user_id, tenant_id, traceparent, source, deliver_at, expires_at, partition_key, reason, error_code, error, attempts, first_failed_at, last_failed_at) FROM stdin;
11	2	0	01a2284e-a118-7e18-a2b2-37a7b1205366	01a2284e-a118-7e18-a2b2-37a7b1205366	01a2284e-a118-7e18-a2b2-37a7b1205366	2026-11-29 17:16:11.416882+00	1	Letter	{"n": 3}	\N	\N	\N	\N	\N	psql	\N	\N	\N	skipped	\N	not for us	1	2026-11-29 17:16:11.417468+00	2026-11-29 17:16:11.417468+00
37	10	0	01a2284e-a28c-7ef5-b4dc-61133f309358	01a2284e-a28c-7ef5-b4dc-61133f309358	01a2284e-a28c-7ef5-b4dc-61133f309358	2026-11-29 17:16:11.788935+00	1	Leaflet	{}	\N	\N	\N	\N	\N	psql	\N	2026-11-29 17:16:11.789933+00	\N	expired	\N	\N	0	2026-11-29 17:16:11.789939+00	2026-11-29 17:16:11.789939+00
\.


--
-- Data for Name: death; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.death (endpoint_id, message_id, deaths) FROM stdin;
3	01a2284e-a123-7395-9b76-31809f5552e5	1
\.


--
-- Data for Name: endpoint; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.endpoint (endpoint_id, name, lanes, retry, retry_delays, breaker, timeout, max_depth, paused, created_at, strict_order) FROM stdin;
1	post	2	{"kind": "interval", "limit": 3, "interval": "1 h"}	{}	{"reset_interval": "1 h", "trip_threshold": 1, "tracking_period": "1 h", "active_threshold": 1}	00:00:30	\N	f	2026-11-29 17:16:11.409627+00	f
2	box	1	{"kind": "interval", "limit": 3, "interval": "1 h"}	{}	{"kind": "none"}	00:00:30	\N	f	2026-11-29 17:16:11.416018+00	f
3	brittle	1	{"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}	{4298,6922,13764,29552,30000}	{"kind": "none"}	00:00:30	\N	f	2026-11-29 17:16:11.421313+00	f
4	order	8	{"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}	{3500,6422,11092,28432,30000}	{"kind": "none"}	00:00:30	\N	f	2026-11-29 17:16:11.452244+00	f
5	inventory	8	{"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}	{4424,7486,13224,23880,30000}	{"reset_interval": "5 min", "trip_threshold": 15, "tracking_period": "60 s", "active_threshold": 10}	00:00:30	\N	f	2026-11-29 17:16:11.452244+00	f
6	payment	8	{"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}	{4597,7840,14308,23488,30000}	{"reset_interval": "5 min", "trip_threshold": 15, "tracking_period": "60 s", "active_threshold": 10}	00:00:30	\N	f	2026-11-29 17:16:11.452244+00	f
7	shipping	8	{"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}	{3503,6694,14948,22072,30000}	{"reset_interval": "5 min", "trip_threshold": 15, "tracking_period": "60 s", "active_threshold": 10}	00:00:30	\N	f	2026-11-29 17:16:11.452244+00	f
8	notification	8	{"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}	{4249,7654,13204,21976,30000}	{"reset_interval": "5 min", "trip_threshold": 15, "tracking_period": "60 s", "active_threshold": 10}	00:00:30	\N	f	2026-11-29 17:16:11.452244+00	f
9	trip	8	{"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}	{4104,6264,11844,24824,30000}	{"kind": "none"}	00:00:30	\N	f	2026-11-29 17:16:11.768032+00	f
10	dust	1	{"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}	{3872,6170,12472,23728,30000}	{"kind": "none"}	00:00:30	\N	f	2026-11-29 17:16:11.788036+00	f
\.


--
-- Data for Name: lane; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.lane (endpoint_id, lane, "position") FROM stdin;
9	7	34
1	1	8
7	2	26
6	2	23
9	4	33
4	2	30
4	5	31
8	2	29
1	0	7
9	1	35
5	2	25
2	0	12
\.


--
-- Data for Name: lease; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.lease (delivery_id, endpoint_id, lane, "position", upto, message_id, message_type, attempt, probe, handled, leased_until) FROM stdin;
1099511627781	2	0	13	14	01a2284e-a118-7e24-b46f-b0f2dd300f32	Letter	1	f	f	2026-11-30 17:16:11.420536+00
\.


--
-- Data for Name: passed; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.passed (endpoint_id, lane, "position") FROM stdin;
10	0	37
\.


--
-- Data for Name: ring_0; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.ring_0 ("position", endpoint_id, lane, message_id, correlation_id, conversation_id, sent_at, schema_version, message_type, body, headers, causation_id, user_id, tenant_id, traceparent, source, deliver_at, expires_at, partition_key) FROM stdin;
1	1	0	01a2284e-a115-7f78-a8bd-d360de114a1d	01a2284e-a115-7f78-a8bd-d360de114a1d	01a2284e-a115-7f78-a8bd-d360de114a1d	2026-11-29 17:16:11.413991+00	1	Posted	{"n": 1}	\N	\N	\N	\N	\N	psql	\N	\N	\N
2	1	1	01a2284e-a116-70c0-aafb-da99dc4692fa	01a2284e-a116-70c0-aafb-da99dc4692fa	01a2284e-a116-70c0-aafb-da99dc4692fa	2026-11-29 17:16:11.414047+00	1	Posted	{"n": 2}	\N	\N	\N	\N	\N	psql	\N	\N	\N
3	1	1	01a2284e-a116-70c8-a68e-18691ba7d5a4	01a2284e-a116-70c8-a68e-18691ba7d5a4	01a2284e-a116-70c8-a68e-18691ba7d5a4	2026-11-29 17:16:11.414049+00	1	Posted	{"n": 3}	\N	\N	\N	\N	\N	psql	\N	\N	\N
4	1	0	01a2284e-a116-70d0-b85e-13a37457e446	01a2284e-a116-70d0-b85e-13a37457e446	01a2284e-a116-70d0-b85e-13a37457e446	2026-11-29 17:16:11.414051+00	1	Posted	{"n": 4}	\N	\N	\N	\N	\N	psql	\N	\N	\N
5	1	0	01a2284e-a116-70d4-a053-c4d0cd50ead9	01a2284e-a116-70d4-a053-c4d0cd50ead9	01a2284e-a116-70d4-a053-c4d0cd50ead9	2026-11-29 17:16:11.414052+00	1	Posted	{"n": 5}	\N	\N	\N	\N	\N	psql	\N	\N	\N
6	1	0	01a2284e-a116-70d9-ba9a-a7aa6cf6f322	01a2284e-a116-70d9-ba9a-a7aa6cf6f322	01a2284e-a116-70d9-ba9a-a7aa6cf6f322	2026-11-29 17:16:11.414053+00	1	Posted	{"n": 6}	\N	\N	\N	\N	\N	psql	\N	\N	\N
7	1	0	01a2284e-a116-70dd-a29f-4a7cd2c52560	01a2284e-a116-70dd-a29f-4a7cd2c52560	01a2284e-a116-70dd-a29f-4a7cd2c52560	2026-11-29 17:16:11.414055+00	1	Posted	{"n": 7}	\N	\N	\N	\N	\N	psql	\N	\N	\N
8	1	1	01a2284e-a116-70e5-a86e-75a679eb9953	01a2284e-a116-70e5-a86e-75a679eb9953	01a2284e-a116-70e5-a86e-75a679eb9953	2026-11-29 17:16:11.414056+00	1	Posted	{"n": 8}	\N	\N	\N	\N	\N	psql	\N	\N	\N
9	2	0	01a2284e-a118-7624-92d5-a2f7ac7dfd98	01a2284e-a118-7624-92d5-a2f7ac7dfd98	01a2284e-a118-7624-92d5-a2f7ac7dfd98	2026-11-29 17:16:11.416865+00	1	Letter	{"n": 1}	\N	\N	\N	\N	\N	psql	\N	\N	\N
10	2	0	01a2284e-a118-7e14-9e37-6b8920b8a4da	01a2284e-a118-7e14-9e37-6b8920b8a4da	01a2284e-a118-7e14-9e37-6b8920b8a4da	2026-11-29 17:16:11.41688+00	1	Letter	{"n": 2}	\N	\N	\N	\N	\N	psql	\N	\N	\N
11	2	0	01a2284e-a118-7e18-a2b2-37a7b1205366	01a2284e-a118-7e18-a2b2-37a7b1205366	01a2284e-a118-7e18-a2b2-37a7b1205366	2026-11-29 17:16:11.416882+00	1	Letter	{"n": 3}	\N	\N	\N	\N	\N	psql	\N	\N	\N
12	2	0	01a2284e-a118-7e20-9ea6-16e3e27a8906	01a2284e-a118-7e20-9ea6-16e3e27a8906	01a2284e-a118-7e20-9ea6-16e3e27a8906	2026-11-29 17:16:11.416883+00	1	Letter	{"n": 4}	\N	\N	\N	\N	\N	psql	\N	\N	\N
13	2	0	01a2284e-a118-7e24-b46f-b0f2dd300f32	01a2284e-a118-7e24-b46f-b0f2dd300f32	01a2284e-a118-7e24-b46f-b0f2dd300f32	2026-11-29 17:16:11.416884+00	1	Letter	{"n": 5}	\N	\N	\N	\N	\N	psql	\N	\N	\N
14	2	0	01a2284e-a118-7e28-9aff-57b69b0a1525	01a2284e-a118-7e28-9aff-57b69b0a1525	01a2284e-a118-7e28-9aff-57b69b0a1525	2026-11-29 17:16:11.416885+00	1	Letter	{"n": 6}	\N	\N	\N	\N	\N	psql	\N	\N	\N
15	2	0	01a2284e-a118-7e2d-af87-e8ef32505c98	01a2284e-a118-7e2d-af87-e8ef32505c98	01a2284e-a118-7e2d-af87-e8ef32505c98	2026-11-29 17:16:11.416886+00	1	Letter	{"n": 7}	\N	\N	\N	\N	\N	psql	\N	\N	\N
16	2	0	01a2284e-a118-7e31-b30d-54288e832c36	01a2284e-a118-7e31-b30d-54288e832c36	01a2284e-a118-7e31-b30d-54288e832c36	2026-11-29 17:16:11.416887+00	1	Letter	{"n": 8}	\N	\N	\N	\N	\N	psql	\N	\N	\N
17	2	0	01a2284e-a118-7e35-ae57-501544fe6239	01a2284e-a118-7e35-ae57-501544fe6239	01a2284e-a118-7e35-ae57-501544fe6239	2026-11-29 17:16:11.416939+00	1	Letter	{"n": 9}	\N	\N	\N	\N	\N	psql	\N	\N	\N
18	3	0	01a2284e-a123-7395-9b76-31809f5552e5	01a2284e-a123-7395-9b76-31809f5552e5	01a2284e-a123-7395-9b76-31809f5552e5	2026-11-29 17:16:11.427564+00	1	Blow	{}	\N	\N	\N	\N	\N	psql	\N	\N	\N
19	4	2	01a2284e-a20b-788f-85bb-d23474a09388	01a2284e-a20b-788f-85bb-d23474a09388	01a2284e-a20b-788f-85bb-d23474a09388	2026-11-29 17:16:11.659564+00	1	OrderSubmitted	{"email": null, "items": [{"sku": "MUG", "quantity": 2, "product_id": "00000000-0000-4000-8000-000000000001", "unit_price": 21.00, "total_price": 42.00, "product_name": "Mug"}], "currency": "USD", "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "customer_id": "00000000-0000-4000-8000-000000000007", "total_amount": 42.00, "payment_method": {"type": "card", "token": "tok_ok", "last4_digits": "4242"}, "shipping_address": {"city": "Springfield", "state": null, "street": "1 Main St", "country": "US", "postal_code": null}}	\N	\N	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
20	5	2	10900b3c-5312-54bc-87b5-10ad6e49e8ea	01a2284e-a20b-788f-85bb-d23474a09388	01a2284e-a20b-788f-85bb-d23474a09388	2026-11-29 17:16:11.671792+00	1	ReserveInventory	{"key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "ttl": 900, "items": [{"sku": "MUG", "quantity": 2, "product_id": "00000000-0000-4000-8000-000000000001"}], "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "not_after": "2026-11-29T17:18:11.671042+00:00"}	{"saga": "order", "step_key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "saga_correlation_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3"}	01a2284e-a20b-788f-85bb-d23474a09388	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
21	8	2	49ee82d7-4a0f-5490-82de-7baa6dbecbd9	01a2284e-a20b-788f-85bb-d23474a09388	01a2284e-a20b-788f-85bb-d23474a09388	2026-11-29 17:16:11.671913+00	1	SendNotification	{"key": "7a35e3a5-996a-5cac-8a33-1b3104e54591", "data": {"currency": "USD", "total_amount": 42.00}, "email": null, "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "template": "order_received", "customer_id": "00000000-0000-4000-8000-000000000007"}	{"saga": "order", "step_key": "7a35e3a5-996a-5cac-8a33-1b3104e54591", "saga_correlation_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3"}	01a2284e-a20b-788f-85bb-d23474a09388	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
22	4	2	01a2284e-a227-7af9-a721-6d3658ecf9cc	01a2284e-a227-7af9-a721-6d3658ecf9cc	01a2284e-a227-7af9-a721-6d3658ecf9cc	2026-11-29 17:16:11.687696+00	1	InventoryReserved	{"key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "expires_at": "2026-11-29T17:31:11.685309+00:00", "reserved_items": [{"sku": "MUG", "quantity": 2, "product_id": "00000000-0000-4000-8000-000000000001", "reservation_id": "ee89887c-7fc0-5c92-bbd2-539fd7892eec"}]}	\N	\N	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
23	6	2	3595a669-8e50-58fa-80d9-b0dcab637273	01a2284e-a20b-788f-85bb-d23474a09388	01a2284e-a20b-788f-85bb-d23474a09388	2026-11-29 17:16:11.692703+00	1	ProcessPayment	{"key": "4beba35f-292f-59d7-8510-f8e791a93f7d", "amount": 42.00, "currency": "USD", "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "not_after": "2026-11-29T17:18:11.692346+00:00", "customer_id": "00000000-0000-4000-8000-000000000007", "payment_method": {"type": "card", "token": "tok_ok", "last4_digits": "4242"}}	{"saga": "order", "step_key": "4beba35f-292f-59d7-8510-f8e791a93f7d", "saga_correlation_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3"}	01a2284e-a227-7af9-a721-6d3658ecf9cc	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
24	4	2	01a2284e-a23e-7835-99cd-bcdc1b1c6fab	01a2284e-a23e-7835-99cd-bcdc1b1c6fab	01a2284e-a23e-7835-99cd-bcdc1b1c6fab	2026-11-29 17:16:11.710527+00	1	PaymentProcessed	{"key": "4beba35f-292f-59d7-8510-f8e791a93f7d", "amount": 42.00, "currency": "USD", "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "processed_at": "2026-11-29T17:16:11.709633+00:00", "transaction_id": "sim_ch_34d746b66d1e5cb4"}	\N	\N	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
25	5	2	aebad4d0-4412-5a7f-bad7-74712cc740b9	01a2284e-a20b-788f-85bb-d23474a09388	01a2284e-a20b-788f-85bb-d23474a09388	2026-11-29 17:16:11.716713+00	1	CommitReservation	{"key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3"}	{"saga": "order", "step_key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "saga_correlation_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3"}	01a2284e-a23e-7835-99cd-bcdc1b1c6fab	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
26	7	2	ed3464d3-69df-5949-899e-b75c773aa945	01a2284e-a20b-788f-85bb-d23474a09388	01a2284e-a20b-788f-85bb-d23474a09388	2026-11-29 17:16:11.716802+00	1	ArrangeShipment	{"key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "items": [{"sku": "MUG", "quantity": 2, "product_id": "00000000-0000-4000-8000-000000000001"}], "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "not_after": "2026-11-29T17:36:11.716403+00:00", "customer_id": "00000000-0000-4000-8000-000000000007", "shipping_address": {"city": "Springfield", "street": "1 Main St", "country": "US"}}	{"saga": "order", "step_key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "saga_correlation_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3"}	01a2284e-a23e-7835-99cd-bcdc1b1c6fab	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
27	4	2	01a2284e-a246-7808-8966-2f474998f81b	01a2284e-a246-7808-8966-2f474998f81b	01a2284e-a246-7808-8966-2f474998f81b	2026-11-29 17:16:11.718513+00	1	ReservationCommitted	{"key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3"}	\N	\N	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
28	4	2	01a2284e-a253-7322-a722-93f11c5345e6	01a2284e-a253-7322-a722-93f11c5345e6	01a2284e-a253-7322-a722-93f11c5345e6	2026-11-29 17:16:11.731206+00	1	ShipmentArranged	{"key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "carrier": "Simulated Parcel", "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "shipment_id": "4d70b24b-6486-4464-8c2c-002a63cd6150", "estimated_delivery": "2026-12-02T00:00:00+00:00"}	\N	\N	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
29	8	2	56f21d6a-2c82-5fb5-b65f-d5adb103cb0b	01a2284e-a20b-788f-85bb-d23474a09388	01a2284e-a20b-788f-85bb-d23474a09388	2026-11-29 17:16:11.737154+00	1	SendNotification	{"key": "07dbb28f-89ba-56c2-81c9-eeefac054fa3", "data": {"currency": "USD", "total_amount": 42.00, "confirmation_number": "CN-5X2RF4QBD5F8"}, "email": null, "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "template": "order_confirmed", "customer_id": "00000000-0000-4000-8000-000000000007"}	{"saga": "order", "step_key": "07dbb28f-89ba-56c2-81c9-eeefac054fa3", "saga_correlation_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3"}	01a2284e-a253-7322-a722-93f11c5345e6	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
30	4	2	01a2284e-a26d-78f5-88e5-64ebff60cb8b	01a2284e-a26d-78f5-88e5-64ebff60cb8b	01a2284e-a26d-78f5-88e5-64ebff60cb8b	2026-11-29 17:16:11.757568+00	1	ShipmentDispatched	{"key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "shipment_id": "4d70b24b-6486-4464-8c2c-002a63cd6150", "tracking_number": "TRK94890E1CE78C"}	\N	\N	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
31	4	5	01a2284e-a271-73c2-8368-68caa90e10e8	01a2284e-a271-73c2-8368-68caa90e10e8	01a2284e-a271-73c2-8368-68caa90e10e8	2026-11-29 17:16:11.761237+00	1	PaymentProcessed	{"key": "00000000-0000-4000-8000-000000000098", "amount": 1, "currency": "USD", "order_id": "00000000-0000-4000-8000-000000000099", "processed_at": "2026-11-29T17:16:11.761071+00:00", "transaction_id": "ch_98"}	\N	\N	\N	\N	\N	psql	\N	\N	\N
32	8	2	90be1fa0-ac1a-5fe0-963e-7f2c715746a7	01a2284e-a20b-788f-85bb-d23474a09388	01a2284e-a20b-788f-85bb-d23474a09388	2026-11-29 17:16:11.761671+00	1	SendNotification	{"key": "fd87a45b-c131-51db-b514-8ddd8b9ba0d1", "data": {"outcome": "tracked", "currency": "USD", "total_amount": 42.00, "tracking_number": "TRK94890E1CE78C"}, "email": null, "order_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3", "template": "order_shipped", "customer_id": "00000000-0000-4000-8000-000000000007"}	{"saga": "order", "step_key": "fd87a45b-c131-51db-b514-8ddd8b9ba0d1", "saga_correlation_id": "01a2284e-a1ff-7fad-9334-6b4d84db83a3"}	01a2284e-a26d-78f5-88e5-64ebff60cb8b	\N	\N	\N	psql	\N	\N	01a2284e-a1ff-7fad-9334-6b4d84db83a3
33	9	4	01a2284e-a27c-7608-a4d6-e845d3b3efd9	01a2284e-a27c-7608-a4d6-e845d3b3efd9	01a2284e-a27c-7608-a4d6-e845d3b3efd9	2026-11-29 17:16:11.772389+00	1	Go	{"id": "00000000-0000-4000-8000-000000000051"}	\N	\N	\N	\N	\N	psql	\N	\N	\N
34	9	7	01a2284e-a27c-7753-b4f2-7ac40a1a7018	01a2284e-a27c-7753-b4f2-7ac40a1a7018	01a2284e-a27c-7753-b4f2-7ac40a1a7018	2026-11-29 17:16:11.772458+00	1	Go	{"id": "00000000-0000-4000-8000-000000000052"}	\N	\N	\N	\N	\N	psql	\N	\N	\N
35	9	1	01a2284e-a27c-7764-9396-786253908cb5	01a2284e-a27c-7764-9396-786253908cb5	01a2284e-a27c-7764-9396-786253908cb5	2026-11-29 17:16:11.772462+00	1	Go	{"id": "00000000-0000-4000-8000-000000000053"}	\N	\N	\N	\N	\N	psql	\N	\N	\N
36	10	0	01a2284e-a28c-79c6-981f-a084c3e89dfa	01a2284e-a28c-79c6-981f-a084c3e89dfa	01a2284e-a28c-79c6-981f-a084c3e89dfa	2026-11-29 17:16:11.788813+00	1	Leaflet	{}	\N	\N	\N	\N	\N	psql	\N	\N	\N
37	10	0	01a2284e-a28c-7ef5-b4dc-61133f309358	01a2284e-a28c-7ef5-b4dc-61133f309358	01a2284e-a28c-7ef5-b4dc-61133f309358	2026-11-29 17:16:11.788935+00	1	Leaflet	{}	\N	\N	\N	\N	\N	psql	\N	2026-11-29 17:16:11.789933+00	\N
\.


--
-- Data for Name: ring_1; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.ring_1 ("position", endpoint_id, lane, message_id, correlation_id, conversation_id, sent_at, schema_version, message_type, body, headers, causation_id, user_id, tenant_id, traceparent, source, deliver_at, expires_at, partition_key) FROM stdin;
\.


--
-- Data for Name: ring_2; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.ring_2 ("position", endpoint_id, lane, message_id, correlation_id, conversation_id, sent_at, schema_version, message_type, body, headers, causation_id, user_id, tenant_id, traceparent, source, deliver_at, expires_at, partition_key) FROM stdin;
\.


--
-- Data for Name: ring_3; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.ring_3 ("position", endpoint_id, lane, message_id, correlation_id, conversation_id, sent_at, schema_version, message_type, body, headers, causation_id, user_id, tenant_id, traceparent, source, deliver_at, expires_at, partition_key) FROM stdin;
\.


--
-- Data for Name: ring_4; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.ring_4 ("position", endpoint_id, lane, message_id, correlation_id, conversation_id, sent_at, schema_version, message_type, body, headers, causation_id, user_id, tenant_id, traceparent, source, deliver_at, expires_at, partition_key) FROM stdin;
\.


--
-- Data for Name: ring_5; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.ring_5 ("position", endpoint_id, lane, message_id, correlation_id, conversation_id, sent_at, schema_version, message_type, body, headers, causation_id, user_id, tenant_id, traceparent, source, deliver_at, expires_at, partition_key) FROM stdin;
\.


--
-- Data for Name: ring_6; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.ring_6 ("position", endpoint_id, lane, message_id, correlation_id, conversation_id, sent_at, schema_version, message_type, body, headers, causation_id, user_id, tenant_id, traceparent, source, deliver_at, expires_at, partition_key) FROM stdin;
\.


--
-- Data for Name: ring_7; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.ring_7 ("position", endpoint_id, lane, message_id, correlation_id, conversation_id, sent_at, schema_version, message_type, body, headers, causation_id, user_id, tenant_id, traceparent, source, deliver_at, expires_at, partition_key) FROM stdin;
\.


--
-- Data for Name: route; Type: TABLE DATA; Schema: message_bus; Owner: postgres
--

COPY message_bus.route (message_type, endpoint_id) FROM stdin;
Posted	1
PaymentFailed	4
PaymentVoided	4
OrderSubmitted	4
ShipmentFailed	4
PaymentRefunded	4
PaymentRegained	4
PaymentReturned	4
PaymentProcessed	4
ShipmentArranged	4
InventoryReleased	4
InventoryReserved	4
ShipmentCancelled	4
ShipmentDelivered	4
ReservationExpired	4
ShipmentDispatched	4
PaymentRefundFailed	4
ReservationCommitted	4
ShipmentCancelFailed	4
PaymentStatusReported	4
InventoryReleaseFailed	4
ReservationCommitFailed	4
InventoryReservationFailed	4
OrderCancellationRequested	4
Go	9
\.


--
-- Data for Name: heard; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.heard (n) FROM stdin;
\.


--
-- Data for Name: definition; Type: TABLE DATA; Schema: saga; Owner: postgres
--

COPY saga.definition (name, version, document, endpoint, defined_by, type_versions, created_at) FROM stdin;
order	1	{"owed": {"refund": {"in": ["requested", "unknown", "waiting", "captured", "returned", "regained", "refunding", "refund_failed"], "to": "refunding", "body": {"key": "$.key", "amount": "$.data.total", "reason": {"$path": "$.data.cancel_reason", "default": "DuplicatePayment"}, "order_id": "$.saga.correlation_id"}, "each": "pay", "type": "RefundPayment", "when": "<cancelling> || $.record.late == true", "after": ["cancel_shipment"], "resend": {"kind": "interval", "intervals": ["1 min", "2 min", "4 min", "8 min", "15 min"]}, "endpoint": "payment", "refused_by": {"PaymentRefundFailed": "$.message.is_retryable == false"}, "then_every": "24 h", "description": "Refunds or voids; also a payment heard of after its decline.", "give_up_after": "72 h"}, "release": {"in": ["requested", "held", "committed", "releasing"], "to": "releasing", "body": {"key": "$.key", "reason": {"$path": "$.data.cancel_reason", "default": "LateReservation"}, "order_id": "$.saga.correlation_id"}, "each": "inv", "type": "ReleaseInventory", "when": "<cancelling> || $.record.late == true", "after": ["cancel_shipment"], "resend": {"kind": "interval", "intervals": ["1 min", "2 min", "4 min", "8 min", "15 min"]}, "endpoint": "inventory", "refused_by": {"InventoryReleaseFailed": "$.message.is_retryable == false"}, "then_every": "24 h", "give_up_after": "24 h"}, "cancel_shipment": {"in": ["requested", "arranged", "cancelling"], "to": "cancelling", "body": {"key": "$.key", "order_id": "$.saga.correlation_id"}, "each": "shp", "type": "CancelShipment", "when": "<cancelling> || $.record.late == true", "resend": {"kind": "interval", "intervals": ["1 min", "2 min", "4 min", "8 min", "15 min"]}, "endpoint": "shipping", "then_every": "24 h", "description": "First of all: goods that may still leave are not refunded.", "give_up_after": "24 h"}}, "facts": {"inv": {"keep": "latest", "late": {"expired": ["held"], "rejected": ["held"]}, "lattice": {"held": ["committed", "expired", "releasing"], "none": ["requested"], "expired": ["releasing"], "committed": ["releasing"], "releasing": ["released"], "requested": ["held", "rejected", "releasing"]}, "description": "The hold of the goods; a lost one is asked for again with a new key."}, "pay": {"keep": "all", "late": {"voided": ["captured"], "declined": ["captured"], "refunded": ["regained"]}, "lattice": {"none": ["requested"], "unknown": ["captured", "declined", "voided", "refunding", "waiting"], "waiting": ["captured", "declined", "voided", "refunding", "unknown"], "captured": ["refunding", "returned"], "regained": ["refunding", "returned"], "returned": ["refunding", "regained"], "refunding": ["refunded", "voided", "refund_failed"], "requested": ["captured", "declined", "unknown", "refunding"], "refund_failed": ["refunding", "refunded"]}, "description": "Payments, one per key; a new key only after a definite no."}, "shp": {"keep": "latest", "late": {"failed": ["arranged"]}, "lattice": {"none": ["requested"], "arranged": ["dispatched", "cancelling"], "requested": ["arranged", "failed", "cancelling"], "cancelling": ["cancelled", "cancel_rejected", "dispatched"], "dispatched": ["delivered"], "cancel_rejected": ["dispatched"]}, "description": "The shipment."}, "cancellation": {"keep": "all", "lattice": {"none": ["asked"], "asked": ["rejected"]}, "description": "Requests to cancel, one per person and reason."}}, "start": {"OrderSubmitted": {"set": {"goal": "FULFIL", "email": {"$path": "$.message.email ? (@ != null)", "default": null}, "items": {"as": {"sku": "$.item.sku", "quantity": "$.item.quantity", "product_id": "$.item.product_id"}, "$each": "$.message.items[*]"}, "total": "$.message.total_amount", "currency": {"$path": "$.message.currency ? (@ != null)", "default": {"$setting": "ecommerce.currency"}}, "customer_id": "$.message.customer_id", "payment_method": "$.message.payment_method", "shipping_address": "$.message.shipping_address"}, "goto": "ReservingInventory", "send": [{"command": "reserve"}, {"body": {"template": "order_received"}, "step": "notify_received", "command": "notify"}], "append": {"data": {"items": "$.message.items", "currency": "$.data.currency", "customer_id": "$.message.customer_id", "total_amount": "$.message.total_amount", "payment_method": "$.message.payment_method", "shipping_address": "$.message.shipping_address"}, "type": "OrderCreated", "stream": "order-${$.saga.correlation_id}", "skip_existing": true}, "schedule": {"delay": "30 min", "timer": "overall"}}}, "cancel": {"as": "OrderCancellationRequested", "body": {"by": "operator", "reason": "$.reason", "order_id": "$.saga.correlation_id"}}, "common": {"goal": {"always": [{"why": "to be undone", "goto": "Compensating", "guard": "<cancelling> && $.owed > 0", "unschedule": ["*"]}, {"why": "nothing to undo", "goto": "Cancelled", "send": [{"if": "!<unwanted>", "body": {"data": {"outcome": "on_request"}}, "command": "notify_cancelled"}, {"if": "<unwanted> && <out_of_stock>", "body": {"data": {"outcome": "out_of_stock"}}, "command": "notify_cancelled"}, {"if": "<unwanted> && !<out_of_stock>", "body": {"data": {"outcome": "never_paid"}}, "command": "notify_cancelled"}], "guard": "<cancelling>", "append": {"data": {"reason": "$.data.cancel_reason", "refund_id": {"$first": "$.data.pay[*].refund_id", "default": null}, "cancelled_by": {"$path": "$.data.cancelled_by", "default": null}}, "type": "OrderCancelled", "stream": "order-${$.saga.correlation_id}"}, "unschedule": ["*"]}], "description": "Once the goal is to cancel, all that counts is what is owed."}, "money": {"always": [{"set": {"stuck_step": "payment"}, "why": "paid back though the goods have left", "fact": {"of": "pay", "set": {"told": "$.data.pay[last].moves"}}, "goto": "Unpaid", "alarm": "overdue", "guard": "<returned> && <goods_left> && !<cancelling>", "schedule": {"delay": "24 h", "timer": "overall"}, "unschedule": ["*"]}, {"set": {"goal": "CANCEL", "cancelled_by": "payment provider", "cancel_reason": "PaymentDisputed"}, "why": "disputed", "guard": "<returned> && !<cancelling> && <disputed>"}, {"set": {"goal": "CANCEL", "cancelled_by": "payment provider", "cancel_reason": "PaymentReturned"}, "why": "paid back elsewhere", "guard": "<returned> && !<cancelling>"}], "description": "Money that went back without us: no goods for it, if they are still here."}, "paying": {"always": [{"why": "paid", "goto": "ArrangingFulfilment", "guard": "<captured>", "unschedule": ["payment", "query", "hold"]}, {"why": "declined for now", "goto": "PaymentRetryWait", "guard": "<declined> && <may_pay_again>", "schedule": {"timer": "retry", "attempt": "$.data.pay[last].attempt", "backoff": {"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}}, "unschedule": ["payment", "query"]}, {"set": {"goal": "CANCEL", "cancel_reason": {"$path": "$.data.pay[last].error_code", "default": "PaymentDeclined"}}, "why": "declined", "guard": "<declined>"}], "description": "What follows from the outcome of the payment."}, "undone": {"always": [{"set": {"goal": "FULFIL", "stuck_step": null, "cancelled_by": null, "cancel_reason": null}, "why": "left before anything was undone", "fact": {"of": "inv", "set": {"committing": null}}, "goto": "ArrangingFulfilment", "send": {"if": "$.data.inv.st == \\"requested\\"", "key": "$.data.inv.key", "fact": {"to": null}, "command": "reserve"}, "guard": "<cancelling> && <goods_left> && !<undoing>"}, {"set": {"stuck_step": null}, "why": "undone", "goto": "Cancelled", "send": [{"if": "<paid_back> && !<paid_back_elsewhere>", "body": {"data": {"outcome": "refunded", "refund_id": {"$first": "$.data.pay[*].refund_id"}}}, "command": "notify_cancelled"}, {"if": "<paid_back_elsewhere>", "body": {"data": {"outcome": "returned"}}, "command": "notify_cancelled"}, {"if": "!<paid_back> && !<unwanted>", "body": {"data": {"outcome": "on_request"}}, "command": "notify_cancelled"}, {"if": "!<paid_back> && <unwanted> && <refused>", "body": {"data": {"outcome": "payment_refused"}}, "command": "notify_cancelled"}, {"if": "!<paid_back> && <unwanted> && !<refused> && <out_of_stock>", "body": {"data": {"outcome": "out_of_stock"}}, "command": "notify_cancelled"}, {"if": "!<paid_back> && <unwanted> && !<refused> && !<out_of_stock>", "body": {"data": {"outcome": "never_paid"}}, "command": "notify_cancelled"}], "guard": "<cancelling> && $.owed == 0 && !<goods_left>", "append": {"data": {"reason": "$.data.cancel_reason", "refund_id": {"$first": "$.data.pay[*].refund_id", "default": null}, "cancelled_by": {"$path": "$.data.cancelled_by", "default": null}}, "type": "OrderCancelled", "stream": "order-${$.saga.correlation_id}"}, "unschedule": ["*"]}], "description": "To Cancelled, or on with the order if the goods had left before."}, "holding": {"on": {"timer:hold": {"send": {"if": "<hold>", "command": "renew"}, "schedule": {"delay": "30 s", "timer": "hold"}}, "timer:reserve": {"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}, "InventoryReserved": {"guard": "$.message.key == $.data.inv.key && <hold>", "schedule": {"at": {"plus": "-60 s", "$time": "$.data.inv.expires_at"}, "timer": "hold"}, "unschedule": ["reserve"]}}, "always": [{"why": "hold lost", "send": {"attempt": "$.data.inv.attempt + 1", "command": "reserve"}, "guard": "<hold_lost> && $.data.inv.attempt < 2", "unschedule": ["hold"]}, {"set": {"goal": "CANCEL", "cancel_reason": "ReservationExpired"}, "why": "hold lost for good", "guard": "<hold_lost> || <no_stock>"}], "description": "The hold is renewed a minute ahead; a lost one is asked for once more."}, "overall": {"on": {"timer:overall": [{"set": {"stuck_step": "commit"}, "goto": "CompensationStuck", "alarm": "overdue", "guard": "<goods_left>", "schedule": {"delay": "24 h", "timer": "overall"}}, {"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}]}, "description": "Thirty minutes from the submission, whatever happens."}, "requests": {"always": [{"in": ["asked"], "why": "too late to cancel", "each": "cancellation", "fact": {"of": "cancellation", "to": "rejected"}, "send": {"body": {"template": "cancellation_rejected"}, "step": "notify_rejected", "attempt": "$.data.cancellation.size()", "command": "notify"}, "guard": "<goods_left>", "publish": {"body": {"reason": "AlreadyDispatched", "order_id": "$.saga.correlation_id"}, "type": "OrderCancellationRejected"}}, {"set": {"goal": "CANCEL", "cancelled_by": {"$first": "$.data.cancellation[*] ? (@.st == \\"asked\\").by"}, "cancel_reason": {"$first": "$.data.cancellation[*] ? (@.st == \\"asked\\").reason"}}, "why": "cancelled on request", "guard": "<asked> && !<cancelling>"}], "description": "A customer may cancel as long as the goods have not left."}, "committing": {"on": {"timer:commit": [{"set": {"stuck_step": "commit"}, "goto": "CompensationStuck", "alarm": "overdue", "guard": "<goods_left>", "schedule": {"delay": "24 h", "timer": "overall"}}, {"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}], "timer:reserve": [{"set": {"stuck_step": "commit"}, "goto": "CompensationStuck", "alarm": "overdue", "guard": "<goods_left>", "schedule": {"delay": "24 h", "timer": "overall"}}, {"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}], "ReservationCommitted": {"guard": "$.data.inv.st == \\"committed\\"", "unschedule": ["commit"]}}, "always": [{"why": "hold there", "send": {"command": "commit"}, "guard": "<hold> && !($.data.inv.committing == true)", "unschedule": ["reserve"]}, {"why": "hold lost", "send": {"attempt": "$.data.inv.attempt + 1", "command": "reserve"}, "guard": "<hold_lost> && $.data.inv.attempt < 2", "unschedule": ["commit"]}, {"set": {"stuck_step": "commit"}, "why": "hold lost though the goods have left", "goto": "CompensationStuck", "alarm": "overdue", "guard": "(<hold_lost> || <no_stock>) && <goods_left>", "schedule": {"delay": "24 h", "timer": "overall"}, "unschedule": ["*"]}, {"set": {"goal": "CANCEL", "cancel_reason": "ReservationExpired"}, "why": "hold lost for good", "guard": "<hold_lost> || <no_stock>"}], "description": "The hold is made permanent; one lost now is asked for once more."}}, "events": {"PaymentFailed": {"fact": {"of": "pay", "to": "declined", "set": {"retryable": "$.message.is_retryable", "error_code": {"$path": "$.message.error_code", "default": null}}}, "correlate": "$.message.order_id"}, "PaymentVoided": {"fact": {"of": "pay", "to": "voided"}, "correlate": "$.message.order_id"}, "OrderSubmitted": {"correlate": "$.message.order_id"}, "ShipmentFailed": {"fact": {"of": "shp", "to": "failed", "set": {"retryable": "$.message.is_retryable", "error_code": {"$path": "$.message.error_code", "default": null}}}, "correlate": "$.message.order_id"}, "PaymentRefunded": {"fact": {"of": "pay", "to": "refunded", "note": {"refund_id": {"$path": "$.message.refund_id", "default": null}}}, "correlate": "$.message.order_id"}, "PaymentRegained": {"fact": {"of": "pay", "to": "regained", "set": {"moves": {"$path": "$.message.moves", "default": 2}}, "note": {"regained": true}, "guard": "<newer_move>"}, "correlate": "$.message.order_id"}, "PaymentReturned": {"fact": {"of": "pay", "to": "returned", "set": {"moves": {"$path": "$.message.moves", "default": 1}}, "note": {"captured": true, "refund_id": {"$path": "$.message.refund_id ? (@ != null)", "default": null}, "returned_by": "$.message.reason"}, "guard": "<newer_move>"}, "correlate": "$.message.order_id"}, "PaymentProcessed": {"fact": {"of": "pay", "to": "captured", "note": {"captured": true, "transaction_id": {"$path": "$.message.transaction_id", "default": null}}}, "correlate": "$.message.order_id"}, "ShipmentArranged": {"fact": {"of": "shp", "to": "arranged", "note": {"shipment_id": "$.message.shipment_id"}}, "correlate": "$.message.order_id"}, "InventoryReleased": {"fact": {"of": "inv", "to": "released"}, "correlate": "$.message.order_id"}, "InventoryReserved": {"fact": {"of": "inv", "to": "held", "most": {"expires_at": {"$time": "$.message.expires_at"}}}, "correlate": "$.message.order_id"}, "ShipmentCancelled": {"fact": {"of": "shp", "to": "cancelled"}, "correlate": "$.message.order_id"}, "ShipmentDelivered": {"fact": {"of": "shp", "to": "delivered", "note": {"shipment_id": "$.message.shipment_id"}}, "correlate": "$.message.order_id"}, "ReservationExpired": {"fact": {"of": "inv", "to": "expired"}, "correlate": "$.message.order_id"}, "ShipmentDispatched": {"fact": {"of": "shp", "to": "dispatched", "set": {"tracking_number": {"$path": "$.message.tracking_number", "default": null}}, "note": {"shipment_id": "$.message.shipment_id"}}, "correlate": "$.message.order_id"}, "PaymentRefundFailed": {"fact": {"of": "pay", "to": "refund_failed", "set": {"refund_error": {"$path": "$.message.error_code", "default": null}}}, "correlate": "$.message.order_id"}, "ReservationCommitted": {"fact": {"of": "inv", "to": "committed"}, "correlate": "$.message.order_id"}, "ShipmentCancelFailed": {"fact": {"of": "shp", "to": "cancel_rejected", "guard": "$.message.already_dispatched == true"}, "correlate": "$.message.order_id"}, "PaymentStatusReported": {"fact": [{"of": "pay", "to": "captured", "note": {"captured": true, "transaction_id": {"$path": "$.message.transaction_id", "default": null}}, "guard": "$.message.status == \\"captured\\""}, {"of": "pay", "to": "declined", "set": {"retryable": {"$path": "$.message.is_retryable", "default": false}, "error_code": {"$path": "$.message.error_code", "default": null}}, "guard": "$.message.status == \\"declined\\""}, {"of": "pay", "to": "waiting", "guard": "$.message.status == \\"waiting\\""}], "correlate": "$.message.order_id"}, "InventoryReleaseFailed": {"correlate": "$.message.order_id"}, "ReservationCommitFailed": {"fact": {"of": "inv", "to": "expired", "set": {"reason": {"$path": "$.message.reason", "default": null}}}, "correlate": "$.message.order_id"}, "InventoryReservationFailed": {"fact": {"of": "inv", "to": "rejected", "set": {"reason": "$.message.reason"}}, "correlate": "$.message.order_id"}, "OrderCancellationRequested": {"fact": {"of": "cancellation", "to": "asked", "key": "${$.message.by}: ${$.message.reason}", "set": {"by": "$.message.by", "reason": "$.message.reason"}, "guard": "$.saga.state != \\"Cancelled\\"", "create": true}, "correlate": "$.message.order_id"}}, "states": {"Unpaid": {"on": {"timer:overall": {"why": "still unpaid", "alarm": "overdue", "schedule": {"delay": "24 h", "timer": "overall"}}, "PaymentReturned": {"fact": {"of": "pay", "set": {"told": "$.message.moves"}}, "alarm": "overdue", "guard": "!($.data.pay[last].told >= $.message.moves)"}, "PaymentProcessed": {"alarm": "overdue"}, "ShipmentArranged": {"alarm": "overdue"}, "InventoryReserved": {"alarm": "overdue"}, "ShipmentDelivered": {"alarm": "overdue"}, "ReservationExpired": {"alarm": "overdue"}, "ShipmentDispatched": {"alarm": "overdue"}, "ReservationCommitted": {"alarm": "overdue"}, "ReservationCommitFailed": {"alarm": "overdue"}, "InventoryReservationFailed": {"alarm": "overdue"}, "OrderCancellationRequested": {"alarm": "overdue"}}, "kind": "normal", "always": [{"set": {"stuck_step": null}, "why": "ours again, and delivered long ago", "goto": "Completed", "guard": "<captured> && $.data.completed == true", "unschedule": ["*"]}, {"set": {"stuck_step": null}, "why": "ours again", "goto": "ArrangingFulfilment", "guard": "<captured>", "schedule": {"delay": "30 min", "timer": "overall"}, "unschedule": ["*"]}], "default": "ignore", "include": ["requests"], "description": "The goods have left and the money has gone back; an operator decides."}, "Cancelled": {"on": {"PaymentProcessed": {"fact": {"of": "pay", "key": "$.message.key", "set": {"amend": true}}, "guard": "<late_capture>"}, "PaymentStatusReported": {"fact": {"of": "pay", "key": "$.message.key", "set": {"amend": true}}, "guard": "<late_capture>"}}, "kind": "final", "always": [{"in": ["refunded"], "why": "refunded afterwards", "each": "pay", "fact": {"of": "pay", "set": {"amended": true}}, "send": {"body": {"data": {"refund_id": "$.record.refund_id"}, "template": "payment_refunded"}, "step": "notify_refunded", "attempt": "$.record.attempt", "command": "notify"}, "guard": "$.record.amend == true && !($.record.amended == true)", "publish": {"body": {"order_id": "$.saga.correlation_id", "refund_id": {"$path": "$.record.refund_id", "default": null}}, "type": "OrderCancellationAmended"}}], "default": "ignore", "description": "Nothing is owed, except for a payment that turned up later."}, "Completed": {"kind": "final", "default": "ignore", "include": ["requests", "money"], "description": "Delivered."}, "Confirmed": {"on": {"timer:dispatch": {"why": "not on its way yet", "alarm": "overdue", "schedule": {"delay": "24 h", "timer": "dispatch"}}}, "kind": "normal", "always": [{"why": "on its way", "fact": {"of": "shp", "set": {"notified": true}}, "send": [{"if": "<tracked>", "body": {"data": {"outcome": "tracked", "tracking_number": "$.data.shp.tracking_number"}, "template": "order_shipped"}, "step": "notify_shipped", "command": "notify"}, {"if": "!<tracked>", "body": {"template": "order_shipped"}, "step": "notify_shipped", "command": "notify"}], "guard": "<goods_left> && !($.data.shp.notified == true)", "schedule": {"delay": "72 h", "timer": "dispatch"}}, {"set": {"completed": true}, "why": "delivered", "goto": "Completed", "send": {"body": {"template": "order_delivered"}, "step": "notify_delivered", "command": "notify"}, "guard": "$.data.shp.st == \\"delivered\\"", "append": {"data": {}, "type": "OrderCompleted", "stream": "order-${$.saga.correlation_id}"}}], "default": "ignore", "include": ["requests", "money", "goal"], "description": "Paid, committed and arranged; can be cancelled until the goods leave."}, "Compensating": {"on": {"gave_up:refund": {"set": {"stuck_step": "refund"}, "goto": "CompensationStuck"}, "gave_up:release": {"set": {"stuck_step": "release"}, "goto": "CompensationStuck"}, "gave_up:cancel_shipment": {"set": {"stuck_step": "cancel_shipment"}, "goto": "CompensationStuck"}}, "kind": "normal", "timer": "owed", "always": [{"set": {"stuck_step": "shipment"}, "why": "left though it was being undone", "goto": "CompensationStuck", "alarm": "overdue", "guard": "<goods_left>", "schedule": {"delay": "24 h", "timer": "overall"}}], "default": "ignore", "include": ["requests", "undone"], "description": "The goal is to cancel, and something is owed."}, "PaymentRetryWait": {"on": {"timer:retry": [{"goto": "ProcessingPayment", "send": {"attempt": "$.data.pay[last].attempt + 1", "command": "pay"}, "guard": "<hold_lasts>", "schedule": {"delay": "2 min", "timer": "payment"}}, {"why": "first the hold", "send": {"if": "<hold>", "command": "renew"}, "schedule": {"delay": "5 s", "timer": "retry"}}]}, "kind": "normal", "default": "ignore", "include": ["requests", "money", "goal", "overall", "holding"], "description": "Declined for now; another attempt follows, with the goods held."}, "ResolvingPayment": {"on": {"timer:query": {"set": {"queries": "$.data.queries + 1"}, "fact": {"of": "pay", "set": {"asked_again": {"$path": "$.data.pay[last].resent", "default": null}}}, "send": {"command": "query"}, "schedule": [{"if": "$.data.queries <= 5", "timer": "query", "attempt": "$.data.queries", "backoff": {"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}}, {"if": "$.data.queries > 5", "delay": "60 s", "timer": "query"}]}, "timer:overall": [{"why": "the provider is away", "fact": {"of": "pay", "to": "unknown"}, "send": {"command": "query"}, "guard": "$.data.pay[last].st == \\"waiting\\"", "schedule": {"delay": "30 min", "timer": "overall"}}, {"set": {"goal": "CANCEL", "cancel_reason": "PaymentUnresolved"}}], "PaymentStatusReported": [{"why": "never arrived", "send": {"key": "$.data.pay[last].key", "fact": {"to": null, "set": {"resent": true}}, "command": "pay"}, "guard": "<not_found> && !($.data.pay[last].resent == true)"}, {"set": {"goal": "CANCEL", "cancel_reason": "PaymentUnresolved"}, "why": "still not there", "guard": "<not_found> && $.data.pay[last].asked_again == true"}]}, "kind": "normal", "default": "ignore", "include": ["requests", "money", "goal", "holding", "paying"], "description": "The outcome is unknown; asking. Never a second key meanwhile."}, "CompensationStuck": {"on": {"timer:overall": {"fact": {"of": "inv", "set": {"committing": null}}, "send": [{"if": "!<cancelling> && (<hold_lost> || <no_stock>)", "attempt": "$.data.inv.attempt + 1", "command": "reserve"}, {"if": "!<cancelling> && $.data.inv.st == \\"requested\\"", "key": "$.data.inv.key", "fact": {"to": null}, "command": "reserve"}], "alarm": "overdue", "schedule": {"delay": "24 h", "timer": "overall"}}, "ReservationExpired": {"unschedule": ["reserve", "commit"]}, "ReservationCommitFailed": {"unschedule": ["commit"]}, "InventoryReservationFailed": {"unschedule": ["reserve"]}}, "kind": "normal", "timer": "owed", "always": [{"why": "hold there after all", "send": {"command": "commit"}, "guard": "!<cancelling> && <hold> && !($.data.inv.committing == true)", "unschedule": ["reserve"]}, {"set": {"stuck_step": null}, "why": "committed after all", "goto": "ArrangingFulfilment", "guard": "!<cancelling> && <both_done>"}], "default": "ignore", "include": ["requests", "money", "undone"], "description": "Given up; an operator decides. Still asked for once a day."}, "ProcessingPayment": {"on": {"timer:payment": {"set": {"queries": 1}, "why": "no answer", "fact": {"of": "pay", "to": "unknown"}, "goto": "ResolvingPayment", "send": {"command": "query"}, "schedule": {"timer": "query", "attempt": "$.data.queries", "backoff": {"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}}}}, "kind": "normal", "default": "ignore", "include": ["requests", "money", "goal", "overall", "holding", "paying"], "description": "ProcessPayment is outstanding."}, "ShipmentRetryWait": {"on": {"timer:ship_retry": {"goto": "ArrangingFulfilment", "send": {"attempt": "$.data.shp.attempt + 1", "command": "ship"}}}, "kind": "normal", "default": "ignore", "include": ["requests", "money", "goal", "overall", "committing"], "description": "Shipping failed for now; another attempt follows."}, "ReservingInventory": {"on": {"timer:reserve": {"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}}}, "kind": "normal", "always": [{"why": "nothing to pay", "goto": "ArrangingFulfilment", "guard": "<hold> && $.data.total == 0", "unschedule": ["reserve"]}, {"why": "reserved", "goto": "ProcessingPayment", "send": {"command": "pay"}, "guard": "<hold>", "schedule": [{"delay": "2 min", "timer": "payment"}, {"at": {"plus": "-60 s", "$time": "$.data.inv.expires_at"}, "timer": "hold"}], "unschedule": ["reserve"]}, {"why": "asked too late, or lost at once", "send": {"attempt": "$.data.inv.attempt + 1", "command": "reserve"}, "guard": "(<asked_too_late> || <hold_lost>) && $.data.inv.attempt < 2"}, {"set": {"goal": "CANCEL", "cancel_reason": "ReservationExpired"}, "why": "hold lost for good", "guard": "<hold_lost>"}, {"set": {"goal": "CANCEL", "cancel_reason": "Timeout"}, "why": "asked too late again", "guard": "<asked_too_late>"}, {"set": {"goal": "CANCEL", "cancel_reason": "OutOfStock"}, "why": "out of stock", "guard": "<no_stock>"}], "default": "ignore", "include": ["requests", "goal", "overall"], "description": "ReserveInventory is outstanding."}, "ArrangingFulfilment": {"on": {"timer:ship": {"set": {"goal": "CANCEL", "cancel_reason": "ShippingUnavailable"}}, "ShipmentArranged": {"guard": "<arranged>", "unschedule": ["ship"]}, "ShipmentDelivered": {"guard": "<arranged>", "unschedule": ["ship"]}, "ShipmentDispatched": {"guard": "<arranged>", "unschedule": ["ship"]}}, "kind": "normal", "always": [{"why": "to be shipped", "send": {"command": "ship"}, "guard": "!exists($.data.shp)"}, {"set": {"confirmation_number": "CN-${$.saga.reference}"}, "why": "all done", "goto": "Confirmed", "send": {"body": {"data": {"confirmation_number": "$.data.confirmation_number"}, "template": "order_confirmed"}, "step": "notify_confirmed", "command": "notify"}, "guard": "<both_done> && !exists($.data.confirmation_number)", "append": {"data": {"confirmation_number": "$.data.confirmation_number"}, "type": "OrderConfirmed", "stream": "order-${$.saga.correlation_id}"}, "schedule": {"delay": "72 h", "timer": "dispatch"}, "unschedule": ["*"]}, {"why": "all done, as before", "goto": "Confirmed", "guard": "<both_done>", "schedule": {"delay": "72 h", "timer": "dispatch"}, "unschedule": ["*"]}, {"why": "not shipped for now", "goto": "ShipmentRetryWait", "guard": "$.data.shp.st == \\"failed\\" && <may_ship_again>", "schedule": {"timer": "ship_retry", "attempt": "$.data.shp.attempt", "backoff": {"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}}, "unschedule": ["ship"]}, {"set": {"goal": "CANCEL", "cancel_reason": "ShippingUnavailable"}, "why": "cannot be shipped", "guard": "$.data.shp.st == \\"failed\\""}], "default": "ignore", "include": ["requests", "money", "goal", "overall", "committing"], "description": "CommitReservation and ArrangeShipment are outstanding, in parallel."}}, "initial": "ReservingInventory", "commands": {"pay": {"body": {"key": "$.key", "amount": "$.data.total", "currency": "$.data.currency", "order_id": "$.saga.correlation_id", "not_after": {"plus": "2 min", "$time": "now"}, "customer_id": "$.data.customer_id", "payment_method": "$.data.payment_method"}, "fact": {"of": "pay", "to": "requested"}, "step": "payment", "type": "ProcessPayment", "endpoint": "payment", "compensation": {"owed": "refund"}}, "ship": {"body": {"key": "$.key", "items": "$.data.items", "order_id": "$.saga.correlation_id", "not_after": {"plus": "20 min", "$time": "now"}, "customer_id": "$.data.customer_id", "shipping_address": "$.data.shipping_address"}, "fact": {"of": "shp", "to": "requested"}, "step": "ship", "type": "ArrangeShipment", "resend": {"every": "5 min", "limit": 3, "timer": "ship"}, "endpoint": "shipping", "compensation": {"owed": "cancel_shipment"}}, "query": {"key": "$.data.pay[last].key", "body": {"key": "$.key", "order_id": "$.saga.correlation_id"}, "step": "query", "type": "QueryPaymentStatus", "endpoint": "payment", "compensation": "none"}, "renew": {"key": "$.data.inv.key", "body": {"key": "$.key", "ttl": 900, "items": "$.data.items", "order_id": "$.saga.correlation_id", "not_after": {"plus": "1 min", "$time": "now"}}, "step": "renew", "type": "ReserveInventory", "endpoint": "inventory", "compensation": "none"}, "commit": {"key": "$.data.inv.key", "body": {"key": "$.key", "order_id": "$.saga.correlation_id"}, "fact": {"of": "inv", "set": {"committing": true}}, "step": "commit", "type": "CommitReservation", "resend": {"every": "30 s", "limit": 3, "timer": "commit"}, "endpoint": "inventory", "compensation": {"owed": "release"}}, "notify": {"body": {"data": {"currency": "$.data.currency", "total_amount": "$.data.total"}, "email": {"$path": "$.data.email", "default": null}, "order_id": "$.saga.correlation_id", "customer_id": "$.data.customer_id"}, "type": "SendNotification", "endpoint": "notification", "compensation": "none"}, "reserve": {"body": {"key": "$.key", "ttl": 900, "items": "$.data.items", "order_id": "$.saga.correlation_id", "not_after": {"plus": "2 min", "$time": "now"}}, "fact": {"of": "inv", "to": "requested"}, "step": "reserve", "type": "ReserveInventory", "resend": {"every": "30 s", "limit": 3, "timer": "reserve"}, "endpoint": "inventory", "compensation": {"owed": "release"}}, "notify_cancelled": {"body": {"data": {"currency": "$.data.currency", "total_amount": "$.data.total"}, "email": {"$path": "$.data.email", "default": null}, "order_id": "$.saga.correlation_id", "template": "order_cancelled", "customer_id": "$.data.customer_id"}, "step": "notify_cancelled", "type": "SendNotification", "endpoint": "notification", "compensation": "none"}}, "endpoint": "order", "park_for": "10 min", "conditions": {"hold": "$.data.inv.st == \\"held\\"", "asked": "exists($.data.cancellation[*] ? (@.st == \\"asked\\"))", "wanted": "$.data.pay[*] ? (!(@.late == true))", "may_pay": "$.data.pay[last].retryable == true || <paid_too_late>", "refused": "<declined> && !<paid_too_late>", "tracked": "exists($.data.shp.tracking_number ? (@ != null))", "undoing": "<stock_undone> || <money_undone>", "arranged": "$.data.shp.st == \\"arranged\\" || <goods_left>", "captured": "$.data.pay[last].st == \\"captured\\" || $.data.pay[last].st == \\"regained\\"", "declined": "$.data.pay[last].st == \\"declined\\"", "disputed": "$.data.pay[last].returned_by == \\"dispute\\"", "may_ship": "$.data.shp.retryable == true || $.data.shp.error_code == \\"expired\\"", "no_stock": "$.data.inv.st == \\"rejected\\"", "returned": "$.data.pay[last].st == \\"returned\\"", "unwanted": "!exists($.data.cancelled_by ? (@ != null))", "both_done": "$.data.inv.st == \\"committed\\" && <arranged>", "hold_lost": "$.data.inv.st == \\"expired\\" || <stock_undone>", "not_found": "$.message.status == \\"not_found\\" && <about_this_payment>", "paid_back": "exists($.data.pay[*] ? (@.st == \\"refunded\\"))", "cancelling": "$.data.goal == \\"CANCEL\\"", "goods_left": "<on_its_way> || $.data.shp.st == \\"cancel_rejected\\"", "hold_lasts": "<hold> && $.data.inv.expires_at > $.now", "newer_move": "exists($.data.pay[*] ? (@.key == $.message.key && !(@.moves >= $.message.moves)))", "on_its_way": "$.data.shp.st == \\"dispatched\\" || $.data.shp.st == \\"delivered\\"", "late_capture": "exists($.data.pay[*] ? (@.key == $.message.key && @.st == \\"captured\\"))", "money_undone": "exists(<wanted>.st ? (@ starts with \\"refund\\" || @ == \\"voided\\"))", "out_of_stock": "$.data.cancel_reason == \\"OutOfStock\\" || $.data.cancel_reason == \\"ReservationExpired\\"", "stock_undone": "$.data.inv.st == \\"releasing\\" || $.data.inv.st == \\"released\\"", "may_pay_again": "<may_pay> && $.data.pay[last].attempt < 3", "paid_too_late": "$.data.pay[last].error_code == \\"expired\\"", "asked_too_late": "<no_stock> && $.data.inv.reason == \\"expired\\"", "may_ship_again": "<may_ship> && $.data.shp.attempt < 5", "about_this_payment": "$.message.key == $.data.pay[last].key", "paid_back_elsewhere": "exists($.data.pay[*].returned_by)"}, "retain_for": "30 days", "description": "An order over inventory, payment and shipping; undone when a step fails."}	order	postgres	{"OrderCreated": 1, "PaymentFailed": 1, "PaymentVoided": 1, "RefundPayment": 1, "CancelShipment": 1, "OrderCancelled": 1, "OrderCompleted": 1, "OrderConfirmed": 1, "OrderSubmitted": 1, "ProcessPayment": 1, "ShipmentFailed": 1, "ArrangeShipment": 1, "PaymentRefunded": 1, "PaymentRegained": 1, "PaymentReturned": 1, "PaymentProcessed": 1, "ReleaseInventory": 1, "ReserveInventory": 1, "SendNotification": 1, "ShipmentArranged": 1, "CommitReservation": 1, "InventoryReleased": 1, "InventoryReserved": 1, "ShipmentCancelled": 1, "ShipmentDelivered": 1, "QueryPaymentStatus": 1, "ReservationExpired": 1, "ShipmentDispatched": 1, "PaymentRefundFailed": 1, "ReservationCommitted": 1, "ShipmentCancelFailed": 1, "PaymentStatusReported": 1, "InventoryReleaseFailed": 1, "ReservationCommitFailed": 1, "OrderCancellationAmended": 1, "OrderCancellationRejected": 1, "InventoryReservationFailed": 1, "OrderCancellationRequested": 1}	2026-11-29 17:16:11.539546+00
trip	1	{"start": {"Go": {"goto": "Planned", "schedule": [{"delay": "1 day", "timer": "late"}]}}, "events": {"Go": {"correlate": "$.message.id"}}, "states": {"Over": {"kind": "final", "default": "ignore"}, "Planned": {"on": {"timer:late": {"goto": "Over"}}, "default": "ignore"}}, "initial": "Planned", "endpoint": "trip"}	trip	postgres	{}	2026-11-29 17:16:11.769388+00
\.


--
-- Data for Name: definition_action; Type: TABLE DATA; Schema: saga; Owner: postgres
--

COPY saga.definition_action (transition_id, ordinal, kind, specification) FROM stdin;
1	1	schedule	{"delay": "24 h", "timer": "overall"}
1	2	alarm	"overdue"
2	1	fact	{"of": "pay", "set": {"told": "$.message.moves"}}
2	2	alarm	"overdue"
3	1	alarm	"overdue"
4	1	alarm	"overdue"
5	1	alarm	"overdue"
6	1	alarm	"overdue"
7	1	alarm	"overdue"
8	1	alarm	"overdue"
9	1	alarm	"overdue"
10	1	alarm	"overdue"
11	1	alarm	"overdue"
12	1	alarm	"overdue"
13	1	set	{"stuck_step": null}
13	2	unschedule	"*"
14	1	set	{"stuck_step": null}
14	2	unschedule	"*"
14	3	schedule	{"delay": "30 min", "timer": "overall"}
15	1	fact	{"of": "pay", "key": "$.message.key", "set": {"amend": true}}
16	1	fact	{"of": "pay", "key": "$.message.key", "set": {"amend": true}}
17	1	fact	{"of": "pay", "set": {"amended": true}}
17	2	send	{"body": {"data": {"refund_id": "$.record.refund_id"}, "template": "payment_refunded"}, "step": "notify_refunded", "attempt": "$.record.attempt", "command": "notify"}
17	3	publish	{"body": {"order_id": "$.saga.correlation_id", "refund_id": {"$path": "$.record.refund_id", "default": null}}, "type": "OrderCancellationAmended"}
18	1	schedule	{"delay": "24 h", "timer": "dispatch"}
18	2	alarm	"overdue"
19	1	fact	{"of": "shp", "set": {"notified": true}}
19	2	send	{"if": "<tracked>", "body": {"data": {"outcome": "tracked", "tracking_number": "$.data.shp.tracking_number"}, "template": "order_shipped"}, "step": "notify_shipped", "command": "notify"}
19	3	send	{"if": "!<tracked>", "body": {"template": "order_shipped"}, "step": "notify_shipped", "command": "notify"}
19	4	schedule	{"delay": "72 h", "timer": "dispatch"}
20	1	set	{"completed": true}
20	2	send	{"body": {"template": "order_delivered"}, "step": "notify_delivered", "command": "notify"}
20	3	append	{"data": {}, "type": "OrderCompleted", "stream": "order-${$.saga.correlation_id}"}
21	1	set	{"stuck_step": "refund"}
22	1	set	{"stuck_step": "release"}
23	1	set	{"stuck_step": "cancel_shipment"}
24	1	set	{"stuck_step": "shipment"}
24	2	schedule	{"delay": "24 h", "timer": "overall"}
24	3	alarm	"overdue"
25	1	send	{"attempt": "$.data.pay[last].attempt + 1", "command": "pay"}
25	2	schedule	{"delay": "2 min", "timer": "payment"}
26	1	send	{"if": "<hold>", "command": "renew"}
26	2	schedule	{"delay": "5 s", "timer": "retry"}
27	1	set	{"queries": "$.data.queries + 1"}
27	2	fact	{"of": "pay", "set": {"asked_again": {"$path": "$.data.pay[last].resent", "default": null}}}
27	3	send	{"command": "query"}
27	4	schedule	{"if": "$.data.queries <= 5", "timer": "query", "attempt": "$.data.queries", "backoff": {"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}}
27	5	schedule	{"if": "$.data.queries > 5", "delay": "60 s", "timer": "query"}
28	1	fact	{"of": "pay", "to": "unknown"}
28	2	send	{"command": "query"}
28	3	schedule	{"delay": "30 min", "timer": "overall"}
29	1	set	{"goal": "CANCEL", "cancel_reason": "PaymentUnresolved"}
30	1	send	{"key": "$.data.pay[last].key", "fact": {"to": null, "set": {"resent": true}}, "command": "pay"}
31	1	set	{"goal": "CANCEL", "cancel_reason": "PaymentUnresolved"}
32	1	fact	{"of": "inv", "set": {"committing": null}}
32	2	send	{"if": "!<cancelling> && (<hold_lost> || <no_stock>)", "attempt": "$.data.inv.attempt + 1", "command": "reserve"}
32	3	send	{"if": "!<cancelling> && $.data.inv.st == \\"requested\\"", "key": "$.data.inv.key", "fact": {"to": null}, "command": "reserve"}
32	4	schedule	{"delay": "24 h", "timer": "overall"}
32	5	alarm	"overdue"
33	1	unschedule	"reserve"
33	2	unschedule	"commit"
34	1	unschedule	"commit"
35	1	unschedule	"reserve"
36	1	unschedule	"reserve"
36	2	send	{"command": "commit"}
37	1	set	{"stuck_step": null}
38	1	set	{"queries": 1}
38	2	fact	{"of": "pay", "to": "unknown"}
38	3	send	{"command": "query"}
38	4	schedule	{"timer": "query", "attempt": "$.data.queries", "backoff": {"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}}
39	1	send	{"attempt": "$.data.shp.attempt + 1", "command": "ship"}
40	1	set	{"goal": "CANCEL", "cancel_reason": "Timeout"}
41	1	unschedule	"reserve"
42	1	unschedule	"reserve"
42	2	send	{"command": "pay"}
42	3	schedule	{"delay": "2 min", "timer": "payment"}
42	4	schedule	{"at": {"plus": "-60 s", "$time": "$.data.inv.expires_at"}, "timer": "hold"}
43	1	send	{"attempt": "$.data.inv.attempt + 1", "command": "reserve"}
44	1	set	{"goal": "CANCEL", "cancel_reason": "ReservationExpired"}
45	1	set	{"goal": "CANCEL", "cancel_reason": "Timeout"}
46	1	set	{"goal": "CANCEL", "cancel_reason": "OutOfStock"}
47	1	set	{"goal": "CANCEL", "cancel_reason": "ShippingUnavailable"}
48	1	unschedule	"ship"
49	1	unschedule	"ship"
50	1	unschedule	"ship"
51	1	send	{"command": "ship"}
52	1	set	{"confirmation_number": "CN-${$.saga.reference}"}
52	2	unschedule	"*"
52	3	send	{"body": {"data": {"confirmation_number": "$.data.confirmation_number"}, "template": "order_confirmed"}, "step": "notify_confirmed", "command": "notify"}
52	4	append	{"data": {"confirmation_number": "$.data.confirmation_number"}, "type": "OrderConfirmed", "stream": "order-${$.saga.correlation_id}"}
52	5	schedule	{"delay": "72 h", "timer": "dispatch"}
53	1	unschedule	"*"
53	2	schedule	{"delay": "72 h", "timer": "dispatch"}
54	1	unschedule	"ship"
54	2	schedule	{"timer": "ship_retry", "attempt": "$.data.shp.attempt", "backoff": {"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}}
55	1	set	{"goal": "CANCEL", "cancel_reason": "ShippingUnavailable"}
56	1	unschedule	"*"
57	1	unschedule	"*"
57	2	send	{"if": "!<unwanted>", "body": {"data": {"outcome": "on_request"}}, "command": "notify_cancelled"}
57	3	send	{"if": "<unwanted> && <out_of_stock>", "body": {"data": {"outcome": "out_of_stock"}}, "command": "notify_cancelled"}
57	4	send	{"if": "<unwanted> && !<out_of_stock>", "body": {"data": {"outcome": "never_paid"}}, "command": "notify_cancelled"}
57	5	append	{"data": {"reason": "$.data.cancel_reason", "refund_id": {"$first": "$.data.pay[*].refund_id", "default": null}, "cancelled_by": {"$path": "$.data.cancelled_by", "default": null}}, "type": "OrderCancelled", "stream": "order-${$.saga.correlation_id}"}
58	1	set	{"stuck_step": "payment"}
58	2	fact	{"of": "pay", "set": {"told": "$.data.pay[last].moves"}}
58	3	unschedule	"*"
58	4	schedule	{"delay": "24 h", "timer": "overall"}
58	5	alarm	"overdue"
59	1	set	{"goal": "CANCEL", "cancelled_by": "payment provider", "cancel_reason": "PaymentDisputed"}
60	1	set	{"goal": "CANCEL", "cancelled_by": "payment provider", "cancel_reason": "PaymentReturned"}
61	1	unschedule	"payment"
61	2	unschedule	"query"
61	3	unschedule	"hold"
62	1	unschedule	"payment"
62	2	unschedule	"query"
62	3	schedule	{"timer": "retry", "attempt": "$.data.pay[last].attempt", "backoff": {"max": "30 s", "min": "1 s", "kind": "exponential", "delta": "3 s", "limit": 5}}
63	1	set	{"goal": "CANCEL", "cancel_reason": {"$path": "$.data.pay[last].error_code", "default": "PaymentDeclined"}}
64	1	set	{"goal": "FULFIL", "stuck_step": null, "cancelled_by": null, "cancel_reason": null}
64	2	fact	{"of": "inv", "set": {"committing": null}}
64	3	send	{"if": "$.data.inv.st == \\"requested\\"", "key": "$.data.inv.key", "fact": {"to": null}, "command": "reserve"}
65	1	set	{"stuck_step": null}
65	2	unschedule	"*"
65	3	send	{"if": "<paid_back> && !<paid_back_elsewhere>", "body": {"data": {"outcome": "refunded", "refund_id": {"$first": "$.data.pay[*].refund_id"}}}, "command": "notify_cancelled"}
65	4	send	{"if": "<paid_back_elsewhere>", "body": {"data": {"outcome": "returned"}}, "command": "notify_cancelled"}
65	5	send	{"if": "!<paid_back> && !<unwanted>", "body": {"data": {"outcome": "on_request"}}, "command": "notify_cancelled"}
65	6	send	{"if": "!<paid_back> && <unwanted> && <refused>", "body": {"data": {"outcome": "payment_refused"}}, "command": "notify_cancelled"}
65	7	send	{"if": "!<paid_back> && <unwanted> && !<refused> && <out_of_stock>", "body": {"data": {"outcome": "out_of_stock"}}, "command": "notify_cancelled"}
65	8	send	{"if": "!<paid_back> && <unwanted> && !<refused> && !<out_of_stock>", "body": {"data": {"outcome": "never_paid"}}, "command": "notify_cancelled"}
65	9	append	{"data": {"reason": "$.data.cancel_reason", "refund_id": {"$first": "$.data.pay[*].refund_id", "default": null}, "cancelled_by": {"$path": "$.data.cancelled_by", "default": null}}, "type": "OrderCancelled", "stream": "order-${$.saga.correlation_id}"}
66	1	send	{"if": "<hold>", "command": "renew"}
66	2	schedule	{"delay": "30 s", "timer": "hold"}
67	1	set	{"goal": "CANCEL", "cancel_reason": "Timeout"}
68	1	unschedule	"reserve"
68	2	schedule	{"at": {"plus": "-60 s", "$time": "$.data.inv.expires_at"}, "timer": "hold"}
69	1	unschedule	"hold"
69	2	send	{"attempt": "$.data.inv.attempt + 1", "command": "reserve"}
70	1	set	{"goal": "CANCEL", "cancel_reason": "ReservationExpired"}
71	1	set	{"stuck_step": "commit"}
71	2	schedule	{"delay": "24 h", "timer": "overall"}
71	3	alarm	"overdue"
72	1	set	{"goal": "CANCEL", "cancel_reason": "Timeout"}
73	1	fact	{"of": "cancellation", "to": "rejected"}
73	2	send	{"body": {"template": "cancellation_rejected"}, "step": "notify_rejected", "attempt": "$.data.cancellation.size()", "command": "notify"}
73	3	publish	{"body": {"reason": "AlreadyDispatched", "order_id": "$.saga.correlation_id"}, "type": "OrderCancellationRejected"}
74	1	set	{"goal": "CANCEL", "cancelled_by": {"$first": "$.data.cancellation[*] ? (@.st == \\"asked\\").by"}, "cancel_reason": {"$first": "$.data.cancellation[*] ? (@.st == \\"asked\\").reason"}}
75	1	set	{"stuck_step": "commit"}
75	2	schedule	{"delay": "24 h", "timer": "overall"}
75	3	alarm	"overdue"
76	1	set	{"goal": "CANCEL", "cancel_reason": "Timeout"}
77	1	set	{"stuck_step": "commit"}
77	2	schedule	{"delay": "24 h", "timer": "overall"}
77	3	alarm	"overdue"
78	1	set	{"goal": "CANCEL", "cancel_reason": "Timeout"}
79	1	unschedule	"commit"
80	1	unschedule	"reserve"
80	2	send	{"command": "commit"}
81	1	unschedule	"commit"
81	2	send	{"attempt": "$.data.inv.attempt + 1", "command": "reserve"}
82	1	set	{"stuck_step": "commit"}
82	2	unschedule	"*"
82	3	schedule	{"delay": "24 h", "timer": "overall"}
82	4	alarm	"overdue"
83	1	set	{"goal": "CANCEL", "cancel_reason": "ReservationExpired"}
84	1	set	{"goal": "FULFIL", "email": {"$path": "$.message.email ? (@ != null)", "default": null}, "items": {"as": {"sku": "$.item.sku", "quantity": "$.item.quantity", "product_id": "$.item.product_id"}, "$each": "$.message.items[*]"}, "total": "$.message.total_amount", "currency": {"$path": "$.message.currency ? (@ != null)", "default": {"$setting": "ecommerce.currency"}}, "customer_id": "$.message.customer_id", "payment_method": "$.message.payment_method", "shipping_address": "$.message.shipping_address"}
84	2	send	{"command": "reserve"}
84	3	send	{"body": {"template": "order_received"}, "step": "notify_received", "command": "notify"}
84	4	append	{"data": {"items": "$.message.items", "currency": "$.data.currency", "customer_id": "$.message.customer_id", "total_amount": "$.message.total_amount", "payment_method": "$.message.payment_method", "shipping_address": "$.message.shipping_address"}, "type": "OrderCreated", "stream": "order-${$.saga.correlation_id}", "skip_existing": true}
84	5	schedule	{"delay": "30 min", "timer": "overall"}
86	1	schedule	{"delay": "1 day", "timer": "late"}
\.


--
-- Data for Name: definition_state; Type: TABLE DATA; Schema: saga; Owner: postgres
--

COPY saga.definition_state (name, version, state, kind, default_reaction, timer) FROM stdin;
order	1	Unpaid	normal	ignore	\N
order	1	Cancelled	final	ignore	\N
order	1	Completed	final	ignore	\N
order	1	Confirmed	normal	ignore	\N
order	1	Compensating	normal	ignore	owed
order	1	PaymentRetryWait	normal	ignore	\N
order	1	ResolvingPayment	normal	ignore	\N
order	1	CompensationStuck	normal	ignore	owed
order	1	ProcessingPayment	normal	ignore	\N
order	1	ShipmentRetryWait	normal	ignore	\N
order	1	ReservingInventory	normal	ignore	\N
order	1	ArrangingFulfilment	normal	ignore	\N
order	1	goal	common	\N	\N
order	1	money	common	\N	\N
order	1	paying	common	\N	\N
order	1	undone	common	\N	\N
order	1	holding	common	\N	\N
order	1	overall	common	\N	\N
order	1	requests	common	\N	\N
order	1	committing	common	\N	\N
trip	1	Over	final	ignore	\N
trip	1	Planned	normal	ignore	\N
\.


--
-- Data for Name: definition_timer; Type: TABLE DATA; Schema: saga; Owner: postgres
--

COPY saga.definition_timer (name, version, timer) FROM stdin;
order	1	overall
order	1	payment
order	1	query
order	1	hold
order	1	retry
order	1	reserve
order	1	commit
order	1	dispatch
order	1	ship_retry
order	1	ship
trip	1	late
\.


--
-- Data for Name: definition_transition; Type: TABLE DATA; Schema: saga; Owner: postgres
--

COPY saga.definition_transition (id, name, version, state, event, ordinal, guard, target, why) FROM stdin;
1	order	1	Unpaid	timer:overall	1	\N	\N	still unpaid
2	order	1	Unpaid	PaymentReturned	1	!($.data.pay[last].told >= $.message.moves)	\N	\N
3	order	1	Unpaid	PaymentProcessed	1	\N	\N	\N
4	order	1	Unpaid	ShipmentArranged	1	\N	\N	\N
5	order	1	Unpaid	InventoryReserved	1	\N	\N	\N
6	order	1	Unpaid	ShipmentDelivered	1	\N	\N	\N
7	order	1	Unpaid	ReservationExpired	1	\N	\N	\N
8	order	1	Unpaid	ShipmentDispatched	1	\N	\N	\N
9	order	1	Unpaid	ReservationCommitted	1	\N	\N	\N
10	order	1	Unpaid	ReservationCommitFailed	1	\N	\N	\N
11	order	1	Unpaid	InventoryReservationFailed	1	\N	\N	\N
12	order	1	Unpaid	OrderCancellationRequested	1	\N	\N	\N
13	order	1	Unpaid	always	1	<captured> && $.data.completed == true	Completed	ours again, and delivered long ago
14	order	1	Unpaid	always	2	<captured>	ArrangingFulfilment	ours again
15	order	1	Cancelled	PaymentProcessed	1	<late_capture>	\N	\N
16	order	1	Cancelled	PaymentStatusReported	1	<late_capture>	\N	\N
17	order	1	Cancelled	always	1	$.record.amend == true && !($.record.amended == true)	\N	refunded afterwards
18	order	1	Confirmed	timer:dispatch	1	\N	\N	not on its way yet
19	order	1	Confirmed	always	1	<goods_left> && !($.data.shp.notified == true)	\N	on its way
20	order	1	Confirmed	always	2	$.data.shp.st == "delivered"	Completed	delivered
21	order	1	Compensating	gave_up:refund	1	\N	CompensationStuck	\N
22	order	1	Compensating	gave_up:release	1	\N	CompensationStuck	\N
23	order	1	Compensating	gave_up:cancel_shipment	1	\N	CompensationStuck	\N
24	order	1	Compensating	always	1	<goods_left>	CompensationStuck	left though it was being undone
25	order	1	PaymentRetryWait	timer:retry	1	<hold_lasts>	ProcessingPayment	\N
26	order	1	PaymentRetryWait	timer:retry	2	\N	\N	first the hold
27	order	1	ResolvingPayment	timer:query	1	\N	\N	\N
28	order	1	ResolvingPayment	timer:overall	1	$.data.pay[last].st == "waiting"	\N	the provider is away
29	order	1	ResolvingPayment	timer:overall	2	\N	\N	\N
30	order	1	ResolvingPayment	PaymentStatusReported	1	<not_found> && !($.data.pay[last].resent == true)	\N	never arrived
31	order	1	ResolvingPayment	PaymentStatusReported	2	<not_found> && $.data.pay[last].asked_again == true	\N	still not there
32	order	1	CompensationStuck	timer:overall	1	\N	\N	\N
33	order	1	CompensationStuck	ReservationExpired	1	\N	\N	\N
34	order	1	CompensationStuck	ReservationCommitFailed	1	\N	\N	\N
35	order	1	CompensationStuck	InventoryReservationFailed	1	\N	\N	\N
36	order	1	CompensationStuck	always	1	!<cancelling> && <hold> && !($.data.inv.committing == true)	\N	hold there after all
37	order	1	CompensationStuck	always	2	!<cancelling> && <both_done>	ArrangingFulfilment	committed after all
38	order	1	ProcessingPayment	timer:payment	1	\N	ResolvingPayment	no answer
39	order	1	ShipmentRetryWait	timer:ship_retry	1	\N	ArrangingFulfilment	\N
40	order	1	ReservingInventory	timer:reserve	1	\N	\N	\N
41	order	1	ReservingInventory	always	1	<hold> && $.data.total == 0	ArrangingFulfilment	nothing to pay
42	order	1	ReservingInventory	always	2	<hold>	ProcessingPayment	reserved
43	order	1	ReservingInventory	always	3	(<asked_too_late> || <hold_lost>) && $.data.inv.attempt < 2	\N	asked too late, or lost at once
44	order	1	ReservingInventory	always	4	<hold_lost>	\N	hold lost for good
45	order	1	ReservingInventory	always	5	<asked_too_late>	\N	asked too late again
46	order	1	ReservingInventory	always	6	<no_stock>	\N	out of stock
47	order	1	ArrangingFulfilment	timer:ship	1	\N	\N	\N
48	order	1	ArrangingFulfilment	ShipmentArranged	1	<arranged>	\N	\N
49	order	1	ArrangingFulfilment	ShipmentDelivered	1	<arranged>	\N	\N
50	order	1	ArrangingFulfilment	ShipmentDispatched	1	<arranged>	\N	\N
51	order	1	ArrangingFulfilment	always	1	!exists($.data.shp)	\N	to be shipped
52	order	1	ArrangingFulfilment	always	2	<both_done> && !exists($.data.confirmation_number)	Confirmed	all done
53	order	1	ArrangingFulfilment	always	3	<both_done>	Confirmed	all done, as before
54	order	1	ArrangingFulfilment	always	4	$.data.shp.st == "failed" && <may_ship_again>	ShipmentRetryWait	not shipped for now
55	order	1	ArrangingFulfilment	always	5	$.data.shp.st == "failed"	\N	cannot be shipped
56	order	1	goal	always	1	<cancelling> && $.owed > 0	Compensating	to be undone
57	order	1	goal	always	2	<cancelling>	Cancelled	nothing to undo
58	order	1	money	always	1	<returned> && <goods_left> && !<cancelling>	Unpaid	paid back though the goods have left
59	order	1	money	always	2	<returned> && !<cancelling> && <disputed>	\N	disputed
60	order	1	money	always	3	<returned> && !<cancelling>	\N	paid back elsewhere
61	order	1	paying	always	1	<captured>	ArrangingFulfilment	paid
62	order	1	paying	always	2	<declined> && <may_pay_again>	PaymentRetryWait	declined for now
63	order	1	paying	always	3	<declined>	\N	declined
64	order	1	undone	always	1	<cancelling> && <goods_left> && !<undoing>	ArrangingFulfilment	left before anything was undone
65	order	1	undone	always	2	<cancelling> && $.owed == 0 && !<goods_left>	Cancelled	undone
66	order	1	holding	timer:hold	1	\N	\N	\N
67	order	1	holding	timer:reserve	1	\N	\N	\N
68	order	1	holding	InventoryReserved	1	$.message.key == $.data.inv.key && <hold>	\N	\N
69	order	1	holding	always	1	<hold_lost> && $.data.inv.attempt < 2	\N	hold lost
70	order	1	holding	always	2	<hold_lost> || <no_stock>	\N	hold lost for good
71	order	1	overall	timer:overall	1	<goods_left>	CompensationStuck	\N
72	order	1	overall	timer:overall	2	\N	\N	\N
73	order	1	requests	always	1	<goods_left>	\N	too late to cancel
74	order	1	requests	always	2	<asked> && !<cancelling>	\N	cancelled on request
75	order	1	committing	timer:commit	1	<goods_left>	CompensationStuck	\N
76	order	1	committing	timer:commit	2	\N	\N	\N
77	order	1	committing	timer:reserve	1	<goods_left>	CompensationStuck	\N
78	order	1	committing	timer:reserve	2	\N	\N	\N
79	order	1	committing	ReservationCommitted	1	$.data.inv.st == "committed"	\N	\N
80	order	1	committing	always	1	<hold> && !($.data.inv.committing == true)	\N	hold there
81	order	1	committing	always	2	<hold_lost> && $.data.inv.attempt < 2	\N	hold lost
82	order	1	committing	always	3	(<hold_lost> || <no_stock>) && <goods_left>	CompensationStuck	hold lost though the goods have left
83	order	1	committing	always	4	<hold_lost> || <no_stock>	\N	hold lost for good
84	order	1	\N	OrderSubmitted	1	\N	ReservingInventory	\N
85	trip	1	Planned	timer:late	1	\N	Over	\N
86	trip	1	\N	Go	1	\N	Planned	\N
\.


--
-- Data for Name: deleted_instance; Type: TABLE DATA; Schema: saga; Owner: postgres
--

COPY saga.deleted_instance (number, saga, correlation_id, deleted_at) FROM stdin;
2	trip	00000000-0000-4000-8000-000000000051	2026-11-29 17:16:11.783228+00
\.


--
-- Data for Name: history_entry; Type: TABLE DATA; Schema: saga; Owner: postgres
--

COPY saga.history_entry (number, at, version, message_id, from_state, to_state, event, actor, reason, actions) FROM stdin;
1	2026-11-29 17:16:11.671492+00	1	01a2284e-a20b-788f-85bb-d23474a09388	\N	ReservingInventory	OrderSubmitted	\N	\N	[{"of": "inv", "to": "requested", "key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "from": "none", "action": "fact"}, {"key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "type": "ReserveInventory", "action": "send", "endpoint": "inventory", "message_id": "10900b3c-5312-54bc-87b5-10ad6e49e8ea"}, {"timer": "reserve", "action": "schedule", "due_at": "2026-11-29T17:16:41.671042+00:00"}, {"key": "7a35e3a5-996a-5cac-8a33-1b3104e54591", "type": "SendNotification", "action": "send", "endpoint": "notification", "message_id": "49ee82d7-4a0f-5490-82de-7baa6dbecbd9"}, {"type": "OrderCreated", "action": "append", "stream": "order-01a2284e-a1ff-7fad-9334-6b4d84db83a3"}, {"timer": "overall", "action": "schedule", "due_at": "2026-11-29T17:46:11.671042+00:00"}, {"set": {"inv": {"st": "requested", "key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "attempt": 1}, "goal": "FULFIL", "items": [{"sku": "MUG", "quantity": 2, "product_id": "00000000-0000-4000-8000-000000000001"}], "total": 42.00, "currency": "USD", "customer_id": "00000000-0000-4000-8000-000000000007", "payment_method": {"type": "card", "token": "tok_ok", "last4_digits": "4242"}, "shipping_address": {"city": "Springfield", "street": "1 Main St", "country": "US"}}, "action": "data"}]
1	2026-11-29 17:16:11.692562+00	2	01a2284e-a227-7af9-a721-6d3658ecf9cc	ReservingInventory	ProcessingPayment	InventoryReserved	\N	\N	[{"of": "inv", "to": "held", "key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "from": "requested", "action": "fact"}, {"why": "reserved", "action": "because"}, {"timer": "reserve", "action": "unschedule"}, {"of": "pay", "to": "requested", "key": "4beba35f-292f-59d7-8510-f8e791a93f7d", "from": "none", "action": "fact"}, {"key": "4beba35f-292f-59d7-8510-f8e791a93f7d", "type": "ProcessPayment", "action": "send", "endpoint": "payment", "message_id": "3595a669-8e50-58fa-80d9-b0dcab637273"}, {"timer": "payment", "action": "schedule", "due_at": "2026-11-29T17:18:11.692346+00:00"}, {"timer": "hold", "action": "schedule", "due_at": "2026-11-29T17:30:11.685309+00:00"}, {"set": {"inv": {"st": "held", "key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "attempt": 1, "expires_at": "2026-11-29T17:31:11.685309+00:00"}, "pay": [{"st": "requested", "key": "4beba35f-292f-59d7-8510-f8e791a93f7d", "attempt": 1}]}, "action": "data"}]
1	2026-11-29 17:16:11.716614+00	3	01a2284e-a23e-7835-99cd-bcdc1b1c6fab	ProcessingPayment	ArrangingFulfilment	PaymentProcessed	\N	\N	[{"of": "pay", "to": "captured", "key": "4beba35f-292f-59d7-8510-f8e791a93f7d", "from": "requested", "action": "fact"}, {"why": "paid", "action": "because"}, {"timer": "payment", "action": "unschedule"}, {"timer": "hold", "action": "unschedule"}, {"why": "hold there", "action": "because"}, {"key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "type": "CommitReservation", "action": "send", "endpoint": "inventory", "message_id": "aebad4d0-4412-5a7f-bad7-74712cc740b9"}, {"timer": "commit", "action": "schedule", "due_at": "2026-11-29T17:16:41.716403+00:00"}, {"why": "to be shipped", "action": "because"}, {"of": "shp", "to": "requested", "key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "from": "none", "action": "fact"}, {"key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "type": "ArrangeShipment", "action": "send", "endpoint": "shipping", "message_id": "ed3464d3-69df-5949-899e-b75c773aa945"}, {"timer": "ship", "action": "schedule", "due_at": "2026-11-29T17:21:11.716403+00:00"}, {"set": {"inv": {"st": "held", "key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "attempt": 1, "committing": true, "expires_at": "2026-11-29T17:31:11.685309+00:00"}, "pay": [{"st": "captured", "key": "4beba35f-292f-59d7-8510-f8e791a93f7d", "attempt": 1, "captured": true, "transaction_id": "sim_ch_34d746b66d1e5cb4"}], "shp": {"st": "requested", "key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "attempt": 1}}, "action": "data"}]
1	2026-11-29 17:16:11.736415+00	4	01a2284e-a246-7808-8966-2f474998f81b	ArrangingFulfilment	ArrangingFulfilment	ReservationCommitted	\N	\N	[{"of": "inv", "to": "committed", "key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "from": "held", "action": "fact"}, {"timer": "commit", "action": "unschedule"}, {"set": {"inv": {"st": "committed", "key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "attempt": 1, "committing": true, "expires_at": "2026-11-29T17:31:11.685309+00:00"}}, "action": "data"}]
1	2026-11-29 17:16:11.736602+00	5	01a2284e-a253-7322-a722-93f11c5345e6	ArrangingFulfilment	Confirmed	ShipmentArranged	\N	\N	[{"of": "shp", "to": "arranged", "key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "from": "requested", "action": "fact"}, {"timer": "ship", "action": "unschedule"}, {"why": "all done", "action": "because"}, {"timer": "*", "action": "unschedule"}, {"key": "07dbb28f-89ba-56c2-81c9-eeefac054fa3", "type": "SendNotification", "action": "send", "endpoint": "notification", "message_id": "56f21d6a-2c82-5fb5-b65f-d5adb103cb0b"}, {"type": "OrderConfirmed", "action": "append", "stream": "order-01a2284e-a1ff-7fad-9334-6b4d84db83a3"}, {"timer": "dispatch", "action": "schedule", "due_at": "2026-12-02T17:16:11.736444+00:00"}, {"set": {"shp": {"st": "arranged", "key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "attempt": 1, "shipment_id": "4d70b24b-6486-4464-8c2c-002a63cd6150"}, "confirmation_number": "CN-5X2RF4QBD5F8"}, "action": "data"}]
1	2026-11-29 17:16:11.761637+00	6	01a2284e-a26d-78f5-88e5-64ebff60cb8b	Confirmed	Confirmed	ShipmentDispatched	\N	\N	[{"of": "shp", "to": "dispatched", "key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "from": "arranged", "action": "fact"}, {"why": "on its way", "action": "because"}, {"key": "fd87a45b-c131-51db-b514-8ddd8b9ba0d1", "type": "SendNotification", "action": "send", "endpoint": "notification", "message_id": "90be1fa0-ac1a-5fe0-963e-7f2c715746a7"}, {"timer": "dispatch", "action": "schedule", "due_at": "2026-12-02T17:16:11.761487+00:00"}, {"set": {"shp": {"st": "dispatched", "key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "attempt": 1, "notified": true, "shipment_id": "4d70b24b-6486-4464-8c2c-002a63cd6150", "tracking_number": "TRK94890E1CE78C"}}, "action": "data"}]
2	2026-11-29 17:16:11.775225+00	1	01a2284e-a27c-7608-a4d6-e845d3b3efd9	\N	Planned	Go	\N	\N	[{"timer": "late", "action": "schedule", "due_at": "2026-11-30T17:16:11.77514+00:00"}]
4	2026-11-29 17:16:11.775393+00	1	01a2284e-a27c-7764-9396-786253908cb5	\N	Planned	Go	\N	\N	[{"timer": "late", "action": "schedule", "due_at": "2026-11-30T17:16:11.775365+00:00"}]
2	2026-11-29 17:16:11.783007+00	2	\N	Planned	\N	delete	postgres	\N	[]
\.


--
-- Data for Name: parked_message; Type: TABLE DATA; Schema: saga; Owner: postgres
--

COPY saga.parked_message (id, saga, correlation_id, message_id, message_type, endpoint, deferred, parked_at, park_until, envelope, body) FROM stdin;
1	order	00000000-0000-4000-8000-000000000099	01a2284e-a271-73c2-8368-68caa90e10e8	PaymentProcessed	order	f	2026-11-29 17:16:11.76169+00	2026-11-29 17:26:11.761689+00	{"source": "psql", "attempt": 1, "headers": {}, "sent_at": "2026-11-29T17:16:11.761237+00:00", "user_id": null, "tenant_id": null, "expires_at": null, "message_id": "01a2284e-a271-73c2-8368-68caa90e10e8", "traceparent": null, "causation_id": null, "message_type": "PaymentProcessed", "partition_key": "01a2284e-a271-73c2-8368-68caa90e10e8", "correlation_id": "01a2284e-a271-73c2-8368-68caa90e10e8", "schema_version": 1, "conversation_id": "01a2284e-a271-73c2-8368-68caa90e10e8"}	{"key": "00000000-0000-4000-8000-000000000098", "amount": 1, "currency": "USD", "order_id": "00000000-0000-4000-8000-000000000099", "processed_at": "2026-11-29T17:16:11.761071+00:00", "transaction_id": "ch_98"}
\.


--
-- Data for Name: stored_instance; Type: TABLE DATA; Schema: saga; Owner: postgres
--

COPY saga.stored_instance (number, correlation_id, created_at, updated_at, state_since, wake_at, definition_version, version, saga, current_state, data, engine) FROM stdin;
1	01a2284e-a1ff-7fad-9334-6b4d84db83a3	2026-11-29 17:16:11.671042+00	2026-11-29 17:16:11.761487+00	2026-11-29 17:16:11.736444+00	2026-11-29 17:16:41.671042+00	1	6	order	Confirmed	{"inv": {"st": "committed", "key": "ee89887c-7fc0-5c92-bbd2-539fd7892eec", "attempt": 1, "committing": true, "expires_at": "2026-11-29T17:31:11.685309+00:00"}, "pay": [{"st": "captured", "key": "4beba35f-292f-59d7-8510-f8e791a93f7d", "attempt": 1, "captured": true, "transaction_id": "sim_ch_34d746b66d1e5cb4"}], "shp": {"st": "dispatched", "key": "2975e2e5-5bb8-5b23-8c01-6b23bddb6306", "attempt": 1, "notified": true, "shipment_id": "4d70b24b-6486-4464-8c2c-002a63cd6150", "tracking_number": "TRK94890E1CE78C"}, "goal": "FULFIL", "items": [{"sku": "MUG", "quantity": 2, "product_id": "00000000-0000-4000-8000-000000000001"}], "total": 42.00, "currency": "USD", "customer_id": "00000000-0000-4000-8000-000000000007", "payment_method": {"type": "card", "token": "tok_ok", "last4_digits": "4242"}, "shipping_address": {"city": "Springfield", "street": "1 Main St", "country": "US"}, "confirmation_number": "CN-5X2RF4QBD5F8"}	{"sends": {"07dbb28f-89ba-56c2-81c9-eeefac054fa3": 1, "2975e2e5-5bb8-5b23-8c01-6b23bddb6306": 1, "4beba35f-292f-59d7-8510-f8e791a93f7d": 1, "7a35e3a5-996a-5cac-8a33-1b3104e54591": 1, "ee89887c-7fc0-5c92-bbd2-539fd7892eec": 2, "fd87a45b-c131-51db-b514-8ddd8b9ba0d1": 1}, "token": 8, "timers": {"dispatch": [849546971761487, 8]}, "context": {"correlation_id": "01a2284e-a20b-788f-85bb-d23474a09388", "conversation_id": "01a2284e-a20b-788f-85bb-d23474a09388"}}
4	00000000-0000-4000-8000-000000000053	2026-11-29 17:16:11.775365+00	2026-11-29 17:16:11.775365+00	2026-11-29 17:16:11.775365+00	2026-11-30 17:16:11.775365+00	1	1	trip	Planned	{}	{"token": 1, "timers": {"late": [849374171775365, 1]}, "context": {"correlation_id": "01a2284e-a27c-7764-9396-786253908cb5", "conversation_id": "01a2284e-a27c-7764-9396-786253908cb5"}}
\.


--
-- Data for Name: timer_queue; Type: TABLE DATA; Schema: saga; Owner: postgres
--

COPY saga.timer_queue (due_at, correlation_id, saga) FROM stdin;
2026-11-29 17:16:41.671042+00	01a2284e-a1ff-7fad-9334-6b4d84db83a3	order
2026-11-30 17:16:11.77514+00	00000000-0000-4000-8000-000000000051	trip
2026-11-30 17:16:11.7753+00	00000000-0000-4000-8000-000000000052	trip
2026-11-30 17:16:11.775365+00	00000000-0000-4000-8000-000000000053	trip
\.


--
-- Name: position_seq; Type: SEQUENCE SET; Schema: ecommerce; Owner: postgres
--

SELECT pg_catalog.setval('ecommerce.position_seq', 4, true);


--
-- Name: position_seq; Type: SEQUENCE SET; Schema: event_store; Owner: postgres
--

SELECT pg_catalog.setval('event_store.position_seq', 53, true);


--
-- Name: published_mark_seq; Type: SEQUENCE SET; Schema: event_store; Owner: postgres
--

SELECT pg_catalog.setval('event_store.published_mark_seq', 53, true);


--
-- Name: stream_id_seq; Type: SEQUENCE SET; Schema: event_store; Owner: postgres
--

SELECT pg_catalog.setval('event_store.stream_id_seq', 8, true);


--
-- Name: endpoint_endpoint_id_seq; Type: SEQUENCE SET; Schema: message_bus; Owner: postgres
--

SELECT pg_catalog.setval('message_bus.endpoint_endpoint_id_seq', 10, true);


--
-- Name: epoch_seq; Type: SEQUENCE SET; Schema: message_bus; Owner: postgres
--

SELECT pg_catalog.setval('message_bus.epoch_seq', 1, true);


--
-- Name: position_seq; Type: SEQUENCE SET; Schema: message_bus; Owner: postgres
--

SELECT pg_catalog.setval('message_bus.position_seq', 37, true);


--
-- Name: definition_transition_id_seq; Type: SEQUENCE SET; Schema: saga; Owner: postgres
--

SELECT pg_catalog.setval('saga.definition_transition_id_seq', 86, true);


--
-- Name: instance_number_seq; Type: SEQUENCE SET; Schema: saga; Owner: postgres
--

SELECT pg_catalog.setval('saga.instance_number_seq', 4, true);


--
-- Name: parked_message_id_seq; Type: SEQUENCE SET; Schema: saga; Owner: postgres
--

SELECT pg_catalog.setval('saga.parked_message_id_seq', 1, true);


--
-- Name: FUNCTION "event handler Opened of account"(jsonb, event_store.event); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event handler Opened of account"(jsonb, event_store.event) FROM PUBLIC;


--
-- Name: FUNCTION "event handler OrderCancelled of order"(jsonb, event_store.event); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event handler OrderCancelled of order"(jsonb, event_store.event) FROM PUBLIC;


--
-- Name: FUNCTION "event handler OrderCompleted of order"(jsonb, event_store.event); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event handler OrderCompleted of order"(jsonb, event_store.event) FROM PUBLIC;


--
-- Name: FUNCTION "event handler OrderConfirmed of order"(jsonb, event_store.event); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event handler OrderConfirmed of order"(jsonb, event_store.event) FROM PUBLIC;


--
-- Name: FUNCTION "event handler OrderCreated of order"(jsonb, event_store.event); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event handler OrderCreated of order"(jsonb, event_store.event) FROM PUBLIC;


--
-- Name: FUNCTION "event handler Paid of account"(jsonb, event_store.event); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event handler Paid of account"(jsonb, event_store.event) FROM PUBLIC;


--
-- Name: FUNCTION "event type ArrangeShipment 1"(ecommerce.arrange_shipment); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ArrangeShipment 1"(ecommerce.arrange_shipment) FROM PUBLIC;


--
-- Name: FUNCTION "event type CancelShipment 1"(ecommerce.cancel_shipment); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type CancelShipment 1"(ecommerce.cancel_shipment) FROM PUBLIC;


--
-- Name: FUNCTION "event type CommitReservation 1"(ecommerce.commit_reservation); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type CommitReservation 1"(ecommerce.commit_reservation) FROM PUBLIC;


--
-- Name: FUNCTION "event type InventoryReleaseFailed 1"(ecommerce.inventory_release_failed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type InventoryReleaseFailed 1"(ecommerce.inventory_release_failed) FROM PUBLIC;


--
-- Name: FUNCTION "event type InventoryReleased 1"(ecommerce.inventory_released); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type InventoryReleased 1"(ecommerce.inventory_released) FROM PUBLIC;


--
-- Name: FUNCTION "event type InventoryReservationFailed 1"(ecommerce.inventory_reservation_failed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type InventoryReservationFailed 1"(ecommerce.inventory_reservation_failed) FROM PUBLIC;


--
-- Name: FUNCTION "event type InventoryReserved 1"(ecommerce.inventory_reserved); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type InventoryReserved 1"(ecommerce.inventory_reserved) FROM PUBLIC;


--
-- Name: FUNCTION "event type NotificationFailed 1"(ecommerce.notification_failed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type NotificationFailed 1"(ecommerce.notification_failed) FROM PUBLIC;


--
-- Name: FUNCTION "event type NotificationSent 1"(ecommerce.notification_sent); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type NotificationSent 1"(ecommerce.notification_sent) FROM PUBLIC;


--
-- Name: FUNCTION "event type Opened 1"(public.opened); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type Opened 1"(public.opened) FROM PUBLIC;


--
-- Name: FUNCTION "event type Opened 2"(public.opened_2); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type Opened 2"(public.opened_2) FROM PUBLIC;


--
-- Name: FUNCTION "event type OrderCancellationAmended 1"(ecommerce.order_cancellation_amended); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type OrderCancellationAmended 1"(ecommerce.order_cancellation_amended) FROM PUBLIC;


--
-- Name: FUNCTION "event type OrderCancellationRejected 1"(ecommerce.order_cancellation_rejected); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type OrderCancellationRejected 1"(ecommerce.order_cancellation_rejected) FROM PUBLIC;


--
-- Name: FUNCTION "event type OrderCancellationRequested 1"(ecommerce.order_cancellation_requested); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type OrderCancellationRequested 1"(ecommerce.order_cancellation_requested) FROM PUBLIC;


--
-- Name: FUNCTION "event type OrderCancelled 1"(ecommerce.order_cancelled); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type OrderCancelled 1"(ecommerce.order_cancelled) FROM PUBLIC;


--
-- Name: FUNCTION "event type OrderCompleted 1"(ecommerce.order_completed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type OrderCompleted 1"(ecommerce.order_completed) FROM PUBLIC;


--
-- Name: FUNCTION "event type OrderConfirmed 1"(ecommerce.order_confirmed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type OrderConfirmed 1"(ecommerce.order_confirmed) FROM PUBLIC;


--
-- Name: FUNCTION "event type OrderCreated 1"(ecommerce.order_created); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type OrderCreated 1"(ecommerce.order_created) FROM PUBLIC;


--
-- Name: FUNCTION "event type OrderSubmitted 1"(ecommerce.order_submitted); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type OrderSubmitted 1"(ecommerce.order_submitted) FROM PUBLIC;


--
-- Name: FUNCTION "event type PaymentFailed 1"(ecommerce.payment_failed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type PaymentFailed 1"(ecommerce.payment_failed) FROM PUBLIC;


--
-- Name: FUNCTION "event type PaymentProcessed 1"(ecommerce.payment_processed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type PaymentProcessed 1"(ecommerce.payment_processed) FROM PUBLIC;


--
-- Name: FUNCTION "event type PaymentRefundFailed 1"(ecommerce.payment_refund_failed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type PaymentRefundFailed 1"(ecommerce.payment_refund_failed) FROM PUBLIC;


--
-- Name: FUNCTION "event type PaymentRefunded 1"(ecommerce.payment_refunded); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type PaymentRefunded 1"(ecommerce.payment_refunded) FROM PUBLIC;


--
-- Name: FUNCTION "event type PaymentRegained 1"(ecommerce.payment_regained); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type PaymentRegained 1"(ecommerce.payment_regained) FROM PUBLIC;


--
-- Name: FUNCTION "event type PaymentReturned 1"(ecommerce.payment_returned); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type PaymentReturned 1"(ecommerce.payment_returned) FROM PUBLIC;


--
-- Name: FUNCTION "event type PaymentStatusReported 1"(ecommerce.payment_status_reported); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type PaymentStatusReported 1"(ecommerce.payment_status_reported) FROM PUBLIC;


--
-- Name: FUNCTION "event type PaymentVoided 1"(ecommerce.payment_voided); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type PaymentVoided 1"(ecommerce.payment_voided) FROM PUBLIC;


--
-- Name: FUNCTION "event type ProcessPayment 1"(ecommerce.process_payment); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ProcessPayment 1"(ecommerce.process_payment) FROM PUBLIC;


--
-- Name: FUNCTION "event type QueryPaymentStatus 1"(ecommerce.query_payment_status); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type QueryPaymentStatus 1"(ecommerce.query_payment_status) FROM PUBLIC;


--
-- Name: FUNCTION "event type RefundPayment 1"(ecommerce.refund_payment); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type RefundPayment 1"(ecommerce.refund_payment) FROM PUBLIC;


--
-- Name: FUNCTION "event type ReleaseInventory 1"(ecommerce.release_inventory); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ReleaseInventory 1"(ecommerce.release_inventory) FROM PUBLIC;


--
-- Name: FUNCTION "event type ReservationCommitFailed 1"(ecommerce.reservation_commit_failed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ReservationCommitFailed 1"(ecommerce.reservation_commit_failed) FROM PUBLIC;


--
-- Name: FUNCTION "event type ReservationCommitted 1"(ecommerce.reservation_committed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ReservationCommitted 1"(ecommerce.reservation_committed) FROM PUBLIC;


--
-- Name: FUNCTION "event type ReservationExpired 1"(ecommerce.reservation_expired); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ReservationExpired 1"(ecommerce.reservation_expired) FROM PUBLIC;


--
-- Name: FUNCTION "event type ReserveInventory 1"(ecommerce.reserve_inventory); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ReserveInventory 1"(ecommerce.reserve_inventory) FROM PUBLIC;


--
-- Name: FUNCTION "event type SendNotification 1"(ecommerce.send_notification); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type SendNotification 1"(ecommerce.send_notification) FROM PUBLIC;


--
-- Name: FUNCTION "event type ShipmentArranged 1"(ecommerce.shipment_arranged); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ShipmentArranged 1"(ecommerce.shipment_arranged) FROM PUBLIC;


--
-- Name: FUNCTION "event type ShipmentCancelFailed 1"(ecommerce.shipment_cancel_failed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ShipmentCancelFailed 1"(ecommerce.shipment_cancel_failed) FROM PUBLIC;


--
-- Name: FUNCTION "event type ShipmentCancelled 1"(ecommerce.shipment_cancelled); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ShipmentCancelled 1"(ecommerce.shipment_cancelled) FROM PUBLIC;


--
-- Name: FUNCTION "event type ShipmentDelivered 1"(ecommerce.shipment_delivered); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ShipmentDelivered 1"(ecommerce.shipment_delivered) FROM PUBLIC;


--
-- Name: FUNCTION "event type ShipmentDispatched 1"(ecommerce.shipment_dispatched); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ShipmentDispatched 1"(ecommerce.shipment_dispatched) FROM PUBLIC;


--
-- Name: FUNCTION "event type ShipmentFailed 1"(ecommerce.shipment_failed); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."event type ShipmentFailed 1"(ecommerce.shipment_failed) FROM PUBLIC;


--
-- Name: FUNCTION "projection heard"(event_store.event); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."projection heard"(event_store.event) FROM PUBLIC;


--
-- Name: FUNCTION "projection inventory"(event_store.event); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."projection inventory"(event_store.event) FROM PUBLIC;


--
-- Name: FUNCTION "projection never"(event_store.event); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."projection never"(event_store.event) FROM PUBLIC;


--
-- Name: FUNCTION "projection order_summary"(event_store.event); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."projection order_summary"(event_store.event) FROM PUBLIC;


--
-- Name: FUNCTION "projection price_list"(event_store.event); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."projection price_list"(event_store.event) FROM PUBLIC;


--
-- Name: FUNCTION "upcaster Opened 1"(jsonb); Type: ACL; Schema: ecommerce; Owner: postgres
--

REVOKE ALL ON FUNCTION ecommerce."upcaster Opened 1"(jsonb) FROM PUBLIC;


--
-- PostgreSQL database dump complete
--


