-- refused: the table notes has a column account_id of its own
CREATE TABLE notes (id int PRIMARY KEY, account_id uuid NOT NULL);
