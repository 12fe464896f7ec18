-- refused: says ON UPDATE SET NULL, which would also clear account_id
CREATE TABLE a (id int PRIMARY KEY, parent int REFERENCES a ON UPDATE SET NULL);
