-- refused: says ON DELETE SET NULL, which before PostgreSQL 15 would also clear account_id
-- postgres: before 15
CREATE TABLE a (id int PRIMARY KEY, parent int REFERENCES a ON DELETE SET NULL);
