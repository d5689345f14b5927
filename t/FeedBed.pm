# Two databases, the second of which has projections of the first one's events, and the
# question whether any event was lost, doubled, invented or reordered on the way.
package FeedBed;

use strict;
use warnings;

use parent 'LinkBed';

sub create
{
	my ($self, $database) = @_;

	$self->{database} = $database;
	for my $side (qw(a b))
	{
		$self->{$side}->safe_psql('postgres', "CREATE DATABASE $database");
		$self->sql($side, 'CREATE EXTENSION ecommerce; CREATE SCHEMA stress');
	}
	$self->sql('a', <<'EOT');
CREATE FUNCTION stress.send(client int, first bigint, count int) RETURNS void LANGUAGE sql AS $$
	SELECT event_store.append('counter-' || client || '_' || i % 3, -1, 'Counted',
		jsonb_build_object('n', i)) FROM generate_series(first, first + count - 1) i;
$$;
EOT
	$self->sql('b', <<'EOT');
CREATE TABLE stress.handled (ord bigserial, stream text, version bigint, n bigint,
	replayed boolean);
CREATE TABLE stress.batched (stream text, version bigint);
CREATE TABLE stress.typed (n bigint);
CREATE TABLE stress.bad (n bigint);
CREATE FUNCTION stress.handle(event event_store.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO stress.handled (stream, version, n, replayed) VALUES (event.stream, event.version,
		(event.data->>'n')::bigint, event_store.replaying());
	IF EXISTS (SELECT FROM stress.bad b WHERE b.n = (event.data->>'n')::bigint % 10) THEN
		RAISE EXCEPTION 'event % is bad', event.data;
	END IF;
END $$;
CREATE FUNCTION stress.handle_many(events event_store.event[]) RETURNS void LANGUAGE sql AS $$
	INSERT INTO stress.batched SELECT e.stream, e.version FROM unnest(events) e;
$$;
CREATE FUNCTION stress.handle_typed(event event_store.event) RETURNS void LANGUAGE sql AS $$
	INSERT INTO stress.typed VALUES ((event.data->>'n')::bigint);
$$;
SELECT event_store.create_projection('copy', 'stress.handle(event_store.event)', 'counter',
	tables => '{stress.handled}', source => 'a');
SELECT event_store.create_projection('batched', 'stress.handle_many(event_store.event[])',
	'counter', tables => '{stress.batched}', source => 'a');
SELECT event_store.create_projection('typed', 'stress.handle_typed(event_store.event)',
	event_types => '{Strange}', tables => '{stress.typed}', source => 'a');
EOT
	$self->write_services;
	return;
}

# Appends so many events; returns the number of the first.
sub send_some
{
	my ($self, $count, $synchronous_commit) = @_;

	$self->{first} += 10_000_000;
	$self->sql('a', 'SET synchronous_commit = ' . ($synchronous_commit // 'on')
		. "; SELECT stress.send(0, $self->{first} + 1, $count)");
	return $self->{first} + 1;
}

# Waits until the projection is where the source is.
sub caught_up
{
	my ($self) = @_;
	my $newest = $self->sql('a',
		q{SELECT coalesce(max(position), 0) FROM event_store.read_all(0, 10000000, 'counter')});

	for my $name (qw(copy batched))
	{
		next if $self->sql('b', qq{SELECT state = 'lost' FROM event_store.projections
			WHERE name = '$name'}) eq 't';
		$self->{b}->poll_query_until($self->{database}, "SELECT checkpoint >= $newest
			FROM event_store.projection_progress WHERE name = '$name'") or return 0;
	}
	return 1;
}

# What is wrong, one line each.
sub complaints
{
	my ($self) = @_;
	my $stored = q{SELECT stream || ' ' || version || ' ' || (data->>'n')
		FROM event_store.read_all(0, 10000000, 'counter')};
	my %stored = map { $_ => 1 } split /\n/, $self->sql('a', $stored);
	my (%handled, %last);
	my %wrong = (lost => 0, doubled => 0, invented => 0, reordered => 0);

	for (split /\n/, $self->sql('b',
		q{SELECT stream || ' ' || version || ' ' || n FROM stress.handled ORDER BY ord}))
	{
		my ($stream, $version) = split / /;
		$wrong{doubled}++ if $handled{$_}++;
		$wrong{invented}++ unless $stored{$_};
		$wrong{reordered}++ if $version < ($last{$stream} // 0);
		$last{$stream} = $version;
	}
	$wrong{lost} = grep { !$handled{$_} } keys %stored;
	return join '', map { "$_: $wrong{$_}\n" } grep { $wrong{$_} } sort keys %wrong;
}

1;
