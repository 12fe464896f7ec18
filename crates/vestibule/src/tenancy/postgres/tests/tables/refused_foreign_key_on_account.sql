-- refused: mixes account_id with another column
CREATE TABLE a (id uuid PRIMARY KEY);
--> migration
ALTER TABLE a ADD COLUMN friend uuid;
ALTER TABLE a ADD CONSTRAINT odd FOREIGN KEY (friend) REFERENCES vestibule_account (account_id);
