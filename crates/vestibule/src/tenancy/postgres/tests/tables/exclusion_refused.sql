-- refused: the exclusion constraint bookings_during_excl of bookings would hold across accounts
CREATE TABLE bookings (during int4range, EXCLUDE USING gist (during WITH &&));
